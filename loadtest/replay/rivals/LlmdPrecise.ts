/**
 * llm-d's router with its precise prefix cache scorer: the share of a prompt's blocks a worker holds by its KV events,
 * beside KV use and queue from `/metrics`, read every 50 ms. Weights 2, 1, 1 are those of its precise example.
 */
import type { Make, Setting } from "./Rival.ts"
import * as WeightedScores from "./WeightedScores.ts"

const make =
  (weights: WeightedScores.Weights): Make =>
  (setup) =>
    WeightedScores.make(setup, weights, ({ blocks, blockSize, heldTokens }, shares) => {
      const tokens = blocks * blockSize
      for (let slot = 0; slot < setup.workers; slot++) {
        shares[slot] = tokens === 0 ? 0 : Math.min(1, heldTokens[slot]! / tokens)
      }
    })

export const settings: ReadonlyArray<Setting> = [
  {
    name: "llm-d-precise",
    about: "llm-d by KV events: prefix 2, KV use 1, queue 1",
    isDefault: true,
    scrapeMs: 50,
    make: make({ prefix: 2, kvUse: 1, queue: 1 })
  },
  {
    name: "llm-d-precise-queue",
    about: "llm-d by KV events: prefix 3, KV use 2, queue 2",
    isDefault: false,
    scrapeMs: 50,
    make: make({ prefix: 3, kvUse: 2, queue: 2 })
  },
  {
    name: "llm-d-precise-tokens",
    about: "llm-d by KV events: prefix 2, KV use 1, queue 1, token load 32",
    isDefault: false,
    isOurs: true,
    scrapeMs: 50,
    make: make({ prefix: 2, kvUse: 1, queue: 1, tokenLoad: 32 })
  }
]
