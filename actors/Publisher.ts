/**
 * Publisher: all that is decided about one publisher of KV events. A machine without runtime, clock, randomness or I/O.
 *
 * `feed(input, nowMs)` takes what happened (the socket's signals, replays, the passing of time) and acts through `Hands`;
 * the same inputs at the same times always do the same. Its owner
 *   - feeds `Live`, `Connected`, `Disconnected` as the subscription says;
 *   - on `hands.replay(order)` feeds `ReplayBegun` just before the request goes out, `Replayed` for each batch, and then
 *     `ReplayDone` or `ReplayFailed`, all with the order's `id`. At most one order is out; `hands.abandon` withdraws it,
 *     and what is still fed under its id is ignored;
 *   - feeds `Tick` when `wakeMs` has come; more often does no harm.
 * `hands` are called during `feed`, and must not feed in return. Times are ms of any one monotonic clock.
 *
 * Inside: `EventSequence` puts batches in order, `EventReader` makes changes to the index of them, `RecoveryPace` says when
 * a replay may run, `Silence` what it means to hear nothing. When what was published to the index no longer adds up, the
 * slot is cleared first, and only then read again.
 */
import * as EventSequence from "../src/hot/EventSequence.ts"
import { EventReader, type Out } from "./EventReader.ts"
import type { Followed, Health, Options, Recovery, State } from "./Followed.ts"
import { RecoveryPace } from "./RecoveryPace.ts"
import { Silence } from "./Silence.ts"

export type Order = Extract<EventSequence.Output, { readonly _tag: "Replay" }>

export type Input =
  | Exclude<EventSequence.Input, { readonly _tag: "ReplayFailed" | "Look" | "Admit" }>
  | { readonly _tag: "ReplayFailed"; readonly id: number; readonly reason: string }
  | { readonly _tag: "Tick" }
  /** A request that took so long has ended, and must have stored at least one new block. */
  | { readonly _tag: "Expected"; readonly tookMs: number }
  /** From now on a chain stored again from its root is a report, not another copy. */
  | { readonly _tag: "Refreshes" }
  /** It cannot be subscribed to at all. */
  | { readonly _tag: "Unreachable"; readonly why: string }

export interface Hands extends Out {
  /** Run this replay. */
  readonly replay: (order: Order) => void
  /** The replay of this id is not wanted any more. */
  readonly abandon: (id: number) => void
}

/** A publisher whose batches can be read again is believed after this. */
const readableMs = 1_000
/**
 * A fresh start that has held for so long was not in vain. After too many that did not, the next is so far off; that
 * doubles, up to the second.
 */
const freshMsMin = 60_000
const freshMsMax = 3_600_000
const silentWhy = "silent though its worker works"

export class Publisher {
  readonly sequence: EventSequence.State
  readonly reader: EventReader
  private readonly options: Options
  private readonly hands: Hands
  private readonly slot: number
  private readonly pace: RecoveryPace
  private readonly silence: Silence
  private nowMs: number
  private unreachable: string | null = null
  /** What comes is dropped, for this reason, until `freshAtMs`. */
  private shedding: string | null = null
  /** When the next fresh start is due, or the last was. */
  private freshAtMs = -Infinity
  private freshStarts = 0
  private freshPauseMs = freshMsMin
  /** Fresh starts were given up for a while, for this reason; what comes is read. */
  private resting: string | null = null
  private shed = 0
  private unreadable: string | null = null
  private unreadableAtMs = 0
  private replayError = ""
  private connectedOnce = false
  private reconnects = 0
  private reconnectsFromMs = 0
  private reconnectedAtMs = -Infinity
  private order: Order | null = null
  private orderAtMs = 0
  /** Id of the order that is out; -1 for none. */
  private asked = -1
  private begun = false
  private batchesBefore = 0

  constructor(followed: Followed, options: Options, hands: Hands, nowMs: number) {
    this.options = options
    this.hands = hands
    this.slot = followed.slot
    this.nowMs = nowMs
    this.pace = new RecoveryPace(options)
    this.silence = new Silence(options, nowMs)
    this.sequence = EventSequence.make({ ...options, replayable: followed.source.replayEndpoint !== null })
    this.reader = new EventReader(followed, options, hands)
  }

  get health(): Health {
    const { sequence, shedding, silence, unreadable } = this
    if (silence.absent || !sequence.started) return "absent"
    const sound = sequence.connected && !sequence.doubt && !silence.silent && shedding === null && unreadable === null
    return sound ? "whole" : "broken"
  }

