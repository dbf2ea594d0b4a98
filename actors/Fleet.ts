/**
 * Fleet: which workers there are, what they serve, and which of them may take a request now.
 *
 * Owns     every worker's slots, spec, facts, life (`FleetLifecycle`), breaker and last load. One fiber per worker probes it.
 * Hears    the operator (`add`, `remove`, `drain`, `set`, `alias`) and the request path (`sent`, `outcome`).
 * Answers  `resolve`, `worker`, `models`, `list`: synchronous, from what is known; routes are cached until a change.
 * Loses    nothing that a probe does not bring back; a restart of the router joins every worker anew.
 *
 * All changes happen on the one JS thread, synchronously, so that the request path needs no mailbox: a failed request
 * has taken its worker out before the next is placed. Slots are dense, one for each data-parallel rank of a worker, and
 * used again once nothing refers to them.
 */
import { Cause, Clock, Context, Effect, Equal, FiberSet, Layer, Queue, Schedule, Schema } from "effect"
import type { ServedModel, WorkerFacts, WorkerSpec } from "../src/domain/Worker.ts"
import type { Engine } from "../src/ports/Engine.ts"
import * as Breaker from "./FleetBreaker.ts"
import type { Entry, Origin, Worker, WorkerStatus } from "./FleetEntry.ts"
import * as Lifecycle from "./FleetLifecycle.ts"
import * as Probe from "./FleetProbe.ts"
import * as Routes from "./FleetRoutes.ts"

export type { Worker, WorkerStatus } from "./FleetEntry.ts"

/**
 * How a request ended, for its worker. `cancelled`: the client left, which says nothing about the worker.
 * `serverError`: it answered 5xx. The three others: it did not answer, or broke off.
 */
export type Outcome = "ok" | "cancelled" | "serverError" | "connectFailed" | "diedBeforeFirstByte" | "diedAfter"

export interface Knobs extends Probe.Knobs {
  readonly workersMax: number
  /** Longest a draining worker may keep what it has. */
  readonly drainMs: number
}

/** What the fleet asks of the program around it. Hooks run at once, on the caller's turn; one that throws is logged. */
export interface Options extends Probe.Program {
  readonly knobs: Knobs
  readonly aliases: Readonly<Record<string, string>>
  /** True when no table refers to a former worker's slot any more. */
  readonly reusable: (slot: number) => boolean
  /** It answered for the first time, or came back with other ranks, on new slots: it is about to take work. */
  readonly onJoin: (worker: Worker) => void
  /** Its facts changed; its slots did not. `restarted`: it is a new process, with an empty cache. */
  readonly onChange: (worker: Worker, before: Worker, restarted: boolean) => void
  /** A slot stands for nobody any more. */
  readonly onVacate: (slot: number) => void
  /** It is gone, after its slots were vacated; not called for one that never answered. */
  readonly onLeave: (worker: Worker) => void
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
const restart = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])
const failures = {
  connectFailed: "refused a connection",
  diedBeforeFirstByte: "died before its first byte",
  diedAfter: "died while streaming"
}

/**
 * Facts with what an earlier visit knew and this one did not learn: a busy engine fails single questions. What a process
 * was started with stays until another is seen; while it cannot be told which it is, its sizes do.
 */
const completed = (before: WorkerFacts, told: WorkerFacts): WorkerFacts => {
  if (told.startedAtMs !== null && told.startedAtMs !== before.startedAtMs) return told
  const sizes = {
    blockSize: told.blockSize ?? before.blockSize,
    blockCount: told.blockCount ?? before.blockCount,
    startedAtMs: told.startedAtMs ?? before.startedAtMs
  }
  if (told.startedAtMs === null) return { ...told, ...sizes }
  return {
    ...told,
    ...sizes,
    eventSources: told.eventSources.length === 0 ? before.eventSources : told.eventSources,
    ranks: told.ranks.length === 0 ? before.ranks : told.ranks
  }
}

