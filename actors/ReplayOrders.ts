/**
 * ReplayOrders: the replay that `EventSequence` wants, when it may run, and the one that is out: at most one.
 *
 * An order that was overtaken is withdrawn. Pure but for its hands; told the time.
 */
import type * as EventSequence from "../src/hot/EventSequence.ts"
import type { Recovery } from "./Followed.ts"
import type { RecoveryPace } from "./RecoveryPace.ts"

export type Order = Extract<EventSequence.Output, { readonly _tag: "Replay" }>

export interface ReplayHands {
  /** Run this replay. */
  readonly replay: (order: Order) => void
  /** The replay of this id is not wanted any more. */
  readonly abandon: (id: number) => void
}

export class ReplayOrders {
  private readonly sequence: EventSequence.State
  private readonly pace: RecoveryPace
  private readonly replaysMax: number
  private readonly hands: ReplayHands
  /** The order that waits. */
  private order: Order | null = null
  private fromMs = 0
  /** Id of the order that is out; -1 for none. */
  private asked = -1
  private begun = false

  constructor(sequence: EventSequence.State, pace: RecoveryPace, replaysMax: number, hands: ReplayHands) {
    this.sequence = sequence
    this.pace = pace
    this.replaysMax = replaysMax
    this.hands = hands
  }

  want(order: Order, nowMs: number): void {
    this.order = order
    this.fromMs = nowMs
  }

  /** The order that waits, if any, waits until then. */
  postpone(fromMs: number): void {
    this.fromMs = fromMs
  }

  /** Its request goes out. False when it is not wanted any more. */
  begin(id: number): boolean {
    if (id !== this.asked) return false
    this.begun = true
    return true
  }

  /** It is over. False when it was not wanted any more. */
  end(id: number): boolean {
    if (id !== this.asked) return false
    this.asked = -1
    return true
  }

  /** When the order that waits may run; Infinity when none waits for time to pass. */
  get dueMs(): number {
    return this.order !== null && this.sequence.connected ? this.readyAtMs : Infinity
  }

  /** Withdraws the order that was overtaken, and gives out the one that is due. */
  dispatch(nowMs: number): void {
    const { hands, pace, sequence } = this
    const wanted = sequence.phase === "replaying" ? sequence.id : -1
    if (this.asked >= 0 && this.asked !== wanted) {
      hands.abandon(this.asked)
      if (!this.begun) pace.refund()
      this.asked = -1
    }
    const { order } = this
    if (order === null || this.asked >= 0) return
    if (order.id !== wanted) {
      this.order = null
      return
    }
    // Of an engine that is away nothing is asked: failing would only use up its attempts. Its return orders anew.
    if (!sequence.connected) return
    // Counts what was regained meanwhile.
    pace.left(nowMs)
    if (nowMs < this.readyAtMs) return
    pace.spend(nowMs)
    this.order = null
    this.asked = order.id
    this.begun = false
    hands.replay(order)
  }

  /** `shedUntilMs`: when the next fresh start is due, null while what comes is read. */
  recovery(nowMs: number, shedUntilMs: number | null): Recovery {
    const { asked, begun, order, pace, sequence } = this
    const replaysLeft = pace.left(nowMs)
    const phase = (name: Recovery["phase"], dueMs: number | null): Recovery => ({
      phase: name,
      attempt: sequence.attempt,
      nextTryInMs: dueMs === null ? null : Math.max(0, dueMs - nowMs),
      replaysLeft
    })
    if (shedUntilMs !== null) return phase("shedding", shedUntilMs)
    if (asked >= 0) return phase(begun ? "replaying" : "queued", null)
    if (order === null) return phase("none", null)
    return phase("waiting", sequence.connected ? this.readyAtMs : null)
  }

  /** A look is made from what a hole would not need. */
  private get readyAtMs(): number {
    const count = this.sequence.doubt ? 1 : Math.ceil(this.replaysMax / 2)
    return Math.max(this.fromMs, this.pace.readyAtMs(count))
  }
}
