/**
 * Admission: requests that are better sent a little later. A worker takes what it is sent in order of arrival, so a request that
 * would only queue behind others waits here, where a shorter one may pass it, and another worker may be free first.
 *
 * Owns     one `WaitingRoom`.
 * Hears    requests about to be placed, and those whose client has gone; then the time, every `turnMs` while somebody waits.
 * Answers  `holds`, synchronously: whether a request waits. It is called `again` when it may have come to its turn, and is
 *          asked anew: where it goes follows from what is so by then.
 * Loses    nothing: requests are in flight all the while.
 *
 * A request waits while what is ahead of it at the worker it would go to takes longer than a prompt usually takes
 * there: so workers never idle, and scale does not matter. What waits for a worker counts for those that come later like what
 * was sent there (`Ask.aheadMs`), or all would wait for the same one. Only where placement is by cost; where all are idle nothing is asked.
 */
import { WaitingRoom } from "../src/hot/WaitingRoom.ts"
import type { Ask, Ledger } from "./Ledger.ts"

/** One request, from its first asking to its going. */
export interface Guest {
  slot: number
  ownMs: number
  leastMs: number
  readonly bornMs: number
  readonly priority: number
  /** It waits now. */
  held: boolean
  readonly again: () => void
}

export interface Interface {
  /** `again`: called when it is worth asking once more. `nowMs`: on the ledger's clock. */
  readonly guest: (nowMs: number, priority: number | null, again: () => void) => Guest
  /** True: it waits. Fills in `ask.aheadMs` either way, for the placement that may follow. */
  readonly holds: (guest: Guest, ask: Ask, nowMs: number) => boolean
  /** Its client has gone. */
  readonly leave: (guest: Guest) => void
  readonly waiting: () => number
}

export interface Options {
  readonly ledger: Pick<Ledger["Service"], "aheadMs" | "isBusy" | "leastMs" | "outlook" | "policy">
  readonly workersMax: number
  /** Most that wait; others are sent at once. */
  readonly waitingMax: number
  /** Calls back after so many ms. */
  readonly after: (ms: number, run: (nowMs: number) => void) => void
}

/** Of the mean prefill: what may be ahead of a request that is sent. */
const share = 1
export const turnMs = 10
/** However it is: engines may know better, and a client's patience ends. */
const waitMsMax = 30_000

export const make = ({ after, ledger, waitingMax, workersMax }: Options): Interface => {
  const room = new WaitingRoom<Guest>()
  const aheadMs = new Float64Array(workersMax)
  const isOn = ledger.policy === "eta" && waitingMax > 0
  let mostMs = 0
  let isDue = false

  const wake = (): void => {
    if (isDue) return
    isDue = true
    after(turnMs, turn)
  }

  /** Asks one once more; whether it went. */
  const retry = (guest: Guest): boolean => {
    room.take(guest)
    guest.held = false
    guest.again()
    return !guest.held
  }

  const turn = (nowMs: number): void => {
    isDue = false
    for (let slot = 0; slot < room.slots; slot++) {
      for (let first = room.first(slot); first !== undefined; first = room.first(slot)) {
        if (ledger.aheadMs(slot, nowMs) > mostMs || !retry(first)) break
      }
    }
    // It may have become better off elsewhere.
    const other = room.another()
    if (other !== undefined) retry(other)
    if (room.size > 0) wake()
  }

  return {
    guest: (nowMs, priority, again) => ({
      slot: 0,
      ownMs: 0,
      leastMs: 0,
      bornMs: nowMs,
      priority: priority ?? 0,
      held: false,
      again
    }),
    holds: (guest, ask, nowMs) => {
      if (!isOn || (room.size === 0 && !ledger.isBusy())) return false
      const { bornMs, priority } = guest
      guest.leastMs = ledger.leastMs(ask)
      if (room.size > 0) {
        room.ahead(priority, guest.leastMs, bornMs, aheadMs)
        ask.aheadMs = aheadMs
      }
      const { meanMs, ownMs, slot, waitMs } = ledger.outlook(ask, nowMs)
      mostMs = share * meanMs
      if (slot < 0 || waitMs <= mostMs || room.size >= waitingMax || nowMs - bornMs > waitMsMax) return false
      guest.slot = slot
      guest.ownMs = ownMs
      guest.held = true
      room.put(guest)
      wake()
      return true
    },
    leave: (guest) => {
      guest.held = false
      room.take(guest)
    },
    waiting: () => room.size
  }
}
