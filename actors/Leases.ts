/**
 * Leases: which replica reads which publisher of events.
 *
 * Owns     the rows of the table `leases` that this replica has claimed; a row is changed only by compare-and-set.
 * Hears    the table, and `Members`: a lease is good for as long as its owner is alive, and needs no heartbeat.
 * Answers  `epochOf`, `ownerOf` and `list`, synchronously; `onChange` per publisher.
 * Loses    nothing: leases that vanish with the broker's data are claimed anew by who had them.
 *
 * Who should have one takes it over from a living owner: nobody gives one up for somebody who may not want it. Epochs
 * grow with each claim; that of a lease known no more is at least the time, in ms since 1970.
 */
import { Clock, Context, Effect, FiberSet, Layer, Option, Schedule, Schema, type Scope, Semaphore } from "effect"
import { Bus, textOf, word } from "../src/ports/Bus.ts"
import * as Moves from "./LeaseMoves.ts"
import { Members } from "./Members.ts"

export interface Options extends Moves.Options {
  /** Leases taken over from living owners per second: each costs its followers a replay. */
  readonly movesPerSecond: number
}

export interface Lease {
  readonly owner: string
  readonly epoch: number
  /** When it was seen to change hands, in ms of the monotonic clock; -Infinity when it was found like this. */
  readonly sinceMs: number
}

interface Entry {
  readonly name: string
  readonly key: string
  row: (Lease & { readonly revision: number }) | null
  vanishedOf: string | null
  wants: number
  prefers: number
  /** Highest epoch ever seen of it. */
  epochMax: number
  /** Of the last claim of this process. */
  claimed: number
  freeFromMs: number
  firstFromMs: number
  busy: boolean
  retryMs: number
}

const Row = Schema.fromJsonString(Schema.Struct({ owner: Schema.NonEmptyString, epoch: Schema.Int }))
const decode = Schema.decodeUnknownOption(Row)
const tickMs = 100
const writeMs = 2_000
const concurrentWrites = 32
const restart = Schedule.spaced("1 second")

export class Leases extends Context.Service<
  Leases,
  {
    /** This replica can and wants to read a publisher, until the scope closes; `prefers`: rather than any router. */
    readonly want: (name: string, how?: { readonly prefers: boolean }) => Effect.Effect<void, never, Scope.Scope>
    /** Whether this replica can read at all: one that cannot gives up its leases, and claims none. True from the start. */
    readonly setAble: (able: boolean) => void
    /** This replica is about to end: it gives up its leases now, for others to read on without a pause, and claims none. */
    readonly giveUp: () => void
    /** Of the lease, if it is this replica's and the others know it to be alive; else null. */
    readonly epochOf: (name: string) => number | null
    /** Who has it and is alive, else null. */
    readonly ownerOf: (name: string) => Lease | null
    /** Every lease there is, also those of the dead. */
    readonly list: () => ReadonlyArray<Lease & { readonly name: string; readonly alive: boolean }>
    /** The table has been read since the broker was last away. */
    readonly known: () => boolean
    /** Calls back when an answer of `epochOf` or `ownerOf` may have changed: of one publisher, or of all (null). */
    readonly onChange: (listener: (name: string | null) => void) => () => void
  }