  /** Why it is not whole, or not complete. */
  get why(): string {
    const { attempt, connected, doubt, lostWhy, started, why } = this.sequence
    if (this.silence.absent) return `${silentWhy}, for ${this.options.absentMs / 1_000} s`
    if (!started) return this.unreachable ?? (connected ? "nothing heard yet" : "not connected yet")
    if (!connected) return this.connectedOnce ? "disconnected" : "not connected yet"
    if (this.shedding !== null) return this.shedding
    if (doubt) return attempt > 0 ? `${why}; replay failed: ${this.replayError}` : why
    if (this.unreadable !== null) return `its events cannot be read: ${this.unreadable}`
    if (this.silence.silent) return silentWhy
    return this.complete ? "" : lostWhy
  }

  /** Every batch since the engine started, or since it emptied its cache, has been applied. */
  get complete(): boolean {
    return (this.sequence.complete || this.reader.emptied) && this.shedding === null && !this.silence.absent
  }

  /** When `Tick` is due; Infinity when nothing waits for time to pass. */
  get wakeMs(): number {
    if (this.shedding !== null) return this.freshAtMs
    let at = this.silence.dueMs
    if (this.resting !== null) at = Math.min(at, this.freshAtMs)
    if (this.mayLook) at = Math.min(at, this.silence.lookAtMs)
    if (this.order !== null && this.sequence.connected) at = Math.min(at, this.replayAtMs)
    return this.readableAgain ? Math.min(at, this.unreadableAtMs + readableMs) : at
  }

  feed(input: Input, nowMs: number): void {
    this.nowMs = nowMs
    switch (input._tag) {
      case "Live":
        this.live(input)
        break
      case "Connected":
        this.connected()
        break
      case "Disconnected":
      case "Replayed":
        this.step(input)
        break
      case "ReplayBegun":
        if (input.id !== this.asked) return
        this.begun = true
        this.batchesBefore = this.reader.batches
        this.step(input)
        break
      case "ReplayDone":
      case "ReplayFailed":
        this.replayEnded(input)
        break
      case "Tick":
        this.tick()
        break
      case "Expected":
        if (this.health !== "absent" && this.shedding === null) this.silence.expect(input.tookMs, nowMs)
        break
      case "Refreshes":
        this.reader.translator.repeats = "refresh"
        break
      case "Resync":
        this.shedding = null
        this.resting = null
        this.silence.absent = false
        this.step(input)
        break
      case "Unreachable":
        this.unreachable = input.why
        break
    }
    this.dispatch()
  }

  /** Withdraws all that was published about the slot. */
  leave(): void {
    this.hands.publish({ _tag: "Cleared", worker: this.slot, guess: false })
  }

  state(nowMs: number): State {
    const { reader, sequence } = this
    return {
      ...reader.translator.counters,
      health: this.health,
      why: this.why,
      recovery: this.recovery(nowMs),
      complete: this.complete,
      connected: sequence.connected,
      lastSeq: sequence.next - 1,
      batches: reader.batches,
      gaps: sequence.gaps,
      replays: sequence.replays,
      replayFailures: sequence.replayFailures,
      purges: sequence.purges,
      restarts: sequence.restarts,
      duplicates: sequence.duplicates,
      lost: sequence.lost,
      decodeErrors: reader.decodeErrors,
      overflows: reader.overflows,
      shed: this.shed,
      lagEvents: sequence.held.size,
      hashes: reader.translator.size,
      blockSize: reader.translator.blockSize,
      hashing: reader.hashing,
      unknown: Object.fromEntries(reader.unknown)
    }
  }

  private recovery(nowMs: number): Recovery {
    const { asked, begun, order, pace, freshAtMs, sequence, shedding } = this
    const replaysLeft = pace.left(nowMs)
    const phase = (name: Recovery["phase"], dueMs: number | null): Recovery => ({
      phase: name,
      attempt: sequence.attempt,
      nextTryInMs: dueMs === null ? null : Math.max(0, dueMs - nowMs),
      replaysLeft
    })
    if (shedding !== null) return phase("shedding", freshAtMs)
    if (asked >= 0) return phase(begun ? "replaying" : "queued", null)
    if (order === null) return phase("none", null)
    return phase("waiting", sequence.connected ? this.replayAtMs : null)
  }

  private step(input: EventSequence.Input): void {
    for (const output of EventSequence.step(this.sequence, input)) {
      if (output._tag === "Purge") this.reader.purge()
      else if (output._tag === "Replay") {
        this.order = output
        this.orderAtMs = this.nowMs
      } else {
        this.read(output.payload)
        // What is left was decided before that.
        if (this.shedding !== null) return
      }
    }
  }

