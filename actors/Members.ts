/**
 * Members: which replicas there are now.
 *
 * Owns     its row of the table `members`, written every `heartbeatMs`, and what it knows of the others' rows.
 * Hears    the table. A replica whose row was not written for `deadMs` is dead; one that takes its leave removes its row.
 * Answers  `list`, `self`, `selfAlive` and `known`, synchronously; `onChange` when `list` has changed.
 * Loses    nothing: after an outage, or when the broker lost its data, everybody is heard again within a heartbeat.
 */
import { Clock, Context, Effect, Layer, Queue, Schedule } from "effect"
import { Bus, word } from "../src/ports/Bus.ts"
import { encode, type Member, MemberTable } from "./MemberTable.ts"

export type { Member } from "./MemberTable.ts"

export interface Options {
  /** Unique among the replicas there are. The same in its next life if its operator gave it one, else new in each. */
  readonly id: string
  readonly kind: Member["kind"]
  /** Of its admin API, as the others reach it. */
  readonly url: string | null
  readonly version: string
  readonly heartbeatMs: number
  /** No new heartbeat for so long: dead. Longer than three heartbeats, of which two may be lost or late. */
  readonly deadMs: number
  /** A dead replica's row is removed after this. */
  readonly buryMs: number
}

// Who is taken for dead and lives loses its leases for a while, which costs replays; who is dead has left engines unread.
const defaults = { heartbeatMs: 400, deadMs: 1_600, buryMs: 10_000 }
const tickMs = 100
const leaveMs = 1_000
const restart = Schedule.spaced("1 second")

export class Members extends Context.Service<
  Members,
  {
    /** This replica, as it tells the others. */
    readonly self: Member
    /** Its heartbeat has got through of late: the others take it for alive. */
    readonly selfAlive: () => boolean
    /** Those alive, by id; this one among them while its heartbeat gets through. As last known while the broker is away. */
    readonly list: () => ReadonlyArray<Member>
    /** The table has been read since the broker was last away. */
    readonly known: () => boolean
    readonly setReady: (ready: boolean) => void
    /** Publishers that this replica should read rather than a router. */
    readonly setPrefers: (names: ReadonlyArray<string>) => void
    /** Calls back when somebody came, went or changed. Returns how to stop that. */
    readonly onChange: (listener: () => void) => () => void
  }
