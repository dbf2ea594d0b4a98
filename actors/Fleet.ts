/**
 * Fleet: which workers there are, what they serve, and which of them may take a request now.
 *
 * Owns     every worker's slot, spec, facts, life (`FleetLifecycle`), breaker and last load. One fiber per worker probes it.
 * Hears    the operator (`add`, `remove`, `drain`, `set`, `alias`) and the request path (`sent`, `outcome`).
 * Answers  `resolve`, `worker`, `models`, `list`: synchronous, from what is known; routes are cached until a change.
 * Loses    nothing that a probe does not bring back; a restart of the router joins every worker anew.
 *
 * All changes happen on the one JS thread, synchronously, so that the request path needs no mailbox: a failed request
 * has taken its worker out before the next is placed. Slots are dense, and used again once nothing refers to them.
 */
import { Cause, Clock, Context, Effect, FiberMap, Layer, Queue, Schedule, Schema } from "effect"
import type { EngineLoad, ServedModel, WorkerFacts, WorkerSpec } from "../src/domain/Worker.ts"
import type { Engine } from "../src/ports/Engine.ts"
import * as Breaker from "./FleetBreaker.ts"
import * as Lifecycle from "./FleetLifecycle.ts"
import * as Routes from "./FleetRoutes.ts"

/** Who listed a worker: a reload of the config only removes what the config had added. */
export type Origin = "config" | "admin"

/**
 * How a request ended, for its worker. `cancelled`: the client left, which says nothing about the worker.
 * `serverError`: it answered 5xx. The three others: it did not answer, or broke off.
 */
export type Outcome = "ok" | "cancelled" | "serverError" | "connectFailed" | "diedBeforeFirstByte" | "diedAfter"

/** A worker as others see it. A snapshot: a change of facts makes a new one. */
export interface Worker {
  readonly slot: number
  readonly spec: WorkerSpec
  readonly engine: Engine
  readonly facts: WorkerFacts
  /** Canonical name of its base model, the namespace of its KV events. */
  readonly model: string
}

/** Everything known of a worker, for people. */
export interface WorkerStatus {
  readonly slot: number
  readonly spec: WorkerSpec
  readonly origin: Origin
  readonly state: Lifecycle.State
  /** What brought it into this state. */
  readonly why: string
  readonly sinceMs: number
  readonly facts: WorkerFacts | null
  readonly load: EngineLoad | null
  readonly loadAtMs: number | null
  readonly inFlight: number
  readonly breaker: Readonly<Breaker.Breaker>
}

export interface Knobs {
  readonly workersMax: number
  readonly probeIntervalMs: number
  /** Deadline of one probe. */
  readonly probeTimeoutMs: number
  /** Deadline of a discovery, which asks several questions. */
  readonly discoverTimeoutMs: number
  /** Between discoveries of a worker that stays up: adapters come and go. */
  readonly discoverIntervalMs: number
  readonly joinRetryMsMin: number
  readonly joinRetryMsMax: number
  /** Longest a draining worker may keep what it has. */
  readonly drainMs: number
  readonly breaker: Breaker.Knobs
}

/** What the fleet asks of the program around it. Hooks run at once, on the caller's turn; one that throws is logged. */
export interface Options {
  readonly knobs: Knobs
  readonly aliases: Readonly<Record<string, string>>
  /** The adapter for what answers at an address. Rejects when nothing does. */
  readonly detect: (url: string, signal: AbortSignal) => Promise<Engine>
  /** Requests on a slot now, streams included. */
  readonly inFlight: (slot: number) => number
  /** True when no table refers to a former worker's slot any more. */
  readonly reusable: (slot: number) => boolean
  /** It answered for the first time: its facts are known, and it is about to take work. */
  readonly onJoin: (worker: Worker) => void
  /** Its facts changed. `restarted`: it is a new process, with an empty cache. */
  readonly onChange: (worker: Worker, before: Worker, restarted: boolean) => void
  /** It is gone; also called for one that never answered, with its slot only. */
  readonly onLeave: (slot: number, worker: Worker | null) => void
  /** From 0 to 1, for jitter. */
  readonly random: () => number
}