>()("warmpath/actors/Leases") {
  static readonly layer = (given: Partial<Options> = {}): Layer.Layer<Leases, never, Bus | Members> =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const options: Options = { ...Moves.defaults, movesPerSecond: 40, ...given }
        const bus = yield* Bus
        const members = yield* Members
        const rows = bus.table("leases")
        const clock = yield* Clock.Clock
        const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        const self = members.self.id
        const entries = new Map<string, Entry>()
        const listeners = new Set<(name: string | null) => void>()
        const permits = yield* Semaphore.make(concurrentWrites)
        const orders = new Map<string, ReadonlyArray<string>>()
        let alive = new Set<string>()
        let known = false
        let leaving = false
        let moves = 0
        let able = true
        let ending = false

        const tell = (name: string | null): void => {
          for (const listener of listeners) listener(name)
        }

        const entryOf = (name: string): Entry => {
          const found = entries.get(name)
          if (found !== undefined) return found
          const made: Entry = {
            name,
            key: word(name),
            row: null,
            vanishedOf: null,
            wants: 0,
            prefers: 0,
            epochMax: 0,
            claimed: 0,
            freeFromMs: now(),
            firstFromMs: Infinity,
            busy: false,
            retryMs: -Infinity
          }
          entries.set(name, made)
          return made
        }

        const isMine = ({ claimed, row }: Entry): boolean => row?.owner === self && row.epoch === claimed
        const isHeld = ({ row }: Entry): boolean => row !== null && (row.owner === self || alive.has(row.owner))

        const put = (entry: Entry, row: Entry["row"]): void => {
          const before = entry.row
          if (row !== null && row.epoch === before?.epoch && row.owner === before.owner) {
            // Told again: since when it is so, is known.
            entry.row = { ...row, sinceMs: before.sinceMs }
            return
          }
          const held = isHeld(entry)
          entry.row = row
          entry.firstFromMs = Infinity
          if (row !== null) {
            entry.epochMax = Math.max(entry.epochMax, row.epoch)
            entry.vanishedOf = null
          }
          if (held && !isHeld(entry)) entry.freeFromMs = now()
          tell(entry.name)
        }

        const hear = (key: string, value: Uint8Array, revision: number, sinceMs: number): void => {
          const told = Option.getOrNull(decode(Buffer.from(value).toString()))
          if (told === null) return
          const entry = entryOf(textOf(key))
          const { row } = entry
          // Old news: a claim of its own is known before the table tells.
          if (row !== null && revision < row.revision && told.epoch < row.epoch) return
          put(entry, { ...told, revision, sinceMs })
        }

        const gone = (entry: Entry, vanished: boolean): void => {
          entry.vanishedOf = vanished ? (entry.row?.owner ?? entry.vanishedOf) : null
          put(entry, null)
        }

        const claim = (entry: Entry): Effect.Effect<void> => {
          const epoch = Math.max(entry.epochMax + 1, clock.currentTimeMillisUnsafe())
          const row = { owner: self, epoch }
          // If its answer is lost, the table tells.
          entry.claimed = epoch
          return rows.replace(entry.key, Buffer.from(JSON.stringify(row)), entry.row?.revision ?? 0).pipe(
            Effect.timeout(writeMs),
            Effect.match({
              onFailure: () => {},
              onSuccess: (revision) => {
                if (revision !== null) put(entry, { ...row, revision, sinceMs: now() })
              }
            })
          )
        }

        const release = (entry: Entry): Effect.Effect<void> =>
          Effect.suspend(() =>
            entry.row === null ? Effect.succeed(false) : rows.remove(entry.key, entry.row.revision)
          ).pipe(
            Effect.timeout(writeMs),
            Effect.match({ onFailure: () => {}, onSuccess: (removed) => removed && gone(entry, false) })
          )

        const orderOf = (name: string): ReadonlyArray<string> => {
          const ordered = orders.get(name) ?? Moves.order(name, members.list())
          orders.set(name, ordered)
          return ordered
        }

        const write = (entry: Entry, effect: Effect.Effect<void>): Effect.Effect<void> => {
          entry.busy = true
          return permits
            .withPermits(1)(effect)
            .pipe(
              Effect.ensuring(
                Effect.sync(() => {
                  entry.busy = false
                  entry.retryMs = now() + tickMs
                })
              )
            )
        }

        const move = (entry: Entry, nowMs: number): Effect.Effect<void> | null => {
          const { name, row, vanishedOf } = entry
          const held = isMine(entry)
            ? "mine"
            : row === null
              ? "free"
              : row.owner === self
                ? "namesake"
                : alive.has(row.owner)
                  ? "other"
                  : "dead"
          const rank = orderOf(name).indexOf(self)
          if (rank !== 0 || held !== "other" || !members.self.ready) entry.firstFromMs = Infinity
          else if (entry.firstFromMs === Infinity) entry.firstFromMs = nowMs
          const vanished =
            vanishedOf === null ? "none" : vanishedOf === self ? "self" : alive.has(vanishedOf) ? "other" : "none"
          const { firstFromMs, freeFromMs, wants } = entry
          const seen = {
            nowMs,
            wanted: able && !ending && wants > 0,
            held,
            freeFromMs,
            vanishedOf: vanished,
            rank,
            firstFromMs
          } as const
          const decided = Moves.decide(seen, options)
          if (decided === "none") {
            if (wants === 0 && row === null) entries.delete(name)
            return null
          }
          if (decided === "move") {
            if (moves < 1) return null
            moves--
          }
          return write(entry, decided === "release" ? release(entry) : claim(entry))
        }

        const fibers = yield* FiberSet.make<void>()
        const run = yield* FiberSet.runtime(fibers)()

        const look = (entry: Entry, nowMs: number): void => {
          if (leaving || entry.busy || !known || !members.known() || nowMs < entry.retryMs) return
          // Nobody would believe it.
          if (!members.selfAlive()) return
          const effect = move(entry, nowMs)
          if (effect !== null) run(effect)
        }

        const lookAll = (): void => {
          const nowMs = now()
          for (const entry of entries.values()) look(entry, nowMs)
        }

        const count = (): void => {
          const before = alive
          alive = new Set(members.list().map(({ id }) => id))
          orders.clear()
          for (const entry of entries.values()) {
            const owner = entry.row?.owner
            if (owner !== undefined && owner !== self && before.has(owner) && !alive.has(owner))
              entry.freeFromMs = now()
          }
          tell(null)
          lookAll()
        }
        count()

        yield* Effect.addFinalizer(() =>
          Effect.suspend(() => {
            leaving = true
            const own = [...entries.values()].filter(isMine)
            return Effect.forEach(own, release, { concurrency: concurrentWrites, discard: true })
          }).pipe(Effect.timeout(writeMs), Effect.ignore)
        )
        const stops = [
          members.onChange(count),
          bus.onStatus(({ connected }) => {
            if (!connected) known = false
          })
        ]
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            for (const stop of stops) stop()
          })
        )
        yield* rows.watch({
          all: (all) => {
            const keys = new Set(all.map(({ key }) => key))
            for (const entry of entries.values()) if (entry.row !== null && !keys.has(entry.key)) gone(entry, true)
            for (const { key, revision, value } of all) hear(key, value, revision, -Infinity)
            known = true
            tell(null)
            lookAll()
          },
          changed: ({ key, revision, value }) => hear(key, value, revision, now()),
          removed: (key) => {
            const entry = entries.get(textOf(key))
            if (entry === undefined) return
            gone(entry, false)
            look(entry, now())
          }
        })
        yield* Effect.sync(() => {
          moves = Math.min(moves + (options.movesPerSecond * tickMs) / 1_000, options.movesPerSecond)
          lookAll()
        }).pipe(
          Effect.andThen(Effect.sleep(tickMs)),
          Effect.forever,
          Effect.tapCause((cause) => Effect.logError("Leases are no longer looked after", cause)),
          Effect.sandbox,
          Effect.retry(restart),
          Effect.forkScoped
        )

        const tellPrefers = (): void =>
          members.setPrefers([...entries.values()].filter(({ prefers }) => prefers > 0).map(({ name }) => name))

        return Leases.of({
          want: (name, { prefers } = { prefers: false }) =>
            Effect.acquireRelease(
              Effect.sync(() => {
                const entry = entryOf(name)
                if (entry.wants++ === 0 && !isHeld(entry)) entry.freeFromMs = now()
                if (prefers && entry.prefers++ === 0) tellPrefers()
                look(entry, now())
              }),
              () =>
                Effect.sync(() => {
                  const entry = entryOf(name)
                  entry.wants--
                  if (prefers && --entry.prefers === 0) tellPrefers()
                  look(entry, now())
                })
            ),
          setAble: (next) => {
            able = next
            lookAll()
          },
          giveUp: () => {
            ending = true
            lookAll()
          },
          epochOf: (name) => {
            const entry = entries.get(name)
            return entry !== undefined && isMine(entry) && members.selfAlive() ? entry.row!.epoch : null
          },
          ownerOf: (name) => {
            const entry = entries.get(name)
            if (entry === undefined || entry.row === null) return null
            return (isMine(entry) ? members.selfAlive() : alive.has(entry.row.owner)) ? entry.row : null
          },
          list: () =>
            [...entries.values()].flatMap(({ name, row }) =>
              row === null
                ? []
                : [{ name, owner: row.owner, epoch: row.epoch, sinceMs: row.sinceMs, alive: alive.has(row.owner) }]
            ),
          known: () => known,
          onChange: (listener) => {
            listeners.add(listener)
            return () => void listeners.delete(listener)
          }
        })
      })
    )
}
