/**
 * Announcements: workers that say themselves that they are there, or have it said by whatever runs beside them. Pure.
 *
 * On the subject `announce`, every few seconds, as JSON:
 *
 *   {"version":1, "url":"http://10.0.0.4:8000", "id":"gpu-4", "events":{"endpoint":"tcp://10.0.0.4:5557"}, "ttlMs":15000}
 *
 * Only `version` and `url` must be there; `id` and `events` mean what they mean in the config file. `ttlMs` is how long
 * the announcement holds without being repeated; 0 says that the worker leaves. A key is not announced: a worker that
 * wants one is listed by each replica.
 *
 * Under one id the first announcer counts until its time is over: two that contradict each other would have the worker
 * come and go with every message.
 */
import { Equal, Result, Schema } from "effect"
import type { WorkerSpec } from "../src/domain/Worker.ts"
import { publicFields, toSpec } from "../src/domain/WorkerInput.ts"
import { read } from "./FleetRows.ts"

export const subject = "announce"

/** How often `warmpath agent` repeats itself: of three messages two may be lost. */
export const repeatMs = 5_000
/** Three of them. */
export const ttlMsDefault = 15_000
const ttlMsMax = 3_600_000

export interface Announcement {
  readonly spec: WorkerSpec
  readonly ttlMs: number
}

const Message = Schema.Struct({
  version: Schema.Literal(1),
  ...publicFields,
  ttlMs: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: ttlMsMax })))
})

export const decode = (data: Uint8Array): Result.Result<Announcement, string> =>
  Result.map(read(Message, data), ({ ttlMs = ttlMsDefault, version: _, ...worker }) => ({
    spec: toSpec(worker),
    ttlMs
  }))

export const encode = ({ spec: { events, id, url }, ttlMs }: Announcement): Uint8Array =>
  Buffer.from(JSON.stringify({ version: 1, id, url, ...(events === undefined ? {} : { events }), ttlMs }))

/** `contradicted`: another one counts under that id. `full`: more workers than a fleet has. */
export type Heard = "new" | "again" | "left" | "contradicted" | "full" | "nothing"

interface Announced extends Announcement {
  heardMs: number
}

/** Who announces itself. Times in ms of the local monotonic clock. */
export class Announcements {
  private readonly byId = new Map<string, Announced>()
  private readonly workersMax: number

  constructor(workersMax: number) {
    this.workersMax = workersMax
  }

  hear(said: Announcement, nowMs: number): Heard {
    const { id } = said.spec
    const known = this.byId.get(id)
    const counts = known === undefined || nowMs - known.heardMs >= known.ttlMs || Equal.equals(known.spec, said.spec)
    if (said.ttlMs === 0) {
      // Whoever leaves need not describe itself again.
      if (known === undefined || known.spec.url !== said.spec.url) return "nothing"
      this.byId.delete(id)
      return "left"
    }
    if (!counts) return "contradicted"
    if (known === undefined && this.byId.size >= this.workersMax) return "full"
    this.byId.set(id, { ...said, heardMs: nowMs })
    return known !== undefined && Equal.equals(known.spec, said.spec) ? "again" : "new"
  }

  get(id: string): WorkerSpec | undefined {
    return this.byId.get(id)?.spec
  }

  ids(): Iterable<string> {
    return this.byId.keys()
  }

  /** Ms since it was last heard; null for one that is not announced. */
  quietMs(id: string, nowMs: number): number | null {
    const known = this.byId.get(id)
    return known === undefined ? null : nowMs - known.heardMs
  }

  /** Those that have not repeated themselves in time. */
  overdue(nowMs: number): ReadonlyArray<string> {
    return [...this.byId].filter(([, { heardMs, ttlMs }]) => nowMs - heardMs >= ttlMs).map(([id]) => id)
  }

  forget(id: string): void {
    this.byId.delete(id)
  }

  /** Nobody could be heard for a while: their silence counts from now. */
  forgive(nowMs: number): void {
    for (const known of this.byId.values()) known.heardMs = nowMs
  }
}
