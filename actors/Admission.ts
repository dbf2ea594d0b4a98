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
 * A request waits while what of ours is ahead of it at the worker it would go to takes longer than a prompt usually takes, and
 * than a turn: so workers never idle, and scale does not matter. What waits for a worker counts for those that come later like
 * what was sent there (`Ask.aheadMs`), or all would wait for the same one. Only where placement is by cost; where all are idle
 * nothing is asked. A turn asks so many and no more: it would keep the loop from all others.
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
/** The next turn, where one asked all that it may and most of them went. */
const soonMs = 1
/** Asked in one turn, at most: of those who are first at a worker, and of those who were asked longest ago. */
const asksMax = 16
/** Of so many that wait, one is asked in each turn: all are within some seconds. */
const othersShare = 512
/** However it is: engines may know better, and a client's patience ends. About: when it is asked next. */
const waitMsMax = 30_000

export const make = ({ after, ledger, waitingMax, workersMax }: Options): Interface => {
  const room = new WaitingRoom<Guest>()
  const aheadMs = new Float64Array(workersMax)
  const isOn = ledger.policy === "eta" && waitingMax > 0
  let mostMs = turnMs
  let isDue = false
  /** The worker that a turn begins with. */
  let start = 0

  const wake = (ms = turnMs): void => {
    if (isDue) return
    isDue = true
    after(ms, turn)
  }

  /** Asks one once more; whether it went. */
  const retry = (guest: Guest): boolean => {
    room.take(guest)
    guest.held = false
    guest.again()
    return !guest.held
  }

  /** Asks who is first where a worker is about to be free; whether there may be more, and most of them went. */
  const askFirst = (nowMs: number): boolean => {
    const { slots } = room
    let asked = 0
    let went = 0
    for (let i = 0, from = start; i < slots; i++) {
      const slot = (from + i) % slots
      for (let first = room.first(slot); first !== undefined; first = room.first(slot)) {
        if (ledger.aheadMs(slot, nowMs) > mostMs) break
        if (asked === asksMax) {
          start = slot
          return 2 * went > asked
        }
        asked++
        if (retry(first)) went++
        // Who waits for another one now is in nobody's way.
        else if (first.slot === slot) break
      }
    }
    return false
  }

  const turn = (nowMs: number): void => {
    isDue = false
    const isMore = askFirst(nowMs)
    // They may have become better off elsewhere, or have waited for too long.
    for (let asks = Math.min(asksMax, Math.ceil(room.size / othersShare)); asks > 0; asks--) {
      const other = room.another()
      if (other !== undefined) retry(other)
    }
    if (room.size > 0) wake(isMore ? soonMs : turnMs)
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
      mostMs = Math.max(turnMs, share * meanMs)
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
