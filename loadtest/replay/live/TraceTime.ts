/**
 * A ledger in a router that is replayed to at some speed: it lives in the time of the trace, whatever its router's clock.
 * Averages, graces and learned rates then mean what they do in production. It also counts what was predicted in vain.
 */
import type { Booking, Ledger } from "../../../actors/Ledger.ts"

/** Prompt tokens of all answers that told: thought to be cached, and of these not, and cached beyond them. */
export interface Predictions {
  predicted: number
  tooMany: number
  tooFew: number
}

export const ledger = (own: Ledger["Service"], speed: number, predictions: Predictions): Ledger["Service"] => ({
  ...own,
  hint: (slot, load, nowMs) => own.hint(slot, load, nowMs * speed),
  place: (ask, nowMs) => own.place(ask, nowMs * speed),
  outlook: (ask, nowMs) => own.outlook(ask, nowMs * speed),
  aheadMs: (slot, nowMs) => own.aheadMs(slot, nowMs * speed),
  explain: (ask, nowMs) => own.explain(ask, nowMs * speed),
  decision: (ask, nowMs, most) => own.decision(ask, nowMs * speed, most),
  decide: (ask, nowMs, most) => own.decide(ask, nowMs * speed, most),
  book: (slot, ask, streams, nowMs) => {
    const booking = own.book(slot, ask, streams, nowMs * speed)
    const { heldTokens } = booking
    return {
      ...booking,
      firstByte: (atMs) => booking.firstByte(atMs * speed),
      settle: (atMs, outcome) => {
        booking.settle(atMs * speed, outcome)
        if (outcome.cachedTokens === null) return
        predictions.predicted += heldTokens
        predictions.tooMany += Math.max(0, heldTokens - outcome.cachedTokens)
        predictions.tooFew += Math.max(0, outcome.cachedTokens - heldTokens)
      }
    } satisfies Booking
  },
  charge: (slot, request, nowMs) => {
    const charged = own.charge(slot, request, nowMs * speed)
    return {
      firstByte: (atMs) => charged.firstByte(atMs * speed),
      settle: (atMs, computed) => charged.settle(atMs * speed, computed)
    }
  },
  snapshot: (nowMs) => own.snapshot(nowMs * speed),
  worker: (slot, nowMs) => own.worker(slot, nowMs * speed)
})
