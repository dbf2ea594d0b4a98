/**
 * Bootstrap: what this replica does not know of a publisher, taken from a replica that does.
 *
 * Owns     the publishers that wait for their picture.
 * Hears    from `Relay`, before a publisher is heard for the first time, and each time it is followed anew.
 * Answers  up to which place of the log its picture knows it: 0 when nobody has one, or the bus stays away. `ready` and `isReady`: every publisher
 *          known so far has been answered, and the log was followed to where it was at the start.
 * Loses    nothing: a replica that goes while it is asked is replaced by another, and at the worst engines are read.
 *
 * Publishers that come within `gatherMs` are asked for together. One that is whole, but was not read from its start, is
 * taken anew when another replica knows it from there, and has begun to give it; ever more rarely.
 */
import { Clock, Context, Deferred, Effect, Layer, Schedule, Semaphore } from "effect"
import { Bus } from "../src/ports/Bus.ts"
import type { Who } from "../src/ports/EventStream.ts"
import { Collector } from "./Collector.ts"
import { PrefixIndex } from "./PrefixIndex.ts"
import { Relay } from "./Relay.ts"
import { type Options as RetakeOptions, Retakes } from "./Retakes.ts"
import * as SnapshotAsk from "./SnapshotAsk.ts"

export interface Options extends RetakeOptions {
  /** Of this replica. */
  readonly id: string
  /** A replica that says nothing for so long has failed. */
  readonly silenceMs: number
  /** Replicas tried for one publisher, those apart that are not to answer. */
  readonly triesMax: number
  /** Ready after this, whatever is still missing. */
  readonly readyMsMax: number
  /** The workers there are at the start have been asked what they are: their publishers are known. */
  readonly looked: () => boolean
}

const defaults: Omit<Options, "id"> = {
  silenceMs: 2_000,
  triesMax: 4,
  readyMsMax: 30_000,
  looked: () => true,
  retakeMsMin: 60_000,
  retakeMsMax: 900_000
}

/** Workers are found together, a probe apart. */
const gatherMs = 50
/** Between two looks for publishers to be taken anew. */
const retakeMs = 5_000
/** Sessions at a time. */
const concurrentSessions = 2
/** Publishers asked for at once. */
const askedMax = 256
const readyTickMs = 50
/** A broker out of reach is waited for: as long as `Relay` waits before it reads for itself. */
const awayMsMax = 5_000
const awayTickMs = 100
/** Replicas that give to others are waited for: ten million blocks take them some ten seconds. */
const busyMsMax = 30_000
const busyTickMs = 250
/** Times `gatherMs` that a picture to be taken anew is waited for, while its session is open. */
const retakeWaits = 20

export interface Stats {
  /** Publishers that wait for their picture. */
  readonly waiting: number
  /** Pictures taken, sessions that broke off, and bytes heard; all only grow. */
  readonly taken: number
  readonly failed: number
  readonly bytes: number
}

interface Waiting {
  readonly who: Who
  readonly answer: Deferred.Deferred<number>
}

export class Bootstrap extends Context.Service<
  Bootstrap,
  {
    /** Done once this replica may serve; see `Answers`. */
    readonly ready: Effect.Effect<void>
    readonly isReady: () => boolean
    readonly stats: () => Stats
  }
