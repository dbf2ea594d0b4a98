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
import * as Delivery from "../actors/Delivery.ts"
import * as Fleet from "../actors/Fleet.ts"
import * as Lifecycle from "../actors/FleetLifecycle.ts"
import { Guesses } from "../actors/Guesses.ts"
import { Ledger } from "../actors/Ledger.ts"
import { PrefixIndex } from "../actors/PrefixIndex.ts"
import { Trust } from "../actors/Trust.ts"
import * as Engines from "./adapters/Engines.ts"
import { describe } from "./adapters/kvevents/EngineHash.ts"
import * as EventSocket from "./adapters/zmq/EventSocket.ts"
import * as Config from "./Config.ts"
import type { EventSource } from "./domain/Worker.ts"
import * as BlockHash from "./hot/BlockHash.ts"
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

/** From hearing of a block to predicting it: a turn or two, and a busy second at most. */
const heardBeforeMs = 1_000

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

/**
 * Where the events of a slot come from; null where there are none, or those of several ranks: what one of them holds is
 * not what the worker does.
 */
const sourceOf = ({ facts: { eventSources, ranks }, slots }: Fleet.Worker, slot: number): EventSource | null => {
  const rank = ranks[slots.indexOf(slot)]
  if (rank !== undefined) return eventSources.find((source) => source.rank === rank) ?? null
  return eventSources.length === 1 ? eventSources[0]! : null
}

