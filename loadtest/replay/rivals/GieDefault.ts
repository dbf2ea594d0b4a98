/**
 * The endpoint picker of the Gateway API Inference Extension as its chart sets it: queue 2, KV use 2, prefix 3, metrics
 * read every 50 ms, and the prefix from what it sent itself. It tunes block size and kept blocks to what engines say.
 *
 * How far into a prompt it looks changed: 256 blocks of 16 tokens at first, so prompts longer than 4 096 tokens looked
 * alike to it, 131 072 tokens in llm-d's router of 2026. The newer is the default here; the older one has a name of its
 * own, with the 31 250 blocks of 16 tokens it kept of a worker whose engine did not say.
 */

import { PlacedPrefixes } from "./PlacedPrefixes.ts"
import type { Make, Setting } from "./Rival.ts"
import * as WeightedScores from "./WeightedScores.ts"

interface Dials {
  readonly weights: WeightedScores.Weights
  /** How much of a prompt is looked at. */
  readonly matchTokensMax: number
  /** Tokens a worker is thought to keep; null for what it says. */
  readonly keptTokens: number | null
}

const make =
  ({ keptTokens, matchTokensMax, weights }: Dials): Make =>
  (setup) => {
    const { blockSize, capacityTokens, workers } = setup
    const sent = new PlacedPrefixes(workers, Math.floor((keptTokens ?? capacityTokens) / blockSize))
    const blocksMax = Math.max(1, Math.floor(matchTokensMax / blockSize))
    const matched = new Uint32Array(workers)
    const scores = WeightedScores.make(setup, weights, ({ blocks, keys }, shares) => {
      const looked = Math.min(blocks, blocksMax)
      sent.match(keys, looked, matched)
      for (let slot = 0; slot < workers; slot++) shares[slot] = looked === 0 ? 0 : matched[slot]! / looked
    })
    return {
      ...scores,
      booked: (asked, slot, nowMs) => {
        sent.add(slot, asked.keys, Math.min(asked.blocks, blocksMax), nowMs)
      }
    }
  }

const chart = { queue: 2, kvUse: 2, prefix: 3 }

export const settings: ReadonlyArray<Setting> = [
  {
    name: "gie",
    about: "Inference Extension's chart: queue 2, KV use 2, prefix 3 of what it sent, 131 072 tokens deep",
    isDefault: true,
    scrapeMs: 50,
    make: make({ weights: chart, matchTokensMax: 131_072, keptTokens: null })
  },
  {
    name: "gie-4096",
    about: "the same as first released: 4 096 tokens deep, 500 000 tokens kept a worker",
    isDefault: false,
    scrapeMs: 50,
    make: make({ weights: chart, matchTokensMax: 4_096, keptTokens: 500_000 })
  },
  {
    name: "gie-tokens",
    about: "the same, as deep as prompts are, and llm-d's token load 48",
    isDefault: false,
    isOurs: true,
    scrapeMs: 50,
    make: make({ weights: { ...chart, tokenLoad: 48 }, matchTokensMax: Infinity, keptTokens: null })
  }
]