>()("warmpath/actors/Bootstrap") {
  static readonly layer = (given: Partial<Options> & Pick<Options, "id">) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const options: Options = { ...defaults, ...given }
        const { id, silenceMs, triesMax } = options
        const bus = yield* Bus
        const collector = yield* Collector
        const index = yield* PrefixIndex
        const relay = yield* Relay
        const clock = yield* Clock.Clock
        const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        const scope = yield* Effect.scope
        const readied = yield* Deferred.make<void>()
        const tally = { taken: 0, failed: 0 }
        const unanswered = new Set<Waiting>()
        const answered = new Set<string>()
        const permits = yield* Semaphore.make(concurrentSessions)
        const asking = SnapshotAsk.make(bus, collector, index, { silenceMs })
        let gathering: Array<Waiting> = []
        /** Publishers that are taken anew: null until one waits for its picture. */
        const retaking = new Map<string, Waiting | null>()
        let isReady = false

        const answer = (waiting: Waiting, position: number): void => {
          unanswered.delete(waiting)
          if (!isReady) answered.add(waiting.who.name)
          Deferred.doneUnsafe(waiting.answer, Effect.succeed(position))
        }

        const take = Effect.fnUntraced(function* (
          batch: ReadonlyArray<Waiting>,
          session: SnapshotAsk.Session | null = null
        ) {
          const startedMs = now()
          const not = [id]
          let wanted = batch
          let begun = session
          for (let tries = 0; wanted.length > 0 && tries < triesMax; ) {
            const asked = wanted.slice(0, askedMax)
            const came = yield* asking.take(
              asked.map(({ who }) => who),
              not,
              begun
            )
            begun = null
            if (came === "nobody") break
            if (came === "away") {
              // The first connection takes a moment, and so does a broker's restart.
              if (now() - startedMs >= awayMsMax) break
              yield* Effect.sleep(awayTickMs)
              continue
            }
            if (came === "busy") {
              if (now() - startedMs >= busyMsMax) break
              yield* Effect.sleep(busyTickMs)
              continue
            }
            if (came._tag === "failed") {
              tries++
              tally.failed++
              if (came.replica !== null) not.push(came.replica)
              yield* Effect.logInfo(`The picture of ${wanted.length} publishers could not be taken: ${came.why}`)
              continue
            }
            let progress = false
            wanted = wanted.filter((waiting, i) => {
              const outcome = came.outcomes.get(i)
              if (outcome === undefined || outcome._tag === "voided") return true
              progress = true
              if (outcome._tag === "taken") tally.taken++
              answer(waiting, outcome._tag === "taken" ? outcome.position : 0)
              return false
            })
            if (!progress) tries++
          }
          for (const waiting of wanted) answer(waiting, 0)
        })

        /** Answers all of them, whatever comes. */
        const takeAll = (batch: ReadonlyArray<Waiting>, session: SnapshotAsk.Session | null = null) =>
          take(batch, session).pipe(
            Effect.tapCause((cause) => Effect.logError("Taking pictures of publishers died", cause)),
            Effect.ensuring(
              Effect.sync(() => {
                for (const one of batch) if (unanswered.has(one)) answer(one, 0)
              })
            )
          )

        const prepare = (who: Who): Effect.Effect<number> =>
          Effect.gen(function* () {
            const waiting: Waiting = { who, answer: yield* Deferred.make<number>() }
            unanswered.add(waiting)
            if (retaking.has(who.name)) retaking.set(who.name, waiting)
            else if (gathering.push(waiting) === 1) {
              yield* Effect.sleep(gatherMs).pipe(
                Effect.andThen(
                  Effect.suspend(() => {
                    const batch = gathering
                    gathering = []
                    return permits.withPermits(1)(takeAll(batch))
                  })
                ),
                Effect.sandbox,
                Effect.ignore,
                Effect.forkIn(scope)
              )
            }
            return yield* Deferred.await(waiting.answer).pipe(
              Effect.ensuring(Effect.sync(() => void unanswered.delete(waiting)))
            )
          })
        relay.setPrepare(prepare)

        // When it may serve.
        let startPosition = 0
        const startedMs = now()
        const isPrepared = (): boolean =>
          options.looked() &&
          unanswered.size === 0 &&
          collector.publishers().every(({ name }) => answered.has(name)) &&
          (relay.followedTo() >= startPosition || !bus.status().connected)
        yield* bus.position.pipe(
          Effect.match({
            onFailure: () => {},
            onSuccess: (position) => {
              startPosition = position
            }
          }),
          Effect.andThen(
            Effect.sleep(readyTickMs).pipe(
              Effect.repeat({ until: () => isPrepared() || now() - startedMs >= options.readyMsMax })
            )
          ),
          Effect.andThen(
            Effect.suspend(() =>
              isPrepared()
                ? Effect.void
                : Effect.logWarning(
                    `Not prepared after ${options.readyMsMax / 1_000} s: ${unanswered.size} publishers wait for their picture, ` +
                      `the log is followed to ${relay.followedTo()} of ${startPosition}. Serving with what there is`
                  )
            )
          ),
          Effect.catchCause((cause) =>
            Effect.logError("Whether it is prepared is not known. Serving with what there is", cause)
          ),
          Effect.andThen(
            Effect.sync(() => {
              isReady = true
              answered.clear()
              Deferred.doneUnsafe(readied, Effect.void)
            })
          ),
          Effect.forkScoped
        )

        // Pictures that somebody else has from the start.
        const retakes = new Retakes(options)
        const retake = Effect.fnUntraced(function* () {
          const nowMs = now()
          const publishers = collector.publishers()
          retakes.keep(new Set(publishers.map(({ name }) => name)))
          const short = publishers.filter(({ name, slot }) => {
            const state = collector.state(slot)
            return state?.health === "whole" && !state.complete && retakes.isDue(name, nowMs)
          })
          if (short.length === 0) return
          const who = short.map(({ model, name }) => ({ name, model }))
          const opened = yield* asking.open("retake", who, [id])
          // What there is of them is kept until there is better.
          if (opened === "busy" || opened === "nobody" || opened?._tag !== "session") return
          const given = opened.taken.flatMap((i) => short[i] ?? [])
          for (const { name } of given) retaking.set(name, null)
          for (const { name, slot } of given) {
            retakes.taken(name, nowMs)
            yield* Effect.logInfo(`${name} is taken anew from a replica that knows it from its start`)
            yield* collector.again(slot)
          }
          const waiting = () => given.flatMap(({ name }) => retaking.get(name) ?? [])
          const areAll = () => waiting().length === given.length
          for (let i = 0; i < retakeWaits && !areAll(); i++) yield* Effect.sleep(gatherMs)
          // Whose publisher left meanwhile has another number in the session.
          const session = areAll() ? { ...opened, taken: given.map((_, i) => i), absent: [] } : null
          const batch = waiting()
          for (const { name } of given) retaking.delete(name)
          yield* takeAll(batch, session)
        })
        yield* Effect.sleep(retakeMs).pipe(
          Effect.andThen(permits.withPermits(1)(retake())),
          Effect.ensuring(
            Effect.sync(() => {
              for (const one of retaking.values()) if (one !== null && unanswered.has(one)) answer(one, 0)
              retaking.clear()
            })
          ),
          Effect.catchTag("BusError", () => Effect.void),
          Effect.forever,
          Effect.tapCause((cause) => Effect.logError("No picture is taken anew any more", cause)),
          Effect.sandbox,
          Effect.retry(Schedule.spaced("10 seconds")),
          Effect.forkScoped
        )

        return Bootstrap.of({
          ready: Deferred.await(readied),
          isReady: () => isReady,
          stats: () => ({ waiting: unanswered.size, ...tally, bytes: asking.bytes() })
        })
      })
    )
}
