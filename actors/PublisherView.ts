/** PublisherView: what others see of one publisher: how it is, why, and every number. Decides nothing. */
import type * as EventSequence from "../src/hot/EventSequence.ts"
import type { EventReader } from "./EventReader.ts"
import type { Health, State } from "./Followed.ts"
import type { FreshStarts } from "./FreshStarts.ts"
import type { Reconnects } from "./Reconnects.ts"
import type { ReplayOrders } from "./ReplayOrders.ts"
import type { Silence } from "./Silence.ts"

export const silentWhy = "silent though its worker works"

/** What it is made of. */
export interface Parts {
  readonly sequence: EventSequence.State
  readonly reader: EventReader
  readonly silence: Silence
  readonly fresh: FreshStarts
  readonly reconnects: Reconnects
  readonly orders: ReplayOrders
  readonly absentMs: number
}

export class PublisherView {
  /** Why it cannot be subscribed to at all, its events cannot be read, or its last replay failed: told by its publisher. */
  unreachable: string | null = null
  unreadable: string | null = null
  replayError = ""
  /** Batches dropped unread. */
  shed = 0
  private readonly parts: Parts

  constructor(parts: Parts) {
    this.parts = parts
  }

  get health(): Health {
    const { fresh, sequence, silence } = this.parts
    if (silence.absent || !sequence.started) return "absent"
    const sound =
      sequence.connected && !sequence.doubt && !silence.silent && fresh.shedding === null && this.unreadable === null
    return sound ? "whole" : "broken"
  }

  /** Why it is not whole, or not complete. */
  get why(): string {
    const { absentMs, fresh, reconnects, sequence, silence } = this.parts
    const { attempt, connected, doubt, lostWhy, started, why } = sequence
    if (silence.absent) return `${silentWhy}, for ${absentMs / 1_000} s`
    if (!started) return this.unreachable ?? (connected ? "nothing heard yet" : "not connected yet")
    if (!connected) return reconnects.ever ? "disconnected" : "not connected yet"
    if (fresh.shedding !== null) return fresh.shedding
    if (doubt) return attempt > 0 ? `${why}; replay failed: ${this.replayError}` : why
    if (this.unreadable !== null) return `its events cannot be read: ${this.unreadable}`
    if (silence.silent) return silentWhy
    return this.complete ? "" : lostWhy
  }

  /** Every batch since the engine started, or since it emptied its cache, has been applied. */
  get complete(): boolean {
    const { fresh, reader, sequence, silence } = this.parts
    return (sequence.complete || reader.emptied) && fresh.shedding === null && !silence.absent
  }

  state(nowMs: number): State {
    const { fresh, orders, reader, sequence } = this.parts
    return {
      ...reader.translator.counters,
      health: this.health,
      why: this.why,
      recovery: orders.recovery(nowMs, fresh.shedding === null ? null : fresh.atMs),
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
}