/** What a slot's collector must be started anew for: where events come from, and what their keys are made with. */
const eventsOf = (worker: Fleet.Worker, slot: number): string => {
  const { blockCount, blockSize } = worker.facts
  return JSON.stringify([worker.model, sourceOf(worker, slot), blockSize, blockCount])
}

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
      Collector.layer({ hasher, quietMs: config.replayCheckMs }).pipe(
        Layer.provide(EventSocket.layerWith({ replayTimeoutMs: config.replayTimeoutMs }))
      ),
      Guesses.layer,
      Trust.layer,
      Ledger.layer({ policy: config.policy, workersMax })
    ).pipe(Layer.provide(bus))
  )
  const index = Context.get(services, PrefixIndex)
  const collector = Context.get(services, Collector)
  const guesses = Context.get(services, Guesses)
  const trust = Context.get(services, Trust)
  const ledger = Context.get(services, Ledger)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const engines = yield* Effect.acquireRelease(Effect.sync(Engines.make), (made) => Effect.promise(made.close))

  const inFlight = new Uint32Array(workersMax)
  const blockSizes = new Uint32Array(workersMax).fill(blockSizeDefault)
  /** 1 where events tell all there is of a slot: nothing need be guessed of what they could tell. */
  const told = new Uint8Array(workersMax)
  /** 1 where something was guessed that events will tell of; what was keyed by its text they never do. */
  const bridged = new Uint8Array(workersMax)
  /** Engine lives that events have told of. */
  const restarts = new Uint32Array(workersMax)

  const nameOf = ({ facts, slots, spec }: Fleet.Worker, slot: number): string =>
    slots.length === 1 ? spec.id : `${spec.id}/dp${facts.ranks[slots.indexOf(slot)]}`

  const follow = (worker: Fleet.Worker, slot: number): void => {
    const { engine, facts, model, slots } = worker
    const source = sourceOf(worker, slot)
    if (source === null) {
      const count = facts.eventSources.length
      if (slots.length === 1 && count > 1) {
        trust.health(slot, "absent", `events of ${count} ranks, and no request can name one`)
      }
      return
    }
    const { blockCount, blockSize } = facts
    fork(
      collector.start({
        name: nameOf(worker, slot),
        slot,
        model,
        source,
        blockSize,
        blockCount,
        decode: engine.decode,
        describe
      })
    )
  }

  /** Withdraws at once what events told of a slot. */
  const unfollow = (slot: number): void => {
    fork(collector.stop(slot))
    told[slot] = 0
  }

  /** A block size, told or learned; what cannot be hashed with is not believed. */
  const setBlockSize = (slot: number, blockSize: number | null, blockCount: number | null): void => {
    if (blockSize !== null && blockSize >= 1 && blockSize <= BlockHash.blockSizeMax && blockSize !== blockSizes[slot]) {
      blockSizes[slot] = blockSize
      // Made of blocks of another size, guesses are found by nobody.
      guesses.forget(slot)
    }
    if (blockCount !== null) ledger.setCapacity(slot, blockCount * blockSizes[slot]!)
  }
  const learnFacts = ({ facts: { blockCount, blockSize }, slots }: Fleet.Worker): void => {
    for (const slot of slots) {
      // What its events show outranks what it says.
      setBlockSize(slot, collector.state(slot)?.blockSize ?? blockSize, blockCount)
      guesses.told(slot, blockCount)
    }
  }

  const fleet = Context.get(
    yield* Layer.build(
      Fleet.Fleet.layer({
        knobs: knobsOf(config),
        aliases: config.modelAliases,
        detect: engines.detect,
        inFlight: (slot) => inFlight[slot]!,
        reusable: index.reusable,
        onJoin: (worker) => {
          for (const slot of worker.slots) {
            blockSizes[slot] = blockSizeDefault
            ledger.join(slot, null)
            ledger.setEligible(slot, true)
            trust.join(slot, nameOf(worker, slot))
            follow(worker, slot)
          }
          learnFacts(worker)
          tokenizers.learn(worker)
        },
        onChange: (worker, before, restarted) => {
          learnFacts(worker)
          tokenizers.learn(worker)
          for (const slot of worker.slots) {
            if (restarted) {
              trust.restarted(slot)
              // Events tell of a restart themselves; guesses are void.
              guesses.forget(slot)
            }
            if (eventsOf(worker, slot) === eventsOf(before, slot)) continue
            unfollow(slot)
            trust.health(slot, "absent", "no events")
            follow(worker, slot)
          }
        },
        onVacate: (slot) => {
          unfollow(slot)
          ledger.leave(slot)
          trust.leave(slot)
          guesses.leave(slot)
          index.drop(slot)
        },
        onLeave: (worker) => {
          const others = fleet.list().filter((other) => other.spec.id !== worker.spec.id)
          if (!others.some(({ spec }) => originOf(spec) === originOf(worker.spec))) {
            pool.forget(pool.origin(worker.spec.url))
          }
          if (!others.some(({ slots }) => fleet.worker(slots[0]!)?.model === worker.model)) {
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

  collector.onState((slot, state) => {
    setBlockSize(slot, state.blockSize, fleet.worker(slot)?.facts.blockCount ?? null)
    trust.health(slot, state.health, state.why)
    const tellsAll = state.health === "whole" && state.complete
    // Nobody would tell that a guess was wrong.
    if ((tellsAll && bridged[slot] === 1) || state.restarts !== restarts[slot]) {
      guesses.forget(slot)
      bridged[slot] = 0
    }
    restarts[slot] = state.restarts
    told[slot] = tellsAll ? 1 : 0
  })
  trust.onChange((slot, { credit }) => ledger.setCredit(slot, credit))
  trust.onSuspect(collector.resync)
  index.onReset(() => {
    for (const { slots } of fleet.list()) for (const slot of slots) guesses.forget(slot)
    collector.resync()
  })

  let draining = false
  let front: Front.FrontServer | null = null
  const observe = Observe.make({
    fleet,
    index,
    collector,
    trust,
    guesses,
    ledger,
    now,
    inFlight: () => front?.inFlight() ?? 0,
    inFlightOf: (slot) => inFlight[slot]!
  })
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
    depths: index.depths,
    blockSizeOf: (slot) => blockSizes[slot]!,
    tokenizerOf: ({ model }) => tokenizers.of(model),
    computed: (slot, prompts, exact) => {
      // It may have left since: whatever is stored for it would keep its slot for ever.
      if ((exact && told[slot] === 1) || fleet.worker(slot) === undefined) return null
      if (exact) bridged[slot] = 1
      const blockSize = blockSizes[slot]!
      const settled = guesses.computed(slot, prompts)
      const count = prompts.reduce((sum, keys) => sum + keys.length / 2, 0)
      return ({ cachedTokens, outputTokens, promptTokens }) => {
        // Blocks of text have other bounds than the engine's: what it found is about the same share of both.
        const perBlock = exact || promptTokens === null || promptTokens === 0 ? blockSize : promptTokens / count
        settled({
          reportedBlocks: cachedTokens === null ? null : Math.floor(cachedTokens / perBlock),
          estimated: !exact,
          outputBlocks: outputTokens === null ? null : Math.ceil(outputTokens / blockSize)
        })
      }
    },
    rankOf: fleet.rank,
    reportsFull: collector.refreshes,
    pool,
    forward,
    inFlight,
    workersMax,
    retriesMax: config.retriesMax,
    draining: () => draining,
    now,
    settled: (record) => {
      observe.settled(record)
      const { deliveredTokens, outcome, predictedTokens, promptTokens, prompts, slot, status, totalMs } = record
      if (slot === null || outcome !== "complete" || status >= 300) return
      const scale = Delivery.scale(record)
      // Of several prompts some engines report the first, or the last.
      const reports =
        prompts === 1 &&
        deliveredTokens !== null &&
        trust.delivered(slot, predictedTokens * scale, deliveredTokens, promptTokens * scale)
      const complete = !reports && (collector.state(slot)?.complete ?? false)
      if (!Delivery.stored(record, reports, complete, blockSizes[slot]!)) return
      // What was predicted may be older than what was heard just before.
      collector.expected(slot, totalMs + (reports ? 0 : heardBeforeMs))
    },
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
    for (const { facts, load, loadAtMs, slots } of fleet.list()) {
      for (const [i, slot] of slots.entries()) {
        if (load === null || hinted.get(slot) === loadAtMs) continue
        hinted.set(slot, loadAtMs)
        const rank = facts?.ranks[i]
        const own = rank === undefined ? load : load.ranks.get(rank)
        if (own !== undefined) ledger.hint(slot, own, now())
      }
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
      rank: observe.rank,
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
