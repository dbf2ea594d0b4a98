/**
 * The worker with the least prefill to do, in prompt tokens that its cache did not hold when they were sent. The plain
 * one looks at what waits only; the other adds what the request itself would need there, and so follows KV events.
 */
import * as Pick from "./Pick.ts"
import type { Make, Setting } from "./Rival.ts"

const make =
  (addsOwn: boolean): Make =>
  ({ sent, workers }) => {
    const tokens = new Float64Array(workers)
    let next = 0
    return {
      place: ({ eligible, heldTokens, promptTokens }) => {
        for (let slot = 0; slot < workers; slot++) {
          tokens[slot] =
            sent.queuedUncachedTokens[slot]! + (addsOwn ? Math.max(1, promptTokens - heldTokens[slot]!) : 0)
        }
        const slot = Pick.lowestFrom(tokens, eligible, next)
        next = slot + 1
        return slot
      }
    }
  }

export const settings: ReadonlyArray<Setting> = [
  {
    name: "least-work",
    about: "least pending prefill, in uncached tokens",
    isDefault: true,
    scrapeMs: null,
    make: make(false)
  },
  {
    name: "least-work-own",
    about: "least pending prefill with the request's own, in uncached tokens",
    isDefault: false,
    isOurs: true,
    scrapeMs: null,
    make: make(true)
  }
]