/** A worker that cannot be listed. */
export class WorkerRefused extends Schema.TaggedError<WorkerRefused>()("WorkerRefused", {
  id: Schema.String,
  url: Schema.String,
  reason: Schema.Literals(["duplicate", "full"]),
  detail: Schema.String
}) {
  override get message() {
    return `Worker "${this.id}" at ${this.url} was not added: ${this.detail}`
  }
}

/** A route lives as long as the fleet stays as it is; client strings never pile up. */
const routesMax = 1_024
/** Good probes after which a worker without traffic is believed again. */
const quietProbes = 3
/** How often a draining worker's in-flight count is looked at. */
const drainLookMs = 50
const restart = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])
const failures = {
  connectFailed: "refused a connection",
  diedBeforeFirstByte: "died before its first byte",
  diedAfter: "died while streaming"
}

interface Entry {
  readonly serial: number
  readonly slot: number
  readonly spec: WorkerSpec
  origin: Origin
  state: Lifecycle.State
  why: string
  sinceMs: number
  engine: Engine | null
  worker: Worker | null
  load: EngineLoad | null
  loadAtMs: number | null
  readonly breaker: Breaker.Breaker
  /** A request is out that decides whether it comes back; only while half open. */
  trial: boolean
  /** Its last sign of life was good. */
  answers: boolean
  joinTries: number
  quiet: number
  discoveredAtMs: number
  dueAtMs: number
  drainByMs: number
  readonly wake: Queue.Queue<true>
}

