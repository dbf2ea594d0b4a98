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
 * Inside: `EventSequence` puts batches in order, `EventReader` makes changes to the index of them, `ReplayOrders` asks for
 * replays at `RecoveryPace`, `Silence` says what it means to hear nothing. When what was published to the index no longer
 * adds up, the slot is cleared first, and only then read again (`FreshStarts`).
 */
import * as EventSequence from "../src/hot/EventSequence.ts"
import { EventReader, type Out } from "./EventReader.ts"
import type { Followed, Health, Options, State } from "./Followed.ts"
import { FreshStarts } from "./FreshStarts.ts"
import { type Copy, PublisherCopy } from "./PublisherCopy.ts"
import { PublisherView, silentWhy } from "./PublisherView.ts"
import { Reconnects } from "./Reconnects.ts"
import { RecoveryPace } from "./RecoveryPace.ts"
import { type ReplayHands, ReplayOrders } from "./ReplayOrders.ts"
import { Silence } from "./Silence.ts"

export type { Order } from "./ReplayOrders.ts"

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

/** Inputs that say nothing of what is read. */
const idle: ReadonlySet<Input["_tag"]> = new Set(["Tick", "Expected", "Refreshes", "Unreachable", "Disconnected"])

export interface Hands extends Out, ReplayHands {}

/** A publisher whose batches can be read again is believed after this. */
const readableMs = 1_000

export class Publisher {
  readonly sequence: EventSequence.State
  readonly reader: EventReader
  /** Takes over what another publisher of this name has saved, before anything is fed. Anything fed ends that. */
  readonly copy: PublisherCopy
  private readonly hands: Hands
  private readonly slot: number
  private readonly pace: RecoveryPace
  private readonly silence: Silence
  private readonly fresh: FreshStarts
  private readonly reconnects: Reconnects
  private readonly orders: ReplayOrders
  private readonly view: PublisherView
  private nowMs: number
  private unreadableAtMs = 0
  private batchesBefore = 0

  constructor(followed: Followed, options: Options, hands: Hands, nowMs: number) {
    this.hands = hands
    this.slot = followed.slot
    this.nowMs = nowMs
    this.pace = new RecoveryPace(options)
    this.silence = new Silence(options, nowMs)
    this.sequence = EventSequence.make({ ...options, replayable: followed.source.replayEndpoint !== null })
    this.reader = new EventReader(followed, options, hands)
    this.copy = new PublisherCopy(this.sequence, this.reader, { ...options, model: followed.model })
    this.fresh = new FreshStarts(options.attemptsMax, this.pace)
    this.reconnects = new Reconnects(options.calmMs, this.pace)
    this.orders = new ReplayOrders(this.sequence, this.pace, options.replaysMax, hands)
    const { fresh, orders, reader, reconnects, sequence, silence } = this
    this.view = new PublisherView({ fresh, orders, reader, reconnects, sequence, silence, absentMs: options.absentMs })
  }

  get health(): Health {
    return this.view.health
  }

  get why(): string {
    return this.view.why
  }

  get complete(): boolean {
    return this.view.complete
  }

  /** When it was last heard, or shown that there was nothing to hear; -Infinity: never. */
  get heardAtMs(): number {
    return this.silence.heardAtMs
  }

  state(nowMs: number): State {
    return this.view.state(nowMs)
  }

  /** When `Tick` is due; Infinity when nothing waits for time to pass. */
  get wakeMs(): number {
    const { fresh, orders, silence } = this
    if (fresh.shedding !== null) return fresh.atMs
    let at = Math.min(silence.dueMs, orders.dueMs)
    if (fresh.resting !== null) at = Math.min(at, fresh.atMs)
    if (this.mayLook) at = Math.min(at, silence.lookAtMs)
    return this.readableAgain ? Math.min(at, this.unreadableAtMs + readableMs) : at
  }

  /**
   * All that another publisher needs to go on from the last batch applied here, in pieces of at most so many hashes; it
   * must not be fed before the last one was taken. Null while there is nothing to go on from.
   */
  save(hashesMax: number): Copy | null {
    return this.fresh.shedding === null && !this.silence.absent ? this.copy.save(hashesMax) : null
  }

