/**
 * MemberTable: which replicas are alive, from when their rows were last written. Pure; told the time.
 *
 * Time counts only while there is a broker to hear them by, and of a tick that came late a quarter of `deadMs` at most: what
 * this process slept through proves nothing about the others, and between two ticks it hears what came meanwhile. After an outage everybody has `deadMs` to be heard.
 */
import { Option, Schema } from "effect"

/** One replica of this deployment, as it tells the others. */
export const Member = Schema.Struct({
  id: Schema.NonEmptyString,
  /** `agent`: reads the events of the workers beside it, and takes no requests. */
  kind: Schema.Literals(["router", "agent"]),
  /** It can take requests; an agent: it can read. */
  ready: Schema.Boolean,
  /** Of its admin API; null when it has none that others reach. */
  url: Schema.NullOr(Schema.String),
  version: Schema.String,
  startedAtMs: Schema.Number,
  /** Publishers that it, and no router, should read. */
  prefers: Schema.Array(Schema.String)
})
export type Member = typeof Member.Type

export interface Options {
  /** A row not written anew for so long is of a dead replica. */
  readonly deadMs: number
  /** One dead for so long is removed, by whoever notices. */
  readonly buryMs: number
}

interface Entry {
  member: Member
  text: string
  revision: number
  heardMs: number
}

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Member))
export const encode = (member: Member): Uint8Array => Buffer.from(JSON.stringify(member))

export class MemberTable {
  private readonly options: Options
  private readonly entries = new Map<string, Entry>()
  /** Time in which others could be heard. */
  private heardableMs = 0
  private tickedMs: number

  constructor(options: Options, nowMs: number) {
    this.options = options
    this.tickedMs = nowMs
  }

  /** A row as it is now. One that was seen before at this revision is no sign of life; one that cannot be read is ignored. */
  heard(key: string, value: Uint8Array, revision: number): void {
    const known = this.entries.get(key)
    if (known?.revision === revision) return
    const text = Buffer.from(value).toString()
    // Unchanged, it stays the same object: listeners are told of changes only.
    const member = known?.text === text ? known.member : Option.getOrNull(decode(text))
    if (member === null) return
    this.entries.set(key, { member, text, revision, heardMs: this.heardableMs })
  }

  /** Taken out by its owner, or buried. */
  removed(key: string): void {
    this.entries.delete(key)
  }

  /** Its row is there, be it alive or not. */
  has(key: string): boolean {
    return this.entries.has(key)
  }

  /** Back at the broker. */
  connected(): void {
    for (const entry of this.entries.values()) entry.heardMs = this.heardableMs
  }

  tick(nowMs: number, connected: boolean): void {
    const passedMs = nowMs - this.tickedMs
    this.tickedMs = nowMs
    if (connected) this.heardableMs += Math.min(passedMs, this.options.deadMs / 4)
  }

  living(): ReadonlyArray<Member> {
    return [...this.entries.values()]
      .filter(({ heardMs }) => this.heardableMs - heardMs < this.options.deadMs)
      .map(({ member }) => member)
  }

  /** Rows to be removed: dead for long. */
  buried(): ReadonlyArray<{ readonly key: string; readonly revision: number }> {
    return [...this.entries]
      .filter(([, { heardMs }]) => this.heardableMs - heardMs >= this.options.deadMs + this.options.buryMs)
      .map(([key, { revision }]) => ({ key, revision }))
  }
}
