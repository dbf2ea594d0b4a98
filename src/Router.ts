/**
 * Router: one whole router, from its configuration. Where actors, adapters and the HTTP side meet; nothing is decided here.
 *
 * Closing its scope shuts it down in order: stop accepting, let what is in flight finish, leave.
 */
import { homedir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import { Collector } from "../actors/Collector.ts"
import * as Fleet from "../actors/Fleet.ts"
import * as Lifecycle from "../actors/FleetLifecycle.ts"
import { Ledger } from "../actors/Ledger.ts"
import { PrefixIndex } from "../actors/PrefixIndex.ts"
import * as Engines from "./adapters/Engines.ts"
import * as EventSocket from "./adapters/zmq/EventSocket.ts"
import * as Config from "./Config.ts"
import type { Trust } from "./domain/Worker.ts"
import * as BlockHash from "./hot/BlockHash.ts"
import { GuessedCache } from "./hot/GuessedCache.ts"
import * as Admin from "./http/Admin.ts"
import * as Front from "./http/Front.ts"
import * as Pool from "./http/Pool.ts"
import { errorBody } from "./http/Problem.ts"
import * as Request from "./http/Request.ts"
import { forward } from "./http/Upstream.ts"
import * as Observe from "./Observe.ts"
import { EventBus } from "./ports/EventBus.ts"
import * as Tokenizers from "./Tokenizers.ts"

/** The router cannot listen. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  host: Schema.String,
  port: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return `The router cannot listen on ${this.host}:${this.port}: ${this.detail}. Choose another --port or --host; --port 0 takes any free one.`
  }
}

export interface Router {
  /** For clients on this machine. */
  readonly url: string
  readonly adminUrl: string
  /** Takes over the live knobs of a changed configuration. */
  readonly apply: (next: Config.Config) => Effect.Effect<void>
  /** Workers that can take a request now. */
  readonly able: () => number
}

/** Tokens per block of a worker that has not told: vLLM's default. Used until its first event. */
const blockSizeDefault = 16

/** Blocks a worker's cache has room for when it does not tell: half a million tokens, a 70B model on a node of H100s. */
const blockCountDefault = 32_768

/** Share of a worker's overlap that is believed. */
const credit: Record<Trust, number> = { exact: 1, degraded: 0.75, none: 1 }

const now = () => performance.now()

const knobsOf = (config: Config.Config): Fleet.Knobs => ({
  workersMax: config.workersMax,
  probeIntervalMs: config.probeIntervalMs,
  probeTimeoutMs: config.probeTimeoutMs,
  discoverTimeoutMs: config.discoverTimeoutMs,
  discoverIntervalMs: config.discoverIntervalMs,
  joinRetryMsMin: config.joinRetryMsMin,
  joinRetryMsMax: config.joinRetryMsMax,
  drainMs: config.workerDrainMs,
  breaker: {
    failuresMax: config.breakerFailures,
    failureShareMax: config.breakerFailureShare,
    windowRequestsMin: config.breakerWindowRequestsMin,
    windowMs: config.breakerWindowMs,
    openMsMin: config.breakerOpenMsMin,
    openMsMax: config.breakerOpenMsMax
  }
})

/** What a collector must be started anew for: where events come from, and what their keys are made with. */
const eventsOf = ({ facts, model }: Fleet.Worker): string =>
  JSON.stringify([model, facts.eventSources, facts.blockSize])

const originOf = ({ url }: { readonly url: string }): string => new URL(url).origin

const localUrl = (host: string, port: number): string => {
  const shown = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
  return `http://${shown.includes(":") ? `[${shown}]` : shown}:${port}`
}

