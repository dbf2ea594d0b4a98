/**
 * Relay: the events of engines, read by one replica and heard by all.
 *
 * An `EventStream` made of the direct one and the bus: a publisher's listener hears the engine's socket where this replica
 * has the lease, or must read for itself, and else what the owner writes to the log. Replays are asked of the owner.
 *
 * Owns     per publisher a `RelayFeed`, which decides what is heard, and the direct subscription while there is one; one
 *          place in the log, shared by all.
 * Hears    the log, `Members`, `Leases`, the bus's status; the direct stream, on the socket's turn.
 * Answers  `replay.<self>` for publishers that it owns; roles, positions and numbers, synchronously.
 * Loses    nothing that a replay does not bring back: what the log did not take, or lost, its followers look for.
 *
 * While the broker is away every replica reads for itself after `patienceMs`, and an owner goes on as before.
 */
import { Clock, Context, Effect, FiberHandle, Layer, Schedule, type Scope } from "effect"
import type { EventSource } from "../src/domain/Worker.ts"
import * as LogEntry from "../src/hot/LogEntry.ts"
import { Bus, textOf } from "../src/ports/Bus.ts"
import { EventStream, type Listener, ReplayFailed, type Subscription, type Who } from "../src/ports/EventStream.ts"
import { type Lease, Leases } from "./Leases.ts"
import { Members } from "./Members.ts"
import { RelayAppends } from "./RelayAppends.ts"
import { type Counters, RelayFeed } from "./RelayFeed.ts"
import * as Replays from "./RelayReplays.ts"
import { decide, patienceMs, type Role } from "./RelayRole.ts"

/** Counters only grow. */
export interface Stats extends Readonly<Counters> {
  /** Publishers by role. */
  readonly roles: { readonly [R in Role]: number }
  /** Entries that the log took. */
  readonly appended: number
  readonly appendFailures: number
  /** Entries on their way to the log. */
  readonly appending: number
  /** Entries that could not be read, or are of publishers not followed here. */
  readonly unread: number
  /** Times that entries of the log were missed. */
  readonly lost: number
  /** Replays given to other replicas, asked of them, and of those the ones that they could not be asked for. */
  readonly replaysServed: number
  readonly replaysAsked: number
  readonly replaysFailed: number
  /** How far this replica is behind the log. */
  readonly lagEntries: number
  readonly lagMs: number
  /** Empty while all is well. */
  readonly why: string
}

interface Entry {
  readonly who: Who
  readonly source: EventSource
  readonly feed: RelayFeed
  readonly steady: boolean
  direct: Subscription | null
  ownerlessFromMs: number
  /** Its owner did not answer: until then it is read directly. */
  soloUntilMs: number
  /** The log lacks something of it. */
  isShort: boolean
  lookMs: number
}

const tickMs = 100
const sampleMs = 1_000
/** What is read of the log later than this is of no use while it lasts; a leader is elected in about that. */
const slowMs = 2_000
/** Between two calls to look for what the log lacks. */
const lookMs = 1_000
const askAgainMs = 250
/** A replay that nobody can be asked for has failed after this. */
const askMsMax = 30_000
/** How long a publisher is read directly whose owner does not answer. */
const soloMs = 30_000
const restart = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])
const deaf: Listener = { message: () => {}, connected: () => {}, disconnected: () => {} }

export class Relay extends Context.Service<
  Relay,
  {
    /**
     * What to await before a publisher is heard for the first time: it answers the place in the log up to which the
     * picture knows it, 0 for none.
     */
    readonly setPrepare: (prepare: (who: Who) => Effect.Effect<number>) => void
    /** Place in the log of a publisher's last entry; 0 for none. */
    readonly positionOf: (name: string) => number
    /** Place in the log of the last entry heard, of whatever publisher: all up to there were handed on. */
    readonly followedTo: () => number
    readonly roleOf: (name: string) => Role
    /** The replica that reads the publisher's socket for this one, itself perhaps; null when it hears nothing. */
    readonly readerOf: (name: string) => string | null
    /** Reads a publisher for the others, in preference to any router, until the scope closes. */
    readonly serveSource: (source: EventSource, who: Who) => Effect.Effect<void, never, Scope.Scope>
    readonly stats: () => Stats
  }
