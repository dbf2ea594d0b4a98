/**
 * BusMemory: the Bus inside one process, one client for each replica, with the faults a broker has.
 *
 * Messages arrive on a later turn, in order, each with its own copy of the bytes.
 */
import { Effect, FiberSet, Layer, Queue, type Scope } from "effect"
import {
  Bus,
  BusError,
  type Follower,
  type LogEntry,
  type Row,
  refusal,
  type Status,
  type Table,
  type TableName,
  type Watcher
} from "./Bus.ts"

export interface Hub {
  /** A bus for one more replica. */
  readonly client: () => Client
  /** The broker loses its log and its tables. Revisions and positions begin anew. */
  readonly wipe: () => void
  /** The log keeps only its last entries. */
  readonly truncate: (entries: number) => void
}

export interface Client {
  readonly bus: Bus["Service"]
  readonly layer: Layer.Layer<Bus>
  /** Cut off from the broker, or not any more. */
  readonly cut: (away: boolean) => void
  /** Of the messages to this client on plain subjects, these are lost. */
  loses: (subject: string) => boolean
}

export interface Options {
  /** Turns are taken by this; `setImmediate` when left out. */
  readonly later?: (turn: () => void) => void
  readonly bytesMax?: number
  readonly logMax?: number
}

/** Begins to answer; each answer comes by `send`, the end by `end`, with why it was refused. */
type Service = (data: Uint8Array, send: (answer: Uint8Array) => void, end: (refused: string | null) => void) => void

/** What who asks hears: an answer, the end, or what went wrong. */
type Heard = Uint8Array | null | BusError

interface Following {
  at: number
  /** Null before it heard of the log at all. */
  life: number | null
  readonly follower: Follower
}

interface Peer {
  isAway: boolean
  readonly subscriptions: Set<{ readonly pattern: RegExp; readonly take: (subject: string, data: Uint8Array) => void }>
  readonly services: Set<{ readonly subject: string; readonly serve: Service }>
  /** Questions without an end yet. */
  readonly questions: Set<(heard: Heard) => void>
  readonly followings: Set<Following>
  readonly watches: Set<{ readonly table: TableName; readonly watcher: Watcher }>
  readonly loses: (subject: string) => boolean
}

const patternOf = (subject: string): RegExp =>
  new RegExp(
    `^${subject
      .split(".")
      .map((part) => (part === ">" ? ".+" : part === "*" ? "[^.]+" : part))
      .join("\\.")}$`
  )

