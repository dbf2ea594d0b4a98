/** Tables: key-value buckets. Writes by the client library; watched by our own reader, which begins anew by itself. */
import { type KV, Kvm } from "@nats-io/kv"
import { Effect } from "effect"
import type { BusError, Row, Table, TableName, Watcher } from "../../ports/Bus.ts"
import * as Failure from "./Failure.ts"
import type { Guard } from "./Health.ts"
import * as Reader from "./Reader.ts"
import type { Paces, Session, Sessions } from "./Session.ts"
import { type Subjects, tableNames } from "./Subjects.ts"

/** For all rows to come. */
const allMs = 5_000
/** Tries of a removal that is to win over whoever writes. */
const removeTries = 10

/**
 * Rows as a watcher should hear of them, from the messages of the bucket's stream.
 *
 * All rows have been told when as many were heard as there were at the beginning, up to the last of then, or when nothing
 * comes any more. The number of messages still to come does not do: where rows are written as reading begins nats-server
 * 2.9 counts some twice, and never comes to 0 while they go on being written, or to 0 while some are still to come.
 */
export const hearing = (keyOf: (subject: string) => string, watcher: Watcher): Reader.Hears => {
  /** Rows gathered for `all`, null where removed; null once it was told. */
  let gathered: Map<string, Row | null> | null = null
  let began = { seq: 0, keys: 0 }
  let at = 0
  const gatheredAll = (): void => {
    if (gathered === null) return
    const rows = [...gathered.values()].filter((row) => row !== null)
    gathered = null
    watcher.all(rows)
  }
  return {
    from: ({ state }) => {
      gathered = new Map()
      began = { seq: state.last_seq, keys: state.messages }
      // Rows up to here are among the last of each key, whatever became of them.
      at = state.last_seq
      return "last"
    },
    message: ({ data, operation, pending, seq, subject }) => {
      at = Math.max(at, seq)
      const key = keyOf(subject)
      const row = operation === "" ? { key, value: new Uint8Array(data), revision: seq } : null
      if (gathered === null) {
        if (row === null) watcher.removed(key)
        else watcher.changed(row)
        return true
      }
      gathered.set(key, row)
      if (gathered.size >= began.keys && (pending === 0 || seq >= began.seq)) gatheredAll()
      return true
    },
    idle: gatheredAll,
    at: () => at
  }
}

const makeTable = (sessions: Sessions, subjects: Subjects, name: TableName, readerMs: number, guard: Guard): Table => {
  const bucket = subjects.bucket(name)
  const stream = `KV_${bucket}`
  const keyOf = (subject: string): string => subject.slice(`$KV.${bucket}.`.length)

  const run = <A>(what: string, work: (kv: KV, session: Session) => Promise<A>): Effect.Effect<A, BusError> =>
    Effect.suspend(() => {
      const session = sessions.current()
      if (session === null) return Effect.fail(Failure.away(what))
      return Effect.tryPromise({
        try: async () => work(await new Kvm(session.js).open(bucket), session),
        catch: (error) => {
          if (!session.isOpen()) return Failure.away(what)
          if (Failure.isMissing(error)) session.look()
          return Failure.busError(what, error)
        }
      })
    })
  /** What lost to another write is null. */
  const unlessRaced = <A>(written: Promise<A>): Promise<A | null> =>
    written.catch((error) => {
      if (Failure.isRaced(error)) return null
      throw error
    })
  const removeAt = async (kv: KV, key: string, revision: number): Promise<boolean> =>
    (await unlessRaced(kv.delete(key, { previousSeq: revision }).then(() => true))) !== null

  const watch = (watcher: Watcher): (() => void) =>
    Reader.keep(
      sessions,
      stream,
      hearing(keyOf, {
        all: (rows) => guard(() => watcher.all(rows)),
        changed: (row) => guard(() => watcher.changed(row)),
        removed: (key) => guard(() => watcher.removed(key))
      }),
      readerMs
    )
  return {
    all: Effect.callback<ReadonlyArray<Row>, BusError>((resume) => {
      const what = `read ${name}`
      if (sessions.current() === null) return void resume(Effect.fail(Failure.away(what)))
      const stops: Array<() => void> = []
      const stop = (): void => {
        clearTimeout(late)
        for (const one of stops.splice(0)) one()
      }
      let isOver = false
      const over = (result: Effect.Effect<ReadonlyArray<Row>, BusError>): void => {
        if (isOver) return
        isOver = true
        stop()
        resume(result)
      }
      const late = setTimeout(() => over(Effect.fail(Failure.late(what, "the rows did not all come"))), allMs)
      stops.push(
        watch({ all: (rows) => over(Effect.succeed(rows)), changed: () => {}, removed: () => {} }),
        sessions.each(() => () => over(Effect.fail(Failure.away(what))))
      )
      return Effect.sync(stop)
    }),
    put: (key, value) => run(`write ${name}.${key}`, (kv) => kv.put(key, value)),
    replace: (key, value, revision) =>
      run(`write ${name}.${key}`, (kv) =>
        unlessRaced(revision === 0 ? kv.create(key, value) : kv.update(key, value, revision))
      ),
    remove: (key, revision) =>
      run(`remove ${name}.${key}`, async (kv) => {
        if (revision !== undefined) return removeAt(kv, key, revision)
        for (let tries = 0; tries < removeTries; tries++) {
          const row = await kv.get(key)
          if (row === null || row.operation !== "PUT") return false
          if (await removeAt(kv, key, row.revision)) return true
        }
        throw new Error(`others wrote it ${removeTries} times meanwhile`)
      }),
    watch: (watcher) =>
      Effect.acquireRelease(
        Effect.sync(() => watch(watcher)),
        (stop) => Effect.sync(stop)
      ).pipe(Effect.asVoid)
  }
}

export const make = Effect.fnUntraced(function* (
  sessions: Sessions,
  subjects: Subjects,
  { marksMs, readerMs }: Paces,
  guard: Guard
) {
  const tables = new Map(
    tableNames.map((name) => [name, makeTable(sessions, subjects, name, readerMs, guard)] as const)
  )

  const purge = async (session: Session): Promise<void> => {
    for (const name of tableNames) {
      const kv = await new Kvm(session.js).open(subjects.bucket(name))
      const stream = `KV_${subjects.bucket(name)}`
      if ((await session.jsm.streams.info(stream)).state.messages === 0) continue
      for await (const { created, key, operation, revision } of await kv.history()) {
        if (operation === "PUT" || Date.now() - created.getTime() < marksMs) continue
        // Up to the mark only: the row may be there again.
        await session.jsm.streams.purge(stream, { filter: `$KV.${subjects.bucket(name)}.${key}`, seq: revision + 1 })
      }
    }
  }
  yield* Effect.suspend(() => {
    const session = sessions.current()
    return session === null ? Effect.void : Effect.tryPromise(() => purge(session)).pipe(Effect.ignore)
  }).pipe(Effect.delay(marksMs), Effect.forever, Effect.forkScoped)

  return (name: TableName): Table => tables.get(name)!
})
