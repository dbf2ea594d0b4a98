/**
 * Bus: what the replicas of one deployment share. Subjects to call and ask on, a log that is kept for a while, and small
 * tables. Real: NATS (`adapters/nats`). In-process twin: `BusMemory`.
 *
 * Subjects are words of `A-Z a-z 0-9 _ -` joined by dots, within the deployment; `word` makes one of any text. Those
 * under `kv.` are the log's, and only the log's. Table keys are such subjects, too. Callbacks run on the bus's turn and
 * must not block; bytes handed over are the taker's to keep, each in a buffer of their own. Nothing here waits for a
 * broker that is away: calls fail, `publish` says so, subscriptions and watches go on when it is back.
 */
import { Cause, Context, type Effect, Exit, Schema, type Scope } from "effect"

/**
 * `away`: not connected. `nobody`: no one answers on that subject. `late`: no answer in time. `refused`: the broker, or
 * whoever answers, would not.
 */
export class BusError extends Schema.TaggedError<BusError>()("BusError", {
  /** What was tried: `append kv.m.w0`. */
  what: Schema.String,
  reason: Schema.Literals(["away", "nobody", "late", "refused"]),
  detail: Schema.String
}) {
  override get message() {
    return `The bus failed to ${this.what} (${this.reason}): ${this.detail}`
  }
}

export interface Status {
  readonly connected: boolean
  /** Why it is not, or what is wrong though it is: the log has no room, its stream is gone. Empty when all is well. */
  readonly why: string
  /** Server and version it is connected to, `nats-server 2.10.27`; null before the first time. */
  readonly server: string | null
}

export interface LogEntry {
  /** Its place in the log, from 1; grows, with holes where others' entries were dropped. */
  readonly position: number
  readonly subject: string
  readonly data: Uint8Array
}

/** What a follower of the log hears. */
export interface Follower {
  readonly entry: (entry: LogEntry) => void
  /** Entries that it should have seen are gone, or the log has begun anew: what follows is not what came after. */
  readonly lost: (why: string) => void
}

export interface Row {
  readonly key: string
  readonly value: Uint8Array
  readonly revision: number
}

/** What a watcher of a table hears. After an outage it begins anew. */
export interface Watcher {
  /** All rows there are, first of all and after each outage: what is not among them is gone. */
  readonly all: (rows: ReadonlyArray<Row>) => void
  readonly changed: (row: Row) => void
  readonly removed: (key: string) => void
}

/** Revisions grow over the table and tell every write apart, until a broker that lost its data begins anew. */
export interface Table {
  readonly all: Effect.Effect<ReadonlyArray<Row>, BusError>
  /** Writes whatever is there. The new revision. */
  readonly put: (key: string, value: Uint8Array) => Effect.Effect<number, BusError>
  /** Writes where the row is at this revision (0: where there is none). The new one; null when another was first. */
  readonly replace: (key: string, value: Uint8Array, revision: number) => Effect.Effect<number | null, BusError>
  /** Removes the row, if it is at this revision where one is given. False when it was not. */
  readonly remove: (key: string, revision?: number) => Effect.Effect<boolean, BusError>
  readonly watch: (watcher: Watcher) => Effect.Effect<void, never, Scope.Scope>
}

export type TableName = "members" | "leases" | "fleet"

export class Bus extends Context.Service<
  Bus,
  {
    readonly status: () => Status
    /** Calls back on every change of status. Returns how to stop that. */
    readonly onStatus: (listener: (status: Status) => void) => () => void
    /** Bytes of one message at most. */
    readonly bytesMax: () => number
    /** To whoever listens now; may be lost. False when it cannot be sent: away, too large, a subject of the log. */
    readonly publish: (subject: string, data: Uint8Array) => boolean
    /** `subject` may have `*` for a word, and end in `>` for any rest. Own messages are heard, too. */
    readonly subscribe: (
      subject: string,
      take: (subject: string, data: Uint8Array) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /**
     * Asks one of those who serve the subject. Answers come in order; done at their end. Late after `silenceMs` without any,
     * away as soon as the connection breaks, refused when who answers fails or stops serving.
     */
    readonly ask: (
      subject: string,
      data: Uint8Array,
      take: (answer: Uint8Array) => void,
      silenceMs: number
    ) => Effect.Effect<void, BusError>
    /** Answers what is asked on a subject: any number of messages by `send`, then its end. Each question in a fiber of its own. */
    readonly serve: (
      subject: string,
      answer: (
        data: Uint8Array,
        send: (answer: Uint8Array) => void
      ) => Effect.Effect<void, { readonly message: string }>
    ) => Effect.Effect<void, never, Scope.Scope>
    /**
     * Adds to the log, in the order of the calls, on a subject under `kv.`; one with an `id` seen in the last two minutes is
     * not added again. `done` hears its position, or what went wrong; after `late` or `away` it may be in the log even so.
     */
    readonly append: (
      subject: string,
      data: Uint8Array,
      id: string,
      done?: (result: { readonly position: number } | BusError) => void
    ) => void
    /** Last position of the log; 0 when nothing was ever added. */
    readonly position: Effect.Effect<number, BusError>
    /** Hears every entry after a position, those kept first; 0 for all that are kept. Resumes where it was after an outage. */
    readonly follow: (after: number, follower: Follower) => Effect.Effect<void, never, Scope.Scope>
    readonly table: (name: TableName) => Table
  }
>()("warmpath/ports/Bus") {}

/** Any text as one word of a subject, and back: what is plain stays readable. */
export const word = (text: string): string =>
  /^[A-Za-z0-9-]+$/.test(text) ? text : `_${Buffer.from(text).toString("base64url")}`

export const textOf = (word: string): string =>
  word.startsWith("_") ? Buffer.from(word.slice(1), "base64url").toString() : word

/** What who asked is told of how an answer ended: null for its end, else why it was refused. */
export const refusal = (exit: Exit.Exit<void, { readonly message: string }>): string | null => {
  if (Exit.isSuccess(exit)) return null
  if (Cause.hasInterruptsOnly(exit.cause)) return "it stopped serving"
  const error = Cause.squash(exit.cause)
  return error instanceof Object && "message" in error ? String(error.message) : String(error)
}
