/**
 * The visits to one worker, from its joining to its end: discovery, signs of life, the look whether a drain is over.
 *
 * Nothing is decided here but when to ask next: what was seen goes to `Fleet` as an event, through `Hands`.
 */
import { Effect, Queue } from "effect"
import type { WorkerFacts, WorkerSpec } from "../src/domain/Worker.ts"
import type { Engine } from "../src/ports/Engine.ts"
import * as Breaker from "./FleetBreaker.ts"
import type { Entry } from "./FleetEntry.ts"
import type * as Lifecycle from "./FleetLifecycle.ts"

/** Times in ms. */
export interface Knobs {
  readonly probeIntervalMs: number
  /** Deadline of one probe. */
  readonly probeTimeoutMs: number
  /** Deadline of a discovery, which asks several questions. */
  readonly discoverTimeoutMs: number
  /** Between discoveries of a worker that stays up: adapters come and go. */
  readonly discoverIntervalMs: number
  readonly joinRetryMsMin: number
  readonly joinRetryMsMax: number
  readonly breaker: Breaker.Knobs
}

/** What probing asks of the program around the fleet. */
export interface Program {
  /** The adapter for what answers at a worker's address. Rejects when nothing does. */
  readonly detect: (spec: WorkerSpec, signal: AbortSignal) => Promise<Engine>
  /** Requests on a slot now, streams included. */
  readonly inFlight: (slot: number) => number
  /** From 0 to 1, for jitter. */
  readonly random: () => number
}

/** What the fleet does with what was seen. All synchronous. */
export interface Hands {
  readonly now: () => number
  /** Moves the entry through its life. */
  readonly step: (entry: Entry, event: Lifecycle.Event, why: string) => void
  /** Notes what the worker said of itself. */
  readonly learn: (entry: Entry, engine: Engine, told: WorkerFacts) => void
  /** Another request may be tried on it. */
  readonly endTrial: (entry: Entry) => void
}

/** Good probes after which a worker without traffic is believed again. */
const quietProbes = 3
/** How often a draining worker's in-flight count is looked at. */
const drainLookMs = 50

const ask = <A>(ms: number, question: (signal: AbortSignal) => Promise<A>) =>
  Effect.tryPromise({
    try: question,
    catch: (cause) => (cause instanceof Error ? cause.message : String(cause))
  }).pipe(Effect.timeoutOrElse({ duration: ms, orElse: () => Effect.fail(`no answer within ${ms} ms`) }))

/** One worker's visits, until it is gone. */
export const make = (knobs: Knobs, program: Program, { endTrial, learn, now, step }: Hands) => {
  const discover = Effect.fnUntraced(function* (entry: Entry, known: Engine | null) {
    const found = yield* ask(knobs.discoverTimeoutMs, async (signal) => {
      const engine = known ?? (await program.detect(entry.spec, signal))
      return { engine, facts: await engine.discover(entry.spec.url, signal) }
    })
    if (entry.state !== "gone") learn(entry, found.engine, found.facts)
  })

  /** One sign of life: healthy, and its load if it tells. */
  const probe = Effect.fnUntraced(function* (entry: Entry, engine: Engine) {
    const { url } = entry.spec
    const load = ask(knobs.probeTimeoutMs, (signal) => engine.load(url, signal)).pipe(
      Effect.tap((told) =>
        Effect.sync(() => {
          entry.load = told
          entry.loadAtMs = now()
        })
      ),
      // Without a load the bookings of this router still count; the age of the last one is shown.
      Effect.ignore
    )
    // Some engines answer that they are alive while no token comes out of them: one that failed must show a token. Where
    // that takes longer than a probe may, the worker was silent, and is asked again.
    const deep = entry.state === "open"
    const healthy = ask(knobs.probeTimeoutMs, (signal) => engine.healthy(url, signal, deep))
    const [well] = yield* Effect.all([healthy, load], { concurrency: 2 })
    if (!well) return yield* Effect.fail("it says it is not healthy")
    const away = entry.state === "open" || entry.state === "suspect"
    if (away || now() - entry.discoveredAtMs >= knobs.discoverIntervalMs) {
      // A worker that was away may be another process, even another engine, by now.
      yield* discover(entry, away ? null : engine)
    }
  })

  const inFlight = (entry: Entry): number => entry.slots.reduce((sum, slot) => sum + program.inFlight(slot), 0)

  const jittered = (ms: number) => ms * (0.9 + program.random() * 0.2)

  const visitJoining = Effect.fnUntraced(function* (entry: Entry) {
    const failure = yield* discover(entry, null).pipe(Effect.flip, Effect.option)
    entry.answers = failure._tag === "None"
    if (failure._tag === "None") {
      entry.dueAtMs = now() + jittered(knobs.probeIntervalMs)
      const { engine, models, blockSize } = entry.worker?.facts ?? { engine: "?", models: [], blockSize: null }
      const names = models.map((model) => model.id).join(", ")
      return step(entry, "Answered", `it answers as ${engine}, serves ${names}, block size ${blockSize ?? "not told"}`)
    }
    const waitMs = Math.min(knobs.joinRetryMsMax, knobs.joinRetryMsMin * 2 ** Math.min(entry.joinTries++, 20))
    entry.dueAtMs = now() + jittered(waitMs)
    if (entry.joinTries === 1) {
      yield* Effect.logInfo(`Worker "${entry.spec.id}" is joining: it does not answer yet (${failure.value})`)
    }
    entry.why = failure.value
    step(entry, "Silent", failure.value)
  })

  const visit = Effect.fnUntraced(function* (entry: Entry) {
    if (entry.state === "joining" || entry.worker === null) return yield* visitJoining(entry)
    if (entry.state === "draining") {
      const left = inFlight(entry)
      if (left === 0) return step(entry, "Emptied", "nothing in flight any more")
      if (now() >= entry.drainByMs) return step(entry, "Emptied", `${left} requests still in flight at the deadline`)
      entry.dueAtMs = Math.min(now() + drainLookMs, entry.drainByMs)
      return
    }
    const asked = entry.state
    const failure = yield* probe(entry, entry.worker.engine).pipe(Effect.flip, Effect.option)
    // What the request path or the operator saw meanwhile is newer than this answer.
    if (entry.state !== asked) return
    entry.answers = failure._tag === "None"
    entry.dueAtMs = now() + jittered(knobs.probeIntervalMs)
    if (failure._tag === "Some") {
      const tripped = entry.state !== "open" && Breaker.silent(entry.breaker, knobs.breaker)
      return step(entry, tripped ? "Tripped" : "Silent", failure.value)
    }
    step(entry, "Answered", "it answers")
    if (entry.state !== "halfOpen") return
    // A trial whose request ended without a word must not keep the worker out.
    if (entry.trial && inFlight(entry) === 0) endTrial(entry)
    if (!entry.trial && entry.quiet++ >= quietProbes) step(entry, "Succeeded", "it answered several probes")
  })

  return Effect.fnUntraced(function* (entry: Entry) {
    while (entry.state !== "gone") {
      const waitMs = entry.dueAtMs - now()
      if (waitMs > 0) yield* Queue.take(entry.wake).pipe(Effect.timeoutOption(waitMs))
      else yield* visit(entry)
    }
  })
}
