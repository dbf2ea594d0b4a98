/**
 * SGLang model gateway (SMG), `cache_aware` in front of plain HTTP workers: a tree of the prompts it sent.
 *
 * Unless requests are imbalanced, a prompt of which more than the threshold is in the tree goes to the first owner of its
 * deepest known prefix, and any other to the least loaded worker. It is a switch, not a trade: one request over the limit
 * and no cache counts any more. The tree is by characters there and by blocks here; it is cut to size every two minutes,
 * and grows beyond it in between.
 */
import type { Make, Setting } from "./Rival.ts"
import * as SmgBalance from "./SmgBalance.ts"
import { SmgPrefixTree } from "./SmgPrefixTree.ts"

/** Share of a prompt that has to be known. */
const threshold = 0.3
/** Its `max_tree_size`, which counts for each worker. */
const charactersMax = 2 ** 26
/** Usual for English text. */
const charactersPerToken = 4
const sweepMs = 120_000

const make =
  (limits: SmgBalance.Limits): Make =>
  ({ blockSize, sent, workers }) => {
    const tree = new SmgPrefixTree(workers)
    const blocksMax = Math.floor(charactersMax / charactersPerToken / blockSize)
    const processed = new Float64Array(workers)
    let sweptMs = 0
    return {
      place: (asked, nowMs) => {
        if (nowMs - sweptMs >= sweepMs) {
          sweptMs = nowMs
          for (let slot = 0; slot < workers; slot++) tree.evict(slot, blocksMax)
        }
        if (!SmgBalance.isImbalanced(asked, sent, limits)) {
          const depth = tree.match(asked.keys, asked.blocks)
          if (depth * blockSize > threshold * asked.promptTokens) {
            const owner = tree.firstOwner(asked.keys, depth - 1)
            if (asked.eligible[owner] === 1) return owner
          }
        }
        return SmgBalance.leastLoaded(asked, sent, processed)
      },
      booked: ({ blocks, keys }, slot) => {
        processed[slot]!++
        tree.insert(slot, keys, blocks)
      }
    }
  }

const setting = (name: string, dials: string, limits: SmgBalance.Limits): Setting => ({
  name,
  about: `SGLang model gateway, cache_aware on its own tree, threshold 0.3, ${dials}`,
  isDefault: limits === SmgBalance.defaults,
  scrapeMs: null,
  make: make(limits)
})

export const settings: ReadonlyArray<Setting> = [
  setting("smg", "imbalance 64 and 1.5", SmgBalance.defaults),
  setting("smg-8", "imbalance 8 and 1.2", { abs: 8, rel: 1.2 })
]
