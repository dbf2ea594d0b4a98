/**
 * RelayAppends: what this replica adds to the log for publishers whose lease it has, and whether the log takes it. Told the
 * time; nothing is sent again, whoever lacks it is told to look.
 */
import * as LogEntry from "../src/hot/LogEntry.ts"
import { type Bus, word } from "../src/ports/Bus.ts"
import type { Who } from "../src/ports/EventStream.ts"
import type { Leases } from "./Leases.ts"
import { patienceMs } from "./RelayRole.ts"

export interface Deps {
  readonly bus: Pick<Bus["Service"], "append" | "bytesMax">
  readonly leases: Pick<Leases["Service"], "epochOf">
  /** Of this replica. */
  readonly id: string
  readonly now: () => number
}

export type Append = (kind: LogEntry.Kind, seq?: number, payload?: Uint8Array) => void

/** Entries on their way to the log at most: some 50 MB. */
const underWayMax = 10_000
/** How long leases are left to others when the log takes nothing. */
const restMs = 30_000

export class RelayAppends {
  appended = 0
  failures = 0
  /** Entries on their way to the log. */
  underWay = 0
  /** Why the last one failed. */
  why = ""
  private readonly deps: Deps
  private signals = 0
  /** First and last time that one was refused since the log took one. */
  private refusedFromMs = Infinity
  private refusedToMs = -Infinity
  private restUntilMs = -Infinity

  constructor(deps: Deps) {
    this.deps = deps
  }

  /** Appends for one publisher; `short` is told when the log lacks something of it. */
  of({ model, name }: Who, short: () => void): Append {
    const { bus, id, leases } = this.deps
    const subject = `kv.${word(model)}.${word(name)}`
    return (kind, seq = 0, payload) => {
      const epoch = leases.epochOf(name)
      // Out of the others' sight for a moment, or for good: then its next owner calls for a look.
      if (epoch === null) return short()
      const bytes = LogEntry.encode(kind, epoch, seq, payload)
      const fits = bytes.length <= bus.bytesMax()
      if (!fits || this.underWay >= underWayMax) {
        this.failed(fits ? `${this.underWay} entries are on their way` : null)
        return short()
      }
      this.underWay++
      const entryId =
        payload === undefined ? `${name}/${epoch}/${id}/${this.signals++}` : LogEntry.idOf(name, epoch, seq, payload)
      bus.append(subject, bytes, entryId, (result) => {
        this.underWay--
        if ("position" in result) {
          this.appended++
          this.refusedFromMs = Infinity
          return
        }
        this.failed(result.reason === "away" ? null : result.message)
        short()
      })
    }
  }

  /** What to do about this replica's leases: give them up for a while as the log takes nothing, or have them again. */
  judge(nowMs: number): "give up" | "have again" | "nothing" {
    if (nowMs < this.restUntilMs) return "nothing"
    if (this.restUntilMs > -Infinity) {
      // Tried anew: what failed before, or was answered since, counts no more.
      this.restUntilMs = -Infinity
      this.refusedFromMs = Infinity
      return "have again"
    }
    if (this.refusedToMs - this.refusedFromMs < patienceMs) return "nothing"
    this.restUntilMs = nowMs + restMs
    return "give up"
  }

  /** `why` null: that says nothing about the log. */
  private failed(why: string | null): void {
    this.failures++
    if (why === null) return
    this.why = why
    this.refusedToMs = this.deps.now()
    this.refusedFromMs = Math.min(this.refusedFromMs, this.refusedToMs)
  }
}