/** Starts a router; it runs until the scope closes. */
export const start = Effect.fnUntraced(function* (
  config: Config.Config,
  hubCache = join(homedir(), ".cache", "huggingface", "hub")
): Effect.fn.Return<Router, ListenFailed | Admin.AdminListenFailed, Scope.Scope> {
  const { workersMax } = config
  const hasher = BlockHash.make(BigInt(config.hashSeed))
  const bus = EventBus.layerMemory
  const services = yield* Layer.build(
    Layer.mergeAll(
      PrefixIndex.layer({ workersMax, bytesMax: config.indexBytesMax }),
      Collector.layer({ hasher, quietMs: config.replayCheckMs }).pipe(Layer.provide(EventSocket.layer)),
      Ledger.layer({ policy: config.policy, workersMax })
    ).pipe(Layer.provide(bus))
  )
  const index = Context.get(services, PrefixIndex)
  const collector = Context.get(services, Collector)
  const ledger = Context.get(services, Ledger)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const engines = yield* Effect.acquireRelease(Effect.sync(Engines.make), (made) => Effect.promise(made.close))

  const inFlight = new Uint32Array(workersMax)
  const blockSizes = new Uint32Array(workersMax).fill(blockSizeDefault)
  const trusts: Array<Trust> = new Array(workersMax).fill("none")
  const slots = new Map<string, number>()
  /** What the index holds of workers by guess, from our own placements. */
  const guessed = new Map<number, GuessedCache>()
  /** Slots whose collector is still taking leave. */
  const leaving = new Set<number>()

  const follow = (worker: Fleet.Worker): void => {
    const { engine, facts, model, slot, spec } = worker
    slots.set(spec.id, slot)
    if (facts.eventSources.length === 0) return
    fork(
      collector.start({
        id: spec.id,
        slot,
        model,
        sources: facts.eventSources,
        blockSize: facts.blockSize,
        decode: engine.decode
      })
    )
  }

  const unfollow = (slot: number, id: string): Effect.Effect<void> => {
    leaving.add(slot)
    trusts[slot] = "none"
    ledger.setCredit(slot, credit.none)
    return Effect.andThen(
      collector.stop(id),
      Effect.sync(() => leaving.delete(slot))
    )
  }

  /** A worker's block size, told or learned; what cannot be hashed with is not believed. */
  const setBlockSize = (slot: number, blockSize: number | null, blockCount: number | null): void => {
    if (blockSize !== null && blockSize >= 1 && blockSize <= BlockHash.blockSizeMax) blockSizes[slot] = blockSize
    if (blockCount !== null) ledger.setCapacity(slot, blockCount * blockSizes[slot]!)
  }
  const learnFacts = ({ facts, slot }: Fleet.Worker): void => setBlockSize(slot, facts.blockSize, facts.blockCount)

  const fleet = Context.get(
    yield* Layer.build(
      Fleet.Fleet.layer({
        knobs: knobsOf(config),
        aliases: config.modelAliases,
        detect: engines.detect,
        inFlight: (slot) => inFlight[slot]!,
        reusable: (slot) => !leaving.has(slot) && index.reusable(slot),
        onJoin: (worker) => {
          blockSizes[worker.slot] = blockSizeDefault
          guessed.delete(worker.slot)
          ledger.join(worker.slot, null)
          ledger.setEligible(worker.slot, true)
          learnFacts(worker)
          tokenizers.learn(worker)
          follow(worker)
        },
        onChange: (worker, before, restarted) => {
          learnFacts(worker)
          tokenizers.learn(worker)
          // Where events are heard they tell of a restart themselves; elsewhere what was learned is void.
          if (restarted && trusts[worker.slot] === "none") {
            guessed.delete(worker.slot)
            index.drop(worker.slot)
          }
          if (eventsOf(worker) === eventsOf(before)) return
          fork(
            Effect.andThen(
              unfollow(worker.slot, before.spec.id),
              Effect.sync(() => {
                // It may have left, or changed again, while its collector took leave.
                if (fleet.worker(worker.slot) === worker) follow(worker)
              })
            )
          )
        },
        onLeave: (slot, worker) => {
          ledger.leave(slot)
          guessed.delete(slot)
          index.drop(slot)
          if (worker === null) return
          slots.delete(worker.spec.id)
          fork(unfollow(slot, worker.spec.id))
          const others = fleet.list().filter((other) => other.spec.id !== worker.spec.id)
          if (!others.some(({ spec }) => originOf(spec) === originOf(worker.spec))) {
            pool.forget(pool.origin(worker.spec.url))
          }
          if (!others.some(({ slot: other }) => fleet.worker(other)?.model === worker.model)) {
            tokenizers.forget(worker.model)
          }
        },
        random: Math.random
      })
    ),
    Fleet.Fleet
  )

  /** Questions go round, as requests do. */
  let asked = 0
  const tokenizers: Tokenizers.Tokenizers = yield* Tokenizers.make({
    dirs: config.tokenizers,
    hubCache,
    cacheBytesMax: config.segmentCacheBytes,
    urlOf: (model, engine) => {
      const eligible = fleet.resolve(model)?.eligible ?? new Uint8Array(0)
      for (let i = 0; i < eligible.length; i++) {
        const slot = (asked + i) % eligible.length
        const worker = eligible[slot] === 1 ? fleet.worker(slot) : undefined
        if (worker === undefined || !worker.facts.tokenizes || worker.engine.name !== engine) continue
        asked = slot + 1
        return worker.spec.url
      }
      return null
    }
  })

  collector.onTrust((id, trust, state) => {
    const slot = slots.get(id)
    if (slot === undefined) return
    setBlockSize(slot, state.blockSize, fleet.worker(slot)?.facts.blockCount ?? null)
    const before = trusts[slot]
    if (before === trust) return
    fork(Effect.logInfo(`The cache of worker "${id}" is known ${trust === "none" ? "no more" : `(${trust})`}`))
    trusts[slot] = trust
    ledger.setCredit(slot, credit[trust])
    if (before !== "none" || !guessed.delete(slot)) return
    // What was guessed before events were heard would outlive them: nobody tells that a guess was wrong.
    index.drop(slot)
    collector.resync(id)
  })
  index.onReset(() => {
    guessed.clear()
    collector.resync()
  })

  let draining = false
  let front: Front.FrontServer | null = null
  const observe = Observe.make({ fleet, index, collector, ledger, now, inFlight: () => front?.inFlight() ?? 0 })
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Pool.make({
        connectMs: config.connectTimeoutMs,
        firstByteMs: config.firstByteTimeoutMs,
        silenceMs: config.streamIdleTimeoutMs
      })
    ),
    (made) => Effect.sync(made.close)
  )
  const request = Request.make({
    fleet,
    ledger,
    hasher,
    overlap: index.overlap,
    blockSizeOf: (slot) => blockSizes[slot]!,
    tokenizerOf: ({ model }) => tokenizers.of(model),
    rankOf: () => null,
    reportsFull: () => {},
    learn: (slot, keys, exact) => {
      // The worker may have left since: whatever is stored for it would keep its slot for ever.
      if ((exact && trusts[slot] !== "none") || fleet.worker(slot) === undefined) return
      let guesses = guessed.get(slot)
      if (guesses === undefined) {
        guesses = new GuessedCache(fleet.worker(slot)?.facts.blockCount ?? blockCountDefault)
        guessed.set(slot, guesses)
      }
      const gone = guesses.add(keys)
      index.tell({ _tag: "Stored", worker: slot, parent: null, keys })
      if (gone.length > 0) index.tell({ _tag: "Removed", worker: slot, keys: gone })
    },
    pool,
    forward,
    inFlight,
    workersMax,
    retriesMax: config.retriesMax,
    draining: () => draining,
    now,
    settled: observe.settled,
    refused: observe.refused
  })
  const apply = Effect.fnUntraced(function* (next: Config.Config) {
    fleet.alias(next.modelAliases)
    for (const refused of yield* fleet.set(Config.workers(next))) yield* Effect.logError(refused.message)
  })
  yield* apply(config)
  // What engines say of their load, as it becomes known.
  const hinted = new Map<number, number | null>()
  yield* Effect.sync(() => {
    for (const { load, loadAtMs, slot } of fleet.list()) {
      if (load === null || hinted.get(slot) === loadAtMs) continue
      hinted.set(slot, loadAtMs)
      ledger.hint(slot, load, now())
    }
  }).pipe(
    Effect.andThen(Effect.sleep(config.probeIntervalMs)),
    Effect.forever,
    Effect.tapCause((cause) => Effect.logError("Engines' load is no longer read", cause)),
    Effect.forkScoped
  )

  const admin = yield* Admin.listen(
    { host: config.adminHost, port: config.adminPort },
    {
      list: fleet.list,
      find: fleet.find,
      add: (spec) => fleet.add(spec),
      remove: fleet.remove,
      cache: observe.cache,
      blocks: index.dump,
      config: () => ({ ...config, tokenizing: tokenizers.list() }),
      metrics: observe.metrics
    }
  )

  front = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () =>
        Front.listen(
          {
            host: config.host,
            port: config.port,
            headBytesMax: config.headBytesMax,
            bodyBytesMax: config.bodyBytesMax,
            headMs: config.clientHeadTimeoutMs,
            bodyMs: config.clientBodyTimeoutMs,
            idleMs: config.clientIdleTimeoutMs
          },
          {
            request,
            refuse: (status, refusal, message) => {
              observe.refused(status)
              return errorBody(message, "invalid_request_error", null, refusal)
            }
          }
        ),
      catch: (cause) =>
        new ListenFailed({
          host: config.host,
          port: config.port,
          detail: cause instanceof Error ? cause.message : String(cause)
        })
    }),
    (listening) =>
      Effect.gen(function* () {
        draining = true
        if (listening.inFlight() > 0) {
          yield* Effect.logInfo(
            `Draining: ${listening.inFlight()} requests in flight may take ${config.drainMs} ms more`
          )
        }
        yield* Effect.promise(() => listening.drain(config.drainMs))
      })
  )
  return {
    url: localUrl(config.host, front.port),
    adminUrl: localUrl(config.adminHost, admin.port),
    apply,
    able: () => fleet.list().filter(({ state }) => Lifecycle.takesWork(state)).length
  }
})