const make = Effect.fnUntraced(function* (options: Options) {
  const { knobs } = options
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const runFork = Effect.runForkWith(context)
  const fibers = yield* FiberSet.make<void>()
  const entries = new Map<string, Entry>()
  const bySlot: Array<Entry | undefined> = []
  /** Slots whose worker is gone but which a table or a request may still refer to. */
  const resting = new Set<number>()
  const routes = new Map<string, Routes.Route>()
  let aliases: Routes.Aliases = new Map(Object.entries(options.aliases))
  let served: ReadonlyArray<Routes.Served> | null = null

  const now = () => clock.currentTimeMillisUnsafe()
  const log = (effect: Effect.Effect<void>) => void runFork(effect)

  const changed = (): void => {
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

  const release = (slots: ReadonlyArray<number>): void => {
    for (const slot of slots) {
      bySlot[slot] = undefined
      resting.add(slot)
    }
  }

  const vacate = (slots: ReadonlyArray<number>): void => {
    release(slots)
    for (const slot of slots) tell("onVacate", () => options.onVacate(slot))
  }

  const leave = (entry: Entry): void => {
    entries.delete(entry.spec.id)
    vacate(entry.slots)
    const { worker } = entry
    if (worker !== null) tell("onLeave", () => options.onLeave(worker))
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
    // A stumble that one probe settles, and each try to come back, are for those who look closely.
    const minor = state === "suspect" || state === "halfOpen" || state === entry.said
    const text = `Worker "${entry.spec.id}" is ${state} (was ${minor ? before : entry.said}): ${why}`
    if (minor) log(Effect.logDebug(text))
    else if (state === "open") log(Effect.logWarning(`${text}. It gets no requests until it answers again`))
    else log(Effect.logInfo(text))
    if (!minor) entry.said = state
    if (state === "gone") leave(entry)
  }

  /** A free slot, taken by the entry; null when there is none. */
  const take = (entry: Entry): number | null => {
    let slot = bySlot.length < knobs.workersMax ? bySlot.length : null
    for (const rested of resting) {
      if (options.inFlight(rested) > 0 || !options.reusable(rested)) continue
      resting.delete(rested)
      slot = rested
      break
    }
    if (slot !== null) bySlot[slot] = entry
    return slot
  }

  /**
   * As many slots as the worker has ranks. True when those it had are others' from now on: ranks that come or go are
   * other caches. Without room for all of them the engine chooses the rank, and the worker counts as one cache.
   */
  const seat = (entry: Entry, ranks: number): boolean => {
    const wanted = Math.max(1, ranks)
    if (entry.slots.length === wanted) return false
    const kept = entry.worker === null ? entry.slots : []
    const taken: Array<number> = []
    while (kept.length + taken.length < wanted) {
      const slot = take(entry)
      if (slot === null) {
        release(taken)
        const text = `Worker "${entry.spec.id}" has ${wanted} ranks, and too few of ${knobs.workersMax} slots are free: it chooses the rank itself. Raise workersMax.`
        log(Effect.logWarning(text))
        return false
      }
      taken.push(slot)
    }
    if (kept.length === 0) vacate(entry.slots)
    entry.slots = [...kept, ...taken]
    return kept.length === 0
  }

  /** Notes what a worker said of itself, and tells the program when that is new. */
  const learn = (entry: Entry, engine: Engine, answered: WorkerFacts): void => {
    const before = entry.worker
    const told = before === null || before.engine !== engine ? answered : completed(before.told, answered)
    // The operator knows better than the engine how its events are reached from here.
    const facts = entry.spec.events === undefined ? told : { ...told, eventSources: entry.spec.events }
    entry.discoveredAtMs = now()
    if (before !== null && before.engine === engine && JSON.stringify(before.told) === JSON.stringify(told)) return
    const reseated = seat(entry, facts.ranks.length)
    const ranks = entry.slots.length > 1 ? facts.ranks : []
    const worker: Worker = {
      slots: entry.slots,
      spec: entry.spec,
      engine,
      told,
      facts: { ...facts, ranks },
      model: Routes.canonical(facts) ?? ""
    }
    entry.worker = worker
    changed()
    if (before === null || reseated) {
      tell("onJoin", () => options.onJoin(worker))
      return
    }
    const restarted =
      before.facts.startedAtMs !== null && facts.startedAtMs !== null && before.facts.startedAtMs !== facts.startedAtMs
    log(Effect.logInfo(`Worker "${entry.spec.id}" ${restarted ? "restarted" : "changed what it serves"}`))
    tell("onChange", () => options.onChange(worker, before, restarted))
  }

  const endTrial = (entry: Entry): void => {
    entry.trial = false
    changed()
  }

  const live = Probe.make(knobs, options, { endTrial, learn, now, step })

  const add = Effect.fnUntraced(function* (spec: WorkerSpec, origin: Origin) {
    const same = entries.get(spec.id)
    if (same !== undefined && same.state === "draining" && Equal.equals(same.spec, spec)) {
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
    const entry: Entry = {
      slots: [],
      spec,
      origin,
      state: "joining",
      said: "joining",
      why: "listed",
      sinceMs: now(),
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
    const slot = take(entry)
    if (slot === null) {
      return yield* refuse(
        "full",
        `all ${knobs.workersMax} slots are taken or still settling. Raise workersMax, or remove a worker.`
      )
    }
    entry.slots = [slot]
    entries.set(spec.id, entry)
    changed()
    yield* FiberSet.run(
      fibers,
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
      else if (!Equal.equals(entry.spec, spec)) remove(entry.spec.id, false)
    }
    const refused: Array<WorkerRefused> = []
    for (const spec of specs) {
      const entry = entries.get(spec.id)
      if (entry !== undefined && entry.state !== "draining" && Equal.equals(entry.spec, spec)) continue
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
    if (entry.trial) endTrial(entry)
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

  const bySeat = (a: Entry, b: Entry) => a.slots[0]! - b.slots[0]!
  const isLastResort = (entry: Entry) => entry.answers && (entry.state === "open" || entry.state === "halfOpen")
  const view = (): ReadonlyArray<Routes.Served> => {
    served ??= [...entries.values()].sort(bySeat).map((entry) => ({
      slots: entry.slots,
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
    slots: entry.slots,
    spec: entry.spec,
    origin: entry.origin,
    state: entry.state,
    why: entry.why,
    sinceMs: entry.sinceMs,
    facts: entry.worker?.facts ?? null,
    load: entry.load,
    loadAtMs: entry.loadAtMs,
    inFlight: entry.slots.reduce((sum, slot) => sum + options.inFlight(slot), 0),
    breaker: { ...entry.breaker }
  })

  return Fleet.of({
    add: (spec, origin = "admin") => add(spec, origin),
    remove: (id, { drain }) => remove(id, drain),
    set,
    alias: (next) => {
      aliases = new Map(Object.entries(next))
      changed()
    },
    sent,
    outcome,
    resolve,
    worker: (slot) => bySlot[slot]?.worker ?? undefined,
    rank: (slot) => {
      const worker = bySlot[slot]?.worker ?? null
      return worker?.facts.ranks[worker.slots.indexOf(slot)] ?? null
    },
    models: () => Routes.models(view(), aliases),
    find: (id) => {
      const entry = entries.get(id)
      return entry === undefined ? undefined : status(entry)
    },
    list: () => [...entries.values()].sort(bySeat).map(status)
  })
})

export class Fleet extends Context.Service<
  Fleet,
  {
    /** Lists a worker; it takes work once it answers. One that is draining and listed again stays. */
    readonly add: (spec: WorkerSpec, origin?: Origin) => Effect.Effect<WorkerStatus, WorkerRefused>
    /**
     * False when there is no such worker. With `drain` it takes no new work and is gone when nothing is in flight, or at
     * the deadline; without, it is forgotten at once, and its streams may still end by themselves.
     */
    readonly remove: (id: string, how: { readonly drain: boolean }) => boolean
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
    /** The data-parallel rank a slot stands for; null where the worker needs none to be told. */
    readonly rank: (slot: number) => number | null
    readonly models: () => ReadonlyArray<ServedModel>
    readonly find: (id: string) => WorkerStatus | undefined
    readonly list: () => ReadonlyArray<WorkerStatus>
  }
>()("warmpath/actors/Fleet") {
  static readonly layer = (options: Options) => Layer.effect(Fleet, make(options))
}