  private read(payload: Uint8Array): void {
    const { nowMs, reader, sequence } = this
    const verdict = reader.read(payload, sequence.complete, sequence.restarts)
    if (reader.unreadable !== null) {
      this.unreadable = reader.unreadable
      this.unreadableAtMs = nowMs
    }
    if (verdict === null) return
    if (verdict.remedy !== "afresh") {
      if (verdict.remedy === "lost") reader.purge()
      sequence.complete = false
      sequence.lostWhy = verdict.why
      return
    }
    this.shedding = verdict.why
    if (nowMs - this.freshAtMs > freshMsMin) {
      this.freshStarts = 0
      this.freshPauseMs = freshMsMin
    }
    this.freshStarts++
    this.freshAtMs = nowMs + this.pace.pauseMs(this.freshStarts)
    this.step({ _tag: "Admit", why: verdict.why })
  }

  private get readableAgain(): boolean {
    return this.unreadable !== null && this.reader.unreadable === null
  }

  private live(input: EventSequence.Input): void {
    const { silence } = this
    silence.heard(this.nowMs)
    if (this.shedding !== null) {
      this.shed++
      return
    }
    if (silence.absent) {
      silence.absent = false
      this.step({ _tag: "Resync", why: "heard again after a long silence" })
    }
    this.step(input)
  }

  private connected(): void {
    const { nowMs, pace, sequence } = this
    let pauseMs = 0
    if (this.connectedOnce) {
      pauseMs = pace.reconnect(nowMs)
      if (nowMs - this.reconnectedAtMs > this.options.calmMs) {
        this.reconnects = 0
        this.reconnectsFromMs = nowMs
      }
      this.reconnects++
      this.reconnectedAtMs = nowMs
    }
    this.connectedOnce = true
    sequence.connected = true
    if (this.shedding !== null) return
    this.silence.absent = false
    this.step({ _tag: "Connected" })
    this.orderAtMs = nowMs + pauseMs
    if (!sequence.doubt || this.reconnects < 2) return
    const seconds = Math.max(1, Math.round((nowMs - this.reconnectsFromMs) / 1_000))
    sequence.why = `${this.reconnects} reconnects in ${seconds} s`
  }

  private replayEnded(input: Extract<Input, { readonly _tag: "ReplayDone" | "ReplayFailed" }>): void {
    if (input.id !== this.asked) return
    this.asked = -1
    if (input._tag === "ReplayDone") {
      // It speaks, if only when asked.
      if (this.reader.batches > this.batchesBefore) this.silence.heard(this.nowMs)
      this.step(input)
      return
    }
    this.replayError = input.reason
    this.step(input)
    this.orderAtMs = this.nowMs + this.pace.pauseMs(this.sequence.attempt)
  }

  private tick(): void {
    const { nowMs, options, shedding, silence } = this
    if (shedding !== null) {
      if (nowMs >= this.freshAtMs) this.startAfresh(shedding)
      return
    }
    if (this.resting !== null && nowMs >= this.freshAtMs) {
      this.freshStarts = options.attemptsMax
      // A restart, or an emptied cache, may have made it whole meanwhile.
      if (this.complete || silence.absent) this.resting = null
      else this.startAfresh(this.resting)
      return
    }
    if (this.readableAgain && nowMs >= this.unreadableAtMs + readableMs) this.unreadable = null
    if (silence.tick(nowMs) === "absent") this.step({ _tag: "Admit", why: silentWhy })
    if (this.mayLook && silence.look(nowMs)) this.step({ _tag: "Look" })
  }

  private startAfresh(why: string): void {
    this.shedding = null
    this.resting = null
    if (this.freshStarts <= this.options.attemptsMax) {
      this.step({ _tag: "Resync", why })
      return
    }
    // What fresh starts do not cure is left alone for a while: the picture grows again from what comes.
    this.step({ _tag: "Admit", why })
    if (!this.sequence.options.replayable) return
    this.resting = why
    this.freshAtMs = this.nowMs + this.freshPauseMs
    this.freshPauseMs = Math.min(freshMsMax, this.freshPauseMs * 2)
    this.silence.postpone(this.nowMs)
  }

  private get mayLook(): boolean {
    const { options, phase } = this.sequence
    return options.replayable && phase !== "replaying" && !this.silence.absent && this.shedding === null
  }

  /** A look is made from what a hole would not need. */
  private get replayAtMs(): number {
    const count = this.sequence.doubt ? 1 : Math.ceil(this.options.replaysMax / 2)
    return Math.max(this.orderAtMs, this.pace.readyAtMs(count))
  }

  /** Withdraws the order that was overtaken, and gives out the one that is due. */
  private dispatch(): void {
    const { hands, nowMs, pace, sequence } = this
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
    if (nowMs < this.replayAtMs) return
    pace.spend(nowMs)
    this.order = null
    this.asked = order.id
    this.begun = false
    hands.replay(order)
  }
}
