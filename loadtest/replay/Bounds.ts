/**
 * Bounds: what could be reached by who knows every engine as it is.
 *
 * `pooled`: all engines share one cache, so a request only has to wait for the least time. `greedy`: caches apart, each
 * request where its own first token comes soonest: best for itself, not for those behind it.
 */
import * as Rival from "./rivals/Rival.ts"
import type { Setup, Strategy } from "./Strategy.ts"

const soonest = ({ truth, ...setup }: Setup) => {
  let rotation = 0
  return Rival.ledger(
    () => ({
      place: ({ eligible }, nowMs) => {
        let best = -1
        let bestMs = Infinity
        for (let i = 0; i < setup.workers; i++) {
          const slot = (rotation + i) % setup.workers
          if (eligible[slot] === 0) continue
          const ms = truth.ttftMs(slot, nowMs)
          if (ms < bestMs || best < 0) {
            best = slot
            bestMs = ms
          }
        }
        rotation = best + 1
        return best
      }
    }),
    setup
  )
}

export const pooled: Strategy = {
  name: "pooled-cache",
  about: "bound: one cache for all, engines as they are, the soonest first token",
  kind: "bound",
  scrapeMs: null,
  pooled: true,
  ledger: soonest
}

export const greedy: Strategy = {
  name: "greedy-ttft",
  about: "bound: engines as they are, the soonest first token of each request",
  kind: "bound",
  scrapeMs: null,
  ledger: soonest
}