export const make = (options: Options = {}): Hub => {
  const { bytesMax = 1 << 20, later = setImmediate, logMax = 1 << 20 } = options
  const peers = new Set<Peer>()
  const tables = new Map<TableName, Map<string, Row>>()
  let log: Array<LogEntry> = []
  let ids = new Map<string, number>()
  let position = 0
  let revision = 0
  let life = 0
  let asked = 0

  const rowsOf = (name: TableName): Map<string, Row> => {
    const known = tables.get(name) ?? new Map<string, Row>()
    tables.set(name, known)
    return known
  }

  const tell = (name: TableName, call: (watcher: Watcher) => void): void => {
    for (const peer of peers) {
      for (const watch of peer.watches) {
        if (watch.table === name && !peer.isAway)
          later(() => peer.watches.has(watch) && !peer.isAway && call(watch.watcher))
      }
    }
  }

  /** What a follower has not heard yet. */
  const feed = (peer: Peer, following: Following): void => {
    if (peer.isAway || !peer.followings.has(following)) return
    const first = log[0]?.position ?? position + 1
    if ((following.life !== null && following.life !== life) || following.at > position) {
      following.at = first - 1
      following.follower.lost("the log began anew")
    }
    // Who asks for all that is kept misses nothing of what was dropped before.
    if (following.life === null && following.at === 0) following.at = first - 1
    following.life = life
    if (first > following.at + 1) following.follower.lost(`entries before ${first} are gone`)
    for (const entry of log) {
      if (entry.position <= following.at) continue
      following.at = entry.position
      following.follower.entry({ ...entry, data: new Uint8Array(entry.data) })
    }
    following.at = Math.max(following.at, position)
  }

  const feedAll = (): void => {
    for (const peer of peers) for (const following of peer.followings) later(() => feed(peer, following))
  }

  const client = (): Client => {
    const listeners = new Set<(status: Status) => void>()
    const peer: Peer = {
      isAway: false,
      subscriptions: new Set(),
      services: new Set(),
      questions: new Set(),
      followings: new Set(),
      watches: new Set(),
      loses: (subject) => made.loses(subject)
    }
    peers.add(peer)
    const scoped = <A>(set: Set<A>, item: A, begin: () => void = () => {}): Effect.Effect<void, never, Scope.Scope> =>
      Effect.acquireRelease(
        Effect.sync(() => {
          set.add(item)
          begin()
        }),
        () => Effect.sync(() => void set.delete(item))
      )
    const failed = (what: string, reason: BusError["reason"], detail: string) => new BusError({ what, reason, detail })
    const here = <A>(what: string, run: () => A): Effect.Effect<A, BusError> =>
      Effect.suspend(() => (peer.isAway ? Effect.fail(failed(what, "away", "not connected")) : Effect.sync(run)))
    const status = (): Status => ({ connected: !peer.isAway, why: peer.isAway ? "cut off" : "", server: "memory" })

    const table = (name: TableName): Table => {
      const write = (key: string, value: Uint8Array): number => {
        const row = { key, value: new Uint8Array(value), revision: ++revision }
        rowsOf(name).set(key, row)
        tell(name, ({ changed }) => changed(row))
        return row.revision
      }
      const all = () => [...rowsOf(name).values()]
      return {
        all: here(`read ${name}`, all),
        put: (key, value) => here(`write ${name}.${key}`, () => write(key, value)),
        replace: (key, value, at) =>
          here(`write ${name}.${key}`, () =>
            (rowsOf(name).get(key)?.revision ?? 0) === at ? write(key, value) : null
          ),
        remove: (key, at) =>
          here(`remove ${name}.${key}`, () => {
            const row = rowsOf(name).get(key)
            if (row === undefined || (at !== undefined && row.revision !== at)) return false
            rowsOf(name).delete(key)
            tell(name, ({ removed }) => removed(key))
            return true
          }),
        watch: (watcher) => {
          const watch = { table: name, watcher }
          return scoped(peer.watches, watch, () =>
            later(() => peer.watches.has(watch) && !peer.isAway && watcher.all(all()))
          )
        }
      }
    }

    const bus = Bus.of({
      status,
      onStatus: (listener) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
      bytesMax: () => bytesMax,
      publish: (subject, data) => {
        if (peer.isAway || data.length > bytesMax || subject.startsWith("kv.")) return false
        for (const other of peers) {
          for (const subscription of other.subscriptions) {
            if (!subscription.pattern.test(subject) || other.isAway || other.loses(subject)) continue
            const copy = new Uint8Array(data)
            later(() => other.subscriptions.has(subscription) && !other.isAway && subscription.take(subject, copy))
          }
        }
        return true
      },
      subscribe: (subject, take) => scoped(peer.subscriptions, { pattern: patternOf(subject), take }),
      ask: (subject, data, take, silenceMs) =>
        Effect.gen(function* () {
          const what = `ask ${subject}`
          if (peer.isAway) return yield* failed(what, "away", "not connected")
          if (data.length > bytesMax) return yield* failed(what, "refused", `more than ${bytesMax} bytes`)
          const able = [...peers]
            .filter(({ isAway }) => !isAway)
            .flatMap((other) =>
              [...other.services]
                .filter((service) => service.subject === subject)
                .map((service) => ({ other, service }))
            )
          const chosen = able[asked++ % Math.max(1, able.length)]
          const heard = yield* Queue.unbounded<Heard>()
          const hear = (one: Heard): void => void Queue.offerUnsafe(heard, one)
          /** From who answers to who asks, if it gets there. */
          const back = (one: Heard): void => {
            if (chosen?.other.isAway !== true) later(() => !peer.isAway && hear(one))
          }
          const question = new Uint8Array(data)
          peer.questions.add(hear)
          if (chosen === undefined) back(failed(what, "nobody", "nobody serves it"))
          else
            later(() => {
              if (chosen.other.isAway || !chosen.other.services.has(chosen.service)) return
              chosen.service.serve(question, back, (refused) =>
                back(refused === null ? null : failed(what, "refused", refused))
              )
            })
          const next = Queue.take(heard).pipe(
            Effect.timeoutOrElse({
              duration: silenceMs,
              orElse: () => Effect.fail(failed(what, "late", `no answer in ${silenceMs} ms`))
            })
          )
          yield* Effect.gen(function* () {
            for (;;) {
              const one = yield* next
              if (one === null) return
              if (one instanceof BusError) return yield* one
              take(one)
            }
          }).pipe(Effect.ensuring(Effect.sync(() => void peer.questions.delete(hear))))
        }),
      serve: (subject, answer) =>
        Effect.gen(function* () {
          const run = yield* FiberSet.makeRuntime<never>()
          const serve: Service = (data, send, end) => {
            let tooLarge = 0
            const sent = (one: Uint8Array): void => {
              if (one.length > bytesMax) tooLarge = one.length
              if (tooLarge === 0) send(new Uint8Array(one))
            }
            run(
              Effect.suspend(() => answer(data, sent)).pipe(
                Effect.onExit((exit) =>
                  Effect.sync(() =>
                    end(tooLarge > 0 ? `an answer of ${tooLarge} bytes is more than ${bytesMax}` : refusal(exit))
                  )
                ),
                Effect.exit
              )
            )
          }
          yield* scoped(peer.services, { subject, serve })
        }),
      append: (subject, data, id, done = () => {}) => {
        const what = `append ${subject}`
        if (peer.isAway) return void later(() => done(failed(what, "away", "not connected")))
        if (!subject.startsWith("kv.")) return void later(() => done(failed(what, "refused", 'not under "kv."')))
        if (data.length > bytesMax)
          return void later(() => done(failed(what, "refused", `more than ${bytesMax} bytes`)))
        const known = ids.get(id)
        if (known !== undefined) return void later(() => done({ position: known }))
        const at = ++position
        ids.set(id, at)
        log.push({ position: at, subject, data: new Uint8Array(data) })
        if (log.length > logMax) log.shift()
        feedAll()
        later(() => done({ position: at }))
      },
      position: here("read the log's position", () => position),
      follow: (after, follower) => {
        const following = { at: after, life: null, follower }
        return scoped(peer.followings, following, () => later(() => feed(peer, following)))
      },
      table
    })
    const made: Client = {
      bus,
      layer: Layer.succeed(Bus, bus),
      loses: () => false,
      cut: (away) => {
        if (peer.isAway === away) return
        peer.isAway = away
        for (const listener of listeners) listener(status())
        if (away) {
          for (const hear of [...peer.questions]) hear(failed("wait for an answer", "away", "the connection broke"))
          return
        }
        for (const following of peer.followings) later(() => feed(peer, following))
        for (const { table: name, watcher } of peer.watches)
          later(() => !peer.isAway && watcher.all([...rowsOf(name).values()]))
      }
    }
    return made
  }

  return {
    client,
    wipe: () => {
      tables.clear()
      log = []
      ids = new Map()
      position = 0
      revision = 0
      life++
      for (const peer of peers)
        for (const { table: name, watcher } of peer.watches)
          later(() => !peer.isAway && watcher.all([...rowsOf(name).values()]))
      feedAll()
    },
    truncate: (entries) => {
      log = log.slice(Math.max(0, log.length - entries))
      feedAll()
    }
  }
}