  feed(input: Input, nowMs: number): void {
    this.nowMs = nowMs
    if (this.copy.isUnderWay && !idle.has(input._tag)) this.copy.abandon()
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
        if (!this.orders.begin(input.id)) return
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
        if (this.health !== "absent" && this.fresh.shedding === null) this.silence.expect(input.tookMs, nowMs)
        break
      case "Refreshes":
        this.reader.translator.repeats = "refresh"
        break
      case "Resync":
        this.fresh.end()
        this.silence.absent = false
        this.step(input)
        break
      case "Unreachable":
        this.view.unreachable = input.why
        break
    }
    this.orders.dispatch(nowMs)
  }

  /** Withdraws all that was published about the slot. */
  leave(): void {
    this.hands.publish({ _tag: "Cleared", worker: this.slot, guess: false })
  }

  private step(input: EventSequence.Input): void {
    for (const output of EventSequence.step(this.sequence, input)) {
      if (output._tag === "Purge") this.reader.purge()
      else if (output._tag === "Replay") this.orders.want(output, this.nowMs)
      else {
        this.read(output.seq, output.payload)
        // What is left was decided before that.
        if (this.fresh.shedding !== null) return
      }
    }
  }

  private read(seq: number, payload: Uint8Array): void {
    const { nowMs, reader, sequence } = this
    const verdict = reader.read(seq, payload, sequence.complete, sequence.restarts)
    if (reader.unreadable !== null) {
      this.view.unreadable = reader.unreadable
      this.unreadableAtMs = nowMs
    }
    if (verdict === null) return
    if (verdict.remedy !== "afresh") {
      if (verdict.remedy === "lost") reader.purge()
      sequence.complete = false
      sequence.lostWhy = verdict.why
      return
    }
    this.fresh.shed(verdict.why, nowMs)
    this.step({ _tag: "Admit", why: verdict.why })
  }

  private get readableAgain(): boolean {
    return this.view.unreadable !== null && this.reader.unreadable === null
  }

  private live(input: EventSequence.Input): void {
    const { silence } = this
    silence.heard(this.nowMs)
    if (this.fresh.shedding !== null) {
      this.view.shed++
      return
    }
    if (silence.absent) {
      silence.absent = false
      this.step({ _tag: "Resync", why: "heard again after a long silence" })
    }
    this.step(input)
  }

  private connected(): void {
    const { nowMs, reconnects, sequence } = this
    const pauseMs = reconnects.connected(nowMs)
    sequence.connected = true
    if (this.fresh.shedding !== null) return
    this.silence.absent = false
    this.step({ _tag: "Connected" })
    this.orders.postpone(nowMs + pauseMs)
    if (sequence.doubt) sequence.why = reconnects.why(nowMs) ?? sequence.why
  }

  private replayEnded(input: Extract<Input, { readonly _tag: "ReplayDone" | "ReplayFailed" }>): void {
    if (!this.orders.end(input.id)) return
    if (input._tag === "ReplayDone") {
      // It speaks, if only when asked.
      if (this.reader.batches > this.batchesBefore) this.silence.heard(this.nowMs)
      this.step(input)
      return
    }
    this.view.replayError = input.reason
    this.step(input)
    this.orders.postpone(this.nowMs + this.pace.pauseMs(this.sequence.attempt))
  }

  private tick(): void {
    const { fresh, nowMs, silence } = this
    if (fresh.shedding !== null) {
      if (nowMs >= fresh.atMs) this.startAfresh(fresh.shedding)
      return
    }
    if (fresh.resting !== null && nowMs >= fresh.atMs) {
      fresh.wake()
      // A restart, or an emptied cache, may have made it whole meanwhile.
      if (this.complete || silence.absent) fresh.end()
      else this.startAfresh(fresh.resting)
      return
    }
    if (this.readableAgain && nowMs >= this.unreadableAtMs + readableMs) this.view.unreadable = null
    if (silence.tick(nowMs) === "absent") this.step({ _tag: "Admit", why: silentWhy })
    if (this.mayLook && silence.look(nowMs)) this.step({ _tag: "Look" })
  }

  private startAfresh(why: string): void {
    const { fresh, nowMs } = this
    fresh.end()
    if (!fresh.exhausted) {
      this.step({ _tag: "Resync", why })
      return
    }
    // What fresh starts do not cure is left alone for a while: the picture grows again from what comes.
    this.step({ _tag: "Admit", why })
    if (!this.sequence.options.replayable) return
    fresh.rest(why, nowMs)
    this.silence.postpone(nowMs)
  }

  private get mayLook(): boolean {
    const { options, phase } = this.sequence
    return options.replayable && phase === "live" && !this.silence.absent && this.fresh.shedding === null
  }
}