>()("warmpath/actors/Relay") {
  /** `follows`: hears the log; who only reads for others has no use for what all engines of the fleet say. */
  static readonly layerWith = ({
    follows
  }: {
    readonly follows: boolean
  }): Layer.Layer<Relay | EventStream, never, Bus | EventStream | Leases | Members> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const bus = yield* Bus
        const stream = yield* EventStream
        const members = yield* Members
        const leases = yield* Leases
        const clock = yield* Clock.Clock
        const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        const fork = Effect.runForkWith(yield* Effect.context<never>())
        const entries = new Map<string, Entry>()
        const names = new Map<string, string>()
        const counters: Counters = { heard: 0, fenced: 0, skipped: 0, heldDropped: 0, heldBytes: 0 }
        const tally = { unread: 0, lost: 0 }
        const replays = { replaysServed: 0, replaysAsked: 0, replaysFailed: 0 }
        let prepare: (who: Who) => Effect.Effect<number> = () => Effect.succeed(0)
        let followed = 0
        let following = !follows
        let unwellFromMs = now()
        let saidUnwell = false
        /** A place of the log that was not reached when it was last asked for, and when that was. */
        let ahead: { position: number; atMs: number } | null = null
        /** Since when nothing is known of the log, and why. */
        const silent = { fromMs: Infinity, why: "" }
        const appends = new RelayAppends({ bus, leases, id: members.self.id, now })

        const lagMs = (): number => (ahead === null || followed >= ahead.position ? 0 : now() - ahead.atMs)

        const whyUnwell = (): string => {
          const { connected, why } = bus.status()
          if (!connected) return `the bus is away: ${why}`
          if (!members.known() || !leases.known()) {
            return `members and leases are not known yet${why === "" ? "" : `: ${why}`}`
          }
          if (!following) return "the log's position is not known yet"
          if (now() - silent.fromMs >= slowMs) return `the log cannot be read: ${silent.why}`
          return lagMs() >= slowMs ? `the log is ${Math.round(lagMs() / 1_000)} s behind` : ""
        }

        const look = (): void => {
          if (whyUnwell() === "") unwellFromMs = Infinity
          else unwellFromMs = Math.min(unwellFromMs, now())
        }

        const refresh = (entry: Entry): void => {
          const { feed, steady, who } = entry
          const nowMs = now()
          const mine = leases.epochOf(who.name) !== null
          const lease: Lease | null = mine ? null : leases.ownerOf(who.name)
          if (steady) {
            feed.update(mine ? "owner" : "none", lease, true, nowMs)
            return
          }
          const well = unwellFromMs === Infinity
          entry.ownerlessFromMs = mine || lease !== null || !well ? Infinity : Math.min(entry.ownerlessFromMs, nowMs)
          const troubleFromMs = nowMs < entry.soloUntilMs ? -Infinity : feed.deafFromMs
          const { ownerlessFromMs } = entry
          const seen = { nowMs, role: feed.role, mine, unwellFromMs, ownerlessFromMs, troubleFromMs }
          feed.update(decide(seen), lease, well, nowMs)
        }

        const refreshAll = (): void => {
          look()
          for (const entry of entries.values()) refresh(entry)
        }

        /** Reads the engine's socket until it is told to stop, or for good. */
        const read = (entry: Entry): Effect.Effect<void> => {
          const { feed, source, who } = entry
          return Effect.suspend(() => {
            let open = true
            const listener: Listener = {
              message: (seq, payload) => open && feed.directMessage(seq, payload),
              connected: () => open && feed.directConnected(),
              disconnected: () => open && feed.directDisconnected()
            }
            return Effect.addFinalizer(() =>
              Effect.sync(() => {
                open = false
              })
            ).pipe(
              Effect.andThen(stream.open(source, listener, who)),
              Effect.flatMap((subscription) => {
                entry.direct = subscription
                return Effect.never
              }),
              Effect.scoped
            )
          }).pipe(
            Effect.catchTag("EndpointInvalid", ({ message }) =>
              Effect.andThen(Effect.logError(`KV events of ${who.name}: ${message}`), Effect.never)
            ),
            Effect.tapDefect((defect) => {
              entry.direct = null
              feed.directLost()
              return Effect.logError(`Reading the KV events of ${who.name} died; they are read anew`, defect)
            }),
            Effect.sandbox,
            Effect.retry(restart),
            Effect.ignore
          )
        }

        const join = Effect.fnUntraced(function* (source: EventSource, listener: Listener, who: Who, steady: boolean) {
          const { name } = who
          const fiber = yield* FiberHandle.make<void, never>()
          const run = yield* FiberHandle.runtime(fiber)()
          const entry: Entry = {
            who,
            source,
            steady,
            feed: new RelayFeed(
              {
                ...listener,
                openDirect: () => void run(read(entry)),
                closeDirect: () => {
                  entry.direct = null
                  run(Effect.void)
                },
                append: appends.of(who, () => {
                  entry.isShort = true
                })
              },
              counters,
              steady
            ),
            direct: null,
            ownerlessFromMs: Infinity,
            soloUntilMs: -Infinity,
            isShort: false,
            lookMs: -Infinity
          }
          entries.set(name, entry)
          yield* Effect.addFinalizer(() =>
            Effect.sync(() => {
              entry.feed.end()
              if (entries.get(name) === entry) entries.delete(name)
            })
          )
          yield* leases.want(name, { prefers: steady })
          refresh(entry)
          return entry
        })

        const replay = (
          entry: Entry,
          from: number,
          take: (seq: number, payload: Uint8Array) => void,
          batchesMax?: number
        ): Effect.Effect<void, ReplayFailed> => {
          const { source, who } = entry
          const fromMs = now()
          const failed = (reason: string) => new ReplayFailed({ endpoint: source.endpoint, from, reason })
          /** What is wrong among replicas is no failure of the engine: it is asked again, of whoever reads it then. */
          const again = (reason: string): Effect.Effect<void, ReplayFailed> =>
            now() - fromMs >= askMsMax ? Effect.fail(failed(reason)) : Effect.andThen(Effect.sleep(askAgainMs), attempt)
          const attempt: Effect.Effect<void, ReplayFailed> = Effect.suspend(() => {
            if (entry.direct !== null) return entry.direct.replay(from, take, batchesMax)
            const owner = leases.ownerOf(who.name)?.owner
            if (owner === undefined || owner === members.self.id) return again("nobody reads it")
            replays.replaysAsked++
            return Effect.flatMap(Replays.ask(bus, owner, { name: who.name, from }, take), (outcome) => {
              if (outcome._tag === "lost") {
                replays.replaysFailed++
                if (now() - fromMs >= patienceMs) entry.soloUntilMs = now() + soloMs
                return again(outcome.reason)
              }
              return outcome._tag === "done" ? Effect.void : Effect.fail(failed(outcome.reason))
            })
          })
          return attempt
        }

        const nameOf = (subject: string): string => {
          const known = names.get(subject) ?? textOf(subject.slice(subject.lastIndexOf(".") + 1))
          // Subjects of publishers that left are forgotten with the rest.
          if (names.size > 4 * entries.size + 1_024) names.clear()
          names.set(subject, known)
          return known
        }

        const follow = bus.position.pipe(
          Effect.retry(Schedule.spaced("500 millis")),
          Effect.flatMap((position) => {
            followed = position
            following = true
            refreshAll()
            return bus.follow(position, {
              entry: ({ data, position: at, subject }) => {
                followed = at
                const entry = entries.get(nameOf(subject))
                const told = entry === undefined ? null : LogEntry.decode(data)
                if (entry === undefined || told === null) tally.unread++
                else entry.feed.logged(at, told, now())
              },
              lost: (why) => {
                tally.lost++
                fork(Effect.logWarning(`The log of KV events has a hole: ${why}. What it may have held is read again`))
                for (const { feed } of entries.values()) feed.logLost(now())
                fork(sample(true))
              }
            })
          })
        )

        /** `settled`: what was not heard of the log until now will not come. */
        const sample = (settled: boolean): Effect.Effect<void> =>
          bus.position.pipe(
            Effect.match({
              onFailure: ({ message }) => {
                silent.fromMs = Math.min(silent.fromMs, now())
                silent.why = message
              },
              onSuccess: (position) => {
                silent.fromMs = Infinity
                const begunAnew = position < Math.max(followed, ahead?.position ?? 0)
                if (settled || position < followed || !follows) followed = position
                if (ahead === null || begunAnew || followed >= ahead.position) ahead = { position, atMs: now() }
              }
            })
          )

        yield* Replays.serve(
          members.self.id,
          (name) => (leases.epochOf(name) === null ? null : (entries.get(name)?.direct ?? null)),
          () => void replays.replaysServed++
        )
        if (follows) {
          yield* follow.pipe(
            Effect.tapCause((cause) => Effect.logError("The log of KV events is not heard", cause)),
            Effect.sandbox,
            Effect.retry(restart),
            Effect.forkScoped
          )
        }
        const stops = [
          members.onChange(refreshAll),
          bus.onStatus(({ connected }) => {
            if (connected) fork(sample(false))
            refreshAll()
          }),
          leases.onChange((name) => {
            if (name === null) refreshAll()
            else if (entries.has(name)) refresh(entries.get(name)!)
          })
        ]
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            for (const stop of stops) stop()
          })
        )

        const rolesNow = (): Stats["roles"] => {
          const roles = { owner: 0, follower: 0, solo: 0, none: 0 }
          for (const { feed } of entries.values()) roles[feed.role]++
          return roles
        }

        /** Entries that the log had taken when it was said that it takes none; null when that was not said. */
        let saidAt: number | null = null
        /** Whose entries the log does not take leaves the reading to others. Said once, however often it is tried again. */
        const judgeAppends = (nowMs: number): void => {
          if (saidAt !== null && appends.appended > saidAt) {
            saidAt = null
            fork(Effect.logInfo("The log takes what this replica reads again"))
          }
          const judged = appends.judge(nowMs)
          if (judged === "nothing") return
          leases.setAble(judged === "have again")
          if (judged === "have again" || saidAt !== null) return
          saidAt = appends.appended
          fork(
            Effect.logWarning(
              `The log takes nothing of this replica, which gives up its leases and tries again every half minute: ${appends.why}`
            )
          )
        }

        const tick = (): void => {
          refreshAll()
          const nowMs = now()
          judgeAppends(nowMs)
          for (const entry of entries.values()) {
            if (!entry.isShort || unwellFromMs < Infinity || nowMs - entry.lookMs < lookMs) continue
            entry.isShort = false
            entry.lookMs = nowMs
            entry.feed.lookAgain()
          }
          const unwell = nowMs - unwellFromMs >= patienceMs
          if (unwell === saidUnwell) return
          saidUnwell = unwell
          const text = unwell
            ? `This replica reads every publisher for itself: ${whyUnwell()}`
            : "This replica shares the reading of publishers with the others again"
          fork(unwell ? Effect.logWarning(text) : Effect.logInfo(text))
        }
        yield* Effect.sync(tick).pipe(
          Effect.andThen(Effect.sleep(tickMs)),
          Effect.forever,
          Effect.tapCause((cause) => Effect.logError("Roles of publishers do not change any more", cause)),
          Effect.sandbox,
          Effect.retry(restart),
          Effect.forkScoped
        )
        yield* sample(false).pipe(
          Effect.andThen(Effect.sleep(sampleMs)),
          Effect.forever,
          Effect.tapCause((cause) => Effect.logError("How far the log is behind is not known any more", cause)),
          Effect.sandbox,
          Effect.retry(restart),
          Effect.forkScoped
        )

        const relay = Relay.of({
          setPrepare: (next) => {
            prepare = next
          },
          positionOf: (name) => entries.get(name)?.feed.position ?? 0,
          followedTo: () => followed,
          roleOf: (name) => entries.get(name)?.feed.role ?? "none",
          readerOf: (name) => {
            const source = entries.get(name)?.feed.source ?? "none"
            if (source === "direct") return members.self.id
            return source === "log" ? (leases.ownerOf(name)?.owner ?? null) : null
          },
          serveSource: (source, who) => Effect.asVoid(join(source, deaf, who, true)),
          stats: () => ({
            ...counters,
            ...tally,
            ...replays,
            roles: rolesNow(),
            appended: appends.appended,
            appendFailures: appends.failures,
            appending: appends.underWay,
            lagEntries: ahead === null ? 0 : Math.max(0, ahead.position - followed),
            lagMs: lagMs(),
            why: whyUnwell()
          })
        })
        const open: EventStream["Service"]["open"] = Effect.fnUntraced(function* (source, listener, who) {
          const entry = yield* join(source, listener, who, false)
          yield* prepare(who).pipe(
            Effect.catchDefect((defect) =>
              Effect.as(Effect.logError(`The picture of ${who.name} could not be prepared`, defect), 0)
            ),
            Effect.flatMap((position) => Effect.sync(() => entry.feed.prepared(position))),
            Effect.forkScoped({ startImmediately: true })
          )
          return { replay: (from, take, batchesMax) => replay(entry, from, take, batchesMax) }
        })
        return Context.make(Relay, relay).pipe(Context.add(EventStream, EventStream.of({ open })))
      })
    )

  static readonly layer = Relay.layerWith({ follows: true })
}