const make = Effect.fnUntraced(function* (options: Options) {
  const { knobs } = options
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const runFork = Effect.runForkWith(context)
  const fibers = yield* FiberMap.make<number, void>()
  const entries = new Map<string, Entry>()
  const bySlot: Array<Entry | undefined> = []
  /** Slots whose worker is gone but which a table or a request may still refer to. */
  const resting = new Set<number>()
  const routes = new Map<string, Routes.Route>()
  let aliases: Routes.Aliases = new Map(Object.entries(options.aliases))
  let served: ReadonlyArray<Routes.Served> | null = null
  let version = 0
  let serials = 0

  const now = () => clock.currentTimeMillisUnsafe()
  const log = (effect: Effect.Effect<void>) => void runFork(effect)

  const changed = (): void => {
    version++
    served = null
    routes.clear()
  }

  const tell = (hook: string, call: () => void): void => {
    try {
      call()
    } catch (defect) {
      log(Effect.logError(`Fleet: the ${hook} hook threw`, defect))
    }
  }

  const wake = (entry: Entry): void => {
    entry.dueAtMs = now()
    Queue.offerUnsafe(entry.wake, true)
  }

  const leave = (entry: Entry): void => {
    entries.delete(entry.spec.id)
    bySlot[entry.slot] = undefined
    resting.add(entry.slot)
    tell("onLeave", () => options.onLeave(entry.slot, entry.worker))
    Queue.offerUnsafe(entry.wake, true)
  }

  /** Moves an entry through the table; everything that depends on its state follows from here. */
  const step = (entry: Entry, event: Lifecycle.Event, why: string): void => {
    const before = entry.state
    const state = Lifecycle.next(before, event)
    if (state === "open" && (before !== "open" || event === "Silent")) {
      Breaker.open(entry.breaker, knobs.breaker, now(), options.random())
      entry.dueAtMs = entry.breaker.retryAtMs
    }
    if (state === before) return
    entry.state = state
    entry.why = why
    entry.sinceMs = now()
    entry.trial = false
    entry.quiet = 0
    if (state === "draining") entry.drainByMs = entry.sinceMs + knobs.drainMs
    changed()
    const text = `Worker "${entry.spec.id}" is ${state} (was ${before}): ${why}`
    // A stumble that one probe settles is for those who look closely.
    const minor = state === "suspect" || (before === "suspect" && state === "ready")
    log(minor ? Effect.logDebug(text) : state === "open" ? Effect.logWarning(text) : Effect.logInfo(text))
    if (state === "gone") leave(entry)
  }

  /** Notes what a worker said of itself, and tells the program when that is new. */
  const learn = (entry: Entry, engine: Engine, told: WorkerFacts): void => {
    // The operator knows better than the engine how its events are reached from here.
    const facts = entry.spec.events === undefined ? told : { ...told, eventSources: [entry.spec.events] }
    const before = entry.worker
    entry.discoveredAtMs = now()
    if (before !== null && before.engine === engine && JSON.stringify(before.facts) === JSON.stringify(facts)) return
    const worker = { slot: entry.slot, spec: entry.spec, engine, facts, model: Routes.canonical(facts) ?? "" }
    entry.engine = engine
    entry.worker = worker
    changed()
    if (before === null) {
      tell("onJoin", () => options.onJoin(worker))
      return
    }
    const restarted =
      before.facts.startedAtMs !== null && facts.startedAtMs !== null && before.facts.startedAtMs !== facts.startedAtMs
    log(Effect.logInfo(`Worker "${entry.spec.id}" ${restarted ? "restarted" : "changed what it serves"}`))
    tell("onChange", () => options.onChange(worker, before, restarted))
  }

  const ask = <A>(ms: number, question: (signal: AbortSignal) => Promise<A>) =>
    Effect.tryPromise({
      try: question,
      catch: (cause) => (cause instanceof Error ? cause.message : String(cause))
    }).pipe(Effect.timeoutOrElse({ duration: ms, orElse: () => Effect.fail(`no answer within ${ms} ms`) }))

  const discover = Effect.fnUntraced(function* (entry: Entry, known: Engine | null) {
    const found = yield* ask(knobs.discoverTimeoutMs, async (signal) => {
      const engine = known ?? (await options.detect(entry.spec.url, signal))
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
    const healthy = ask(knobs.probeTimeoutMs, (signal) => engine.healthy(url, signal))
    const [well] = yield* Effect.all([healthy, load], { concurrency: 2 })
    if (!well) return yield* Effect.fail("it says it is not healthy")
    const away = entry.state === "open" || entry.state === "suspect"
    if (away || now() - entry.discoveredAtMs >= knobs.discoverIntervalMs) {
      // A worker that was away may be another process, even another engine, by now.
      yield* discover(entry, away ? null : engine)
    }
  })

  const jittered = (ms: number) => ms * (0.9 + options.random() * 0.2)

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
    if (entry.state === "joining" || entry.engine === null) return yield* visitJoining(entry)
    if (entry.state === "draining") {
      const left = options.inFlight(entry.slot)
      if (left === 0) return step(entry, "Emptied", "nothing in flight any more")
      if (now() >= entry.drainByMs) return step(entry, "Emptied", `${left} requests still in flight at the deadline`)
      entry.dueAtMs = Math.min(now() + drainLookMs, entry.drainByMs)
      return
    }
    const asked = entry.state
    const failure = yield* probe(entry, entry.engine).pipe(Effect.flip, Effect.option)
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
    if (entry.trial && options.inFlight(entry.slot) === 0) {
      entry.trial = false
      changed()
    }
    if (!entry.trial && entry.quiet++ >= quietProbes) step(entry, "Succeeded", "it answered several probes")
  })

  const live = Effect.fnUntraced(function* (entry: Entry) {
    while (entry.state !== "gone") {
      const waitMs = entry.dueAtMs - now()
      if (waitMs > 0) yield* Queue.take(entry.wake).pipe(Effect.timeoutOption(waitMs))
      else yield* visit(entry)
    }
  })

  const slotFor = (): number | null => {
    for (const slot of resting) {
      if (options.inFlight(slot) === 0 && options.reusable(slot)) {
        resting.delete(slot)
        return slot
      }
    }
    return bySlot.length < knobs.workersMax ? bySlot.length : null
  }

  const add = Effect.fnUntraced(function* (spec: WorkerSpec, origin: Origin) {
    const same = entries.get(spec.id)
    if (same !== undefined && same.state === "draining" && isSame(same.spec, spec)) {
      same.origin = origin
      step(same, "Restored", "it was listed again")
      wake(same)
      return status(same)
    }
    const refuse = (reason: "duplicate" | "full", detail: string) =>
      new WorkerRefused({ id: spec.id, url: spec.url, reason, detail })
    if (same !== undefined) {
      return yield* refuse(
        "duplicate",
        `a worker of that id is ${same.state} at ${same.spec.url}. Choose another id, or remove that one first.`
      )
    }
    for (const other of [...entries.values()]) {
      if (other.spec.url !== spec.url) continue
      // One engine is one worker: under its new id it is here to stay, and its streams end by themselves.
      if (other.state === "draining") step(other, "Removed", `its address is now worker "${spec.id}"`)
      else {
        return yield* refuse("duplicate", `worker "${other.spec.id}" has that address already and is ${other.state}.`)
      }
    }
    const slot = slotFor()
    if (slot === null) {
      return yield* refuse(
        "full",
        `all ${knobs.workersMax} slots are taken or still settling. Raise workersMax, or remove a worker.`
      )
    }
    const entry: Entry = {
      serial: serials++,
      slot,
      spec,
      origin,
      state: "joining",
      why: "listed",
      sinceMs: now(),
      engine: null,
      worker: null,
      load: null,
      loadAtMs: null,
      breaker: Breaker.make(now()),
      trial: false,
      answers: false,
      joinTries: 0,
      quiet: 0,
      discoveredAtMs: 0,
      dueAtMs: now(),
      drainByMs: 0,
      wake: yield* Queue.sliding<true>(1)
    }
    entries.set(spec.id, entry)
    bySlot[slot] = entry
    changed()
    yield* FiberMap.run(
      fibers,
      entry.serial,
      live(entry).pipe(
        Effect.tapCause((cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.void
            : Effect.logError(`Fleet: worker "${spec.id}" lost its probe; starting it again`, cause)
        ),
        Effect.sandbox,
        Effect.retry(restart),
        Effect.ignore,
        // Whoever lists a worker, it lives with the clock and the loggers of the fleet.
        Effect.provideContext(context)
      )
    )
    return status(entry)
  })

  const remove = (id: string, drain: boolean): boolean => {
    const entry = entries.get(id)
    if (entry === undefined) return false
    step(entry, drain ? "Drained" : "Removed", drain ? "draining was asked for" : "its removal was asked for")
    wake(entry)
    return true
  }

  const set = Effect.fnUntraced(function* (specs: ReadonlyArray<WorkerSpec>) {
    const wanted = new Map(specs.map((spec) => [spec.id, spec]))
    for (const entry of [...entries.values()]) {
      if (entry.origin !== "config") continue
      const spec = wanted.get(entry.spec.id)
      if (spec === undefined) remove(entry.spec.id, true)
      // Another address under the same id is another worker. What runs on the old one may finish there.
      else if (!isSame(entry.spec, spec)) remove(entry.spec.id, false)
    }
    const refused: Array<WorkerRefused> = []
    for (const spec of specs) {
      const entry = entries.get(spec.id)
      if (entry !== undefined && entry.state !== "draining" && isSame(entry.spec, spec)) continue
      yield* add(spec, "config").pipe(Effect.catch((error) => Effect.sync(() => void refused.push(error))))
    }
    return refused
  })

  const sent = (slot: number): void => {
    const entry = bySlot[slot]
    if (entry === undefined || entry.state !== "halfOpen" || entry.trial) return
    entry.trial = true
    changed()
  }

  const outcome = (slot: number, kind: Outcome): void => {
    const entry = bySlot[slot]
    if (entry === undefined) return
    if (entry.trial) {
      entry.trial = false
      changed()
    }
    switch (kind) {
      case "cancelled":
        return
      case "ok":
        Breaker.succeeded(entry.breaker, knobs.breaker, now())
        if (entry.state !== "ready") step(entry, "Succeeded", "a request succeeded")
        return
      case "serverError": {
        const tripped = Breaker.failed(entry.breaker, knobs.breaker, now(), false)
        if (tripped) step(entry, "Tripped", "too many of its recent answers were errors")
        else if (entry.state === "halfOpen") step(entry, "Failed", "it answered an error again")
        return
      }
      default: {
        entry.answers = false
        const tripped = Breaker.failed(entry.breaker, knobs.breaker, now(), true)
        const wasReady = entry.state === "ready"
        step(entry, tripped ? "Tripped" : "Failed", `it ${failures[kind]}`)
        if (wasReady && entry.state === "suspect") wake(entry)
      }
    }
  }

  const isLastResort = (entry: Entry) => entry.answers && (entry.state === "open" || entry.state === "halfOpen")
  const view = (): ReadonlyArray<Routes.Served> => {
    served ??= [...entries.values()]
      .sort((a, b) => a.slot - b.slot)
      .map((entry) => ({
        slot: entry.slot,
        state: entry.state,
        facts: entry.worker?.facts ?? null,
        takes: Lifecycle.takesWork(entry.state) && !entry.trial,
        lastResort: isLastResort(entry)
      }))
    return served
  }

  const resolve = (name: string): Routes.Route | undefined => {
    const cached = routes.get(name)
    if (cached !== undefined) return cached
    const route = Routes.route(view(), aliases, bySlot.length, name)
    if (route !== undefined && routes.size < routesMax) routes.set(name, route)
    return route
  }

  const status = (entry: Entry): WorkerStatus => ({
    slot: entry.slot,
    spec: entry.spec,
    origin: entry.origin,
    state: entry.state,
    why: entry.why,
    sinceMs: entry.sinceMs,
    facts: entry.worker?.facts ?? null,
    load: entry.load,
    loadAtMs: entry.loadAtMs,
    inFlight: options.inFlight(entry.slot),
    breaker: { ...entry.breaker }
  })

  return Fleet.of({
    add: (spec, origin = "admin") => add(spec, origin),
    remove: (id, { drain }) => remove(id, drain),
    drain: (id) => remove(id, true),
    set,
    alias: (next) => {
      aliases = new Map(Object.entries(next))
      changed()
    },
    sent,
    outcome,
    resolve,
    worker: (slot) => bySlot[slot]?.worker ?? undefined,
    load: (slot) => bySlot[slot]?.load ?? null,
    models: () => Routes.models(view(), aliases),
    find: (id) => {
      const entry = entries.get(id)
      return entry === undefined ? undefined : status(entry)
    },
    list: () => [...entries.values()].sort((a, b) => a.slot - b.slot).map(status),
    version: () => version
  })
})

const isSame = (a: WorkerSpec, b: WorkerSpec): boolean =>
  a.id === b.id && a.url === b.url && JSON.stringify(a.events ?? null) === JSON.stringify(b.events ?? null)

export class Fleet extends Context.Service<
  Fleet,
  {
    /** Lists a worker; it takes work once it answers. One that is draining and listed again stays. */
    readonly add: (spec: WorkerSpec, origin?: Origin) => Effect.Effect<WorkerStatus, WorkerRefused>
    /** False when there is no such worker. Without `drain` it is forgotten at once; its streams may still end by themselves. */
    readonly remove: (id: string, how: { readonly drain: boolean }) => boolean
    /** Takes no new work; gone when nothing is in flight, or at the deadline. */
    readonly drain: (id: string) => boolean
    /** Makes the workers the config lists exactly these; those added by hand stay. Answers with the refused. */
    readonly set: (specs: ReadonlyArray<WorkerSpec>) => Effect.Effect<ReadonlyArray<WorkerRefused>>
    readonly alias: (aliases: Readonly<Record<string, string>>) => void
    /** A request is about to go there. */
    readonly sent: (slot: number) => void
    /** How that request ended; `ok` from its first byte on. */
    readonly outcome: (slot: number, kind: Outcome) => void
    /** Undefined when no worker serves that model or alias; a route with none eligible when none can now. */
    readonly resolve: (model: string) => Routes.Route | undefined
    /** Undefined until it has answered once, and when it is gone. */
    readonly worker: (slot: number) => Worker | undefined
    readonly load: (slot: number) => EngineLoad | null
    readonly models: () => ReadonlyArray<ServedModel>
    readonly find: (id: string) => WorkerStatus | undefined
    readonly list: () => ReadonlyArray<WorkerStatus>
    /** Grows with each change of what routes would say. */
    readonly version: () => number
  }
>()("warmpath/actors/Fleet") {
  static readonly layer = (options: Options) => Layer.effect(Fleet, make(options))
}
