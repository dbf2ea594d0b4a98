/**
 * NVIDIA Dynamo, KV router, default selector at temperature 0. The least cost, in blocks, and a random one of the equal:
 *
 *     cost = scale · max(0, pending prefill + own − overlap) + blocks in use there with this prompt
 *
 * Pending prefill is added at admission, as far as it was not held, and goes with the first token. Blocks in use are
 * those of requests without an end, each counted once. Overlap is what KV events say.
 */
import * as Random from "../../Random.ts"
import { ActiveBlocks } from "./ActiveBlocks.ts"
import type { Asked, Make, Setting } from "./Rival.ts"

const make =
  (scale: number): Make =>
  ({ blockSize, seed, sent, workers }) => {
    const random = Random.make(seed)
    const active = new ActiveBlocks(workers)
    const depths = new Uint32Array(workers)
    const rows = new Map<Asked, Int32Array>()
    return {
      place: ({ blocks, eligible, heldTokens, keys, promptTokens }) => {
        active.depths(keys, blocks, depths)
        let best = -1
        let bestCost = Number.POSITIVE_INFINITY
        let ties = 0
        for (let slot = 0; slot < workers; slot++) {
          if (eligible[slot] === 0) continue
          const prefill = (sent.queuedUncachedTokens[slot]! + promptTokens - heldTokens[slot]!) / blockSize
          const cost = scale * Math.max(0, prefill) + active.size[slot]! + blocks - depths[slot]!
          if (cost > bestCost) continue
          ties = cost < bestCost ? 1 : ties + 1
          if (ties > 1 && random() * ties >= 1) continue
          best = slot
          bestCost = cost
        }
        return best
      },
      booked: (asked, slot) => void rows.set(asked, active.add(slot, asked.keys, asked.blocks)),
      ended: (asked, slot) => {
        active.remove(slot, rows.get(asked)!)
        rows.delete(asked)
      }
    }
  }

const setting = (name: string, scale: number): Setting => ({
  name,
  about: `NVIDIA Dynamo KV router, default selector, temperature 0, prefill load scale ${scale}`,
  isDefault: scale === 1,
  // Past what its documentation tries; it does well on these traces.
  isOurs: scale === 16,
  scrapeMs: null,
  make: make(scale)
})

export const settings: ReadonlyArray<Setting> = [setting("dynamo", 1), setting("dynamo-4", 4), setting("dynamo-16", 16)]
