/**
 * The worker that holds most of the prompt by its KV events, whatever its load; ties in turn, as TensorRT-LLM's own
 * router breaks them. The other setting gives ties to the worker with the fewest requests in flight.
 */
import * as Pick from "./Pick.ts"
import type { Make, Setting } from "./Rival.ts"

const make =
  (tiesByLoad: boolean): Make =>
  ({ sent, workers }) => {
    const costs = new Float64Array(workers)
    let next = 0
    return {
      place: ({ eligible, heldTokens }) => {
        for (let slot = 0; slot < workers; slot++) {
          // Held tokens are whole: a share of one request can only break ties.
          const share = tiesByLoad ? 1 - 1 / (1 + sent.outstanding[slot]!) : 0
          costs[slot] = share - heldTokens[slot]!
        }
        const slot = Pick.lowestFrom(costs, eligible, next)
        next = slot + 1
        return slot
      }
    }
  }

export const settings: ReadonlyArray<Setting> = [
  {
    name: "longest-prefix",
    about: "most of the prompt held, ties in turn",
    isDefault: true,
    scrapeMs: null,
    make: make(false)
  },
  {
    name: "longest-prefix-least",
    about: "most of the prompt held, ties to the fewest in flight",
    isDefault: false,
    scrapeMs: null,
    make: make(true)
  }
]
