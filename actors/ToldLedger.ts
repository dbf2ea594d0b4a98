/** A ledger as the request path has it where there are other replicas: what is booked in it is told to them. */
import type { OwnLoad } from "../src/hot/OwnLoad.ts"
import type { Booking, Ledger } from "./Ledger.ts"

/**
 * `workerOf`: the hash of a slot's worker; undefined while it is nobody's, then nothing is told. `changed` is called after
 * each change.
 */
export const make = (
  ledger: Ledger["Service"],
  own: OwnLoad,
  workerOf: (slot: number) => number | undefined,
  changed: () => void
): Ledger["Service"] => ({
  ...ledger,
  book: (slot, ask, streams, nowMs) => {
    const booking = ledger.book(slot, ask, streams, nowMs)
    const worker = workerOf(slot)
    if (worker === undefined) return booking
    const { keys, priority, promptTokens } = ask
    const cachedTokens = ask.cachedTokens[slot]!
    const id = own.book({ worker, promptTokens, cachedTokens, streams, priority, keys })
    changed()
    return {
      slot,
      heldTokens: booking.heldTokens,
      firstByte: (atMs) => {
        booking.firstByte(atMs)
        own.firstByte(id)
        changed()
      },
      settle: (atMs, outcome) => {
        booking.settle(atMs, outcome)
        own.settle(id, outcome.outcome === "complete")
        changed()
      }
    } satisfies Booking
  }
})