>()("warmpath/actors/Members") {
  static readonly layer = (
    given: Partial<Options> & Pick<Options, "id" | "kind" | "url" | "version">
  ): Layer.Layer<Members, never, Bus> =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const options: Options = { ...defaults, ...given }
        const { buryMs, deadMs, heartbeatMs, id, kind, url, version } = options
        const bus = yield* Bus
        const rows = bus.table("members")
        const clock = yield* Clock.Clock
        const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        const fork = Effect.runForkWith(yield* Effect.context<never>())
        const table = new MemberTable({ deadMs, buryMs }, now())
        const listeners = new Set<() => void>()
        const wake = yield* Queue.sliding<true>(1)
        const own = word(id)
        const startedAtMs = clock.currentTimeMillisUnsafe()
        let self: Member = { id, kind, ready: false, url, version, startedAtMs, prefers: [] }
        let list: ReadonlyArray<Member> = []
        let known = false
        let beatMs = -Infinity
        let namesakes = 0

        const selfAlive = () => now() - beatMs < deadMs

        /** Who came and went. Itself goes only out of the others' sight, of which the bus has more to say. */
        const say = (before: ReadonlyArray<Member>, after: ReadonlyArray<Member>): void => {
          const lacks = (members: ReadonlyArray<Member>, one: Member) =>
            one.id !== id && !members.some((member) => member.id === one.id)
          for (const one of after) if (lacks(before, one)) fork(Effect.logInfo(`Replica "${one.id}" is there`))
          for (const one of before) {
            if (!lacks(after, one)) continue
            const left = !table.has(word(one.id))
            fork(
              left
                ? Effect.logInfo(`Replica "${one.id}" has left`)
                : Effect.logWarning(
                    `Replica "${one.id}" is taken for dead: nothing was heard of it for ${deadMs / 1_000} s`
                  )
            )
          }
        }

        const look = (): void => {
          const others = table.living().filter((member) => member.id !== id)
          const next = (selfAlive() ? [...others, self] : others).sort((a, b) => (a.id < b.id ? -1 : 1))
          if (next.length === list.length && next.every((member, i) => member === list[i])) return
          const before = list
          list = next
          say(before, next)
          for (const listener of listeners) listener()
        }

        let connected = bus.status().connected
        let echoMs = now()

        /** Its own heartbeats come back, so those of others would, too. */
        const tick = (): void => table.tick(now(), connected && now() - echoMs <= 2 * heartbeatMs + tickMs)

        const hear = (key: string, value: Uint8Array, revision: number): void => {
          if (key !== own) {
            // Else it would count as heard at the last tick, and be dead to others before it is to itself.
            tick()
            table.heard(key, value, revision)
            return
          }
          echoMs = now()
          // Its own, or that of a process which believes to be this one.
          const others = !Buffer.from(value).includes(`"startedAtMs":${startedAtMs},`)
          if (others && beatMs > -Infinity && namesakes++ === 0)
            fork(Effect.logError(`Another replica calls itself "${id}": each needs an id of its own`))
        }

        const beat = Effect.suspend(() => {
          const atMs = now()
          return rows.put(own, encode(self)).pipe(
            Effect.timeout(2 * heartbeatMs),
            Effect.match({
              onFailure: () => {},
              onSuccess: () => {
                // Others count from when they hear it, which is later.
                beatMs = atMs
              }
            })
          )
        })

        const change = (next: Member): void => {
          self = next
          Queue.offerUnsafe(wake, true)
          look()
        }

        yield* Effect.addFinalizer(() => rows.remove(own).pipe(Effect.timeout(leaveMs), Effect.ignore))
        const stop = bus.onStatus((status) => {
          if (status.connected === connected) return
          connected = status.connected
          // The table may be told before it is said that the broker is back.
          if (connected) table.connected()
          else known = false
          Queue.offerUnsafe(wake, true)
        })
        yield* Effect.addFinalizer(() => Effect.sync(stop))
        yield* rows.watch({
          all: (all) => {
            // Rows that are gone without a word are not heard any more: a broker that lost its data has killed nobody.
            for (const { key, revision, value } of all) hear(key, value, revision)
            known = true
            look()
          },
          changed: ({ key, revision, value }) => {
            hear(key, value, revision)
            look()
          },
          removed: (key) => {
            table.removed(key)
            look()
          }
        })
        yield* beat.pipe(
          Effect.andThen(Effect.sync(look)),
          Effect.andThen(Effect.raceFirst(Effect.sleep(heartbeatMs), Queue.take(wake))),
          Effect.forever,
          Effect.tapCause((cause) => Effect.logError("This replica tells nobody that it is alive", cause)),
          Effect.sandbox,
          Effect.retry(restart),
          Effect.forkScoped
        )
        yield* Effect.suspend(() => {
          tick()
          look()
          return Effect.forEach(connected ? table.buried() : [], ({ key, revision }) => {
            table.removed(key)
            return rows.remove(key, revision).pipe(Effect.timeout(leaveMs), Effect.ignore)
          })
        }).pipe(
          Effect.andThen(Effect.sleep(tickMs)),
          Effect.forever,
          Effect.tapCause((cause) => Effect.logError("Dead replicas are no longer noticed", cause)),
          Effect.sandbox,
          Effect.retry(restart),
          Effect.forkScoped
        )

        return Members.of({
          get self() {
            return self
          },
          selfAlive,
          list: () => list,
          known: () => known,
          setReady: (ready) => {
            if (ready !== self.ready) change({ ...self, ready })
          },
          setPrefers: (prefers) => change({ ...self, prefers }),
          onChange: (listener) => {
            listeners.add(listener)
            return () => void listeners.delete(listener)
          }
        })
      })
    )
}
