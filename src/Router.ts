/**
 * Router: one whole router, from its configuration. Where actors, adapters and the HTTP side meet; nothing is decided here.
 *
 * Closing its scope shuts it down in order: stop accepting, let what is in flight finish, leave.
 */
import { homedir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { Context, Effect, Layer, Schema, type Scope } from "effect"
import * as Admission from "../actors/Admission.ts"
import { Collector } from "../actors/Collector.ts"
import * as Fleet from "../actors/Fleet.ts"
import * as Lifecycle from "../actors/FleetLifecycle.ts"
import { Guesses } from "../actors/Guesses.ts"
import { Ledger } from "../actors/Ledger.ts"
import * as Pictures from "../actors/Pictures.ts"
import { PrefixIndex } from "../actors/PrefixIndex.ts"
import { Trust } from "../actors/Trust.ts"
import * as Engines from "./adapters/Engines.ts"
import { describe } from "./adapters/kvevents/EngineHash.ts"
import * as EventSocket from "./adapters/zmq/EventSocket.ts"
import * as Config from "./Config.ts"
import * as FleetKnobs from "./FleetKnobs.ts"
import * as BlockHash from "./hot/BlockHash.ts"
import * as Admin from "./http/Admin.ts"
import * as AdminExplain from "./http/AdminExplain.ts"
import * as AdminReceipts from "./http/AdminReceipts.ts"
import * as Front from "./http/Front.ts"
import * as Pool from "./http/Pool.ts"
import { errorBody } from "./http/Problem.ts"
import * as ReceiptOf from "./http/ReceiptOf.ts"
import * as Request from "./http/Request.ts"
import { forward } from "./http/Upstream.ts"
import * as Noted from "./Noted.ts"
import * as Observe from "./Observe.ts"
import { EventBus } from "./ports/EventBus.ts"
import { EventStream } from "./ports/EventStream.ts"
import type { StoreUnusable } from "./ports/StateStore.ts"
import * as ReceiptSinks from "./ReceiptSinks.ts"
import * as Remembered from "./Remembered.ts"
import * as Replicas from "./Replicas.ts"
import * as Store from "./Store.ts"
import * as Tokenizers from "./Tokenizers.ts"
import * as Watched from "./Watched.ts"

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

/** What a tool may put in place of the router's own. */
export interface Parts {
  /** Another way to choose, or the same on another clock. */
  readonly ledger?: Layer.Layer<Ledger>
}

const now = () => performance.now()

const originOf = ({ url }: { readonly url: string }): string => new URL(url).origin

const localUrl = (host: string, port: number): string => {
  const shown = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
  return `http://${shown.includes(":") ? `[${shown}]` : shown}:${port}`
}

/** Starts a router; it runs until the scope closes. */
export const start = Effect.fnUntraced(function* (
  config: Config.Config,
  hubCache = join(homedir(), ".cache", "huggingface", "hub"),
  parts: Parts = {}
): Effect.fn.Return<
  Router,
  ListenFailed | Admin.AdminListenFailed | ReceiptSinks.ReceiptsFileUnusable | StoreUnusable,
  Scope.Scope
> {
  const { workersMax } = config
  const hasher = BlockHash.make(BigInt(config.hashSeed))
  const store = yield* Store.open(config)
  const direct = EventSocket.layerWith({ replayTimeoutMs: config.replayTimeoutMs })
  const replicas = config.nats.length === 0 ? null : yield* Replicas.open(config, direct)
  const services = yield* Layer.build(
    Layer.mergeAll(
      PrefixIndex.layer({ workersMax, bytesMax: config.indexBytesMax }),
      Collector.layer({ hasher, quietMs: config.replayCheckMs }).pipe(
        Layer.provide(replicas === null ? direct : Layer.succeed(EventStream, replicas.stream))
      ),
      Guesses.layer,
      Trust.layer,
      parts.ledger ?? Ledger.layer({ policy: config.policy, workersMax })
    ).pipe(Layer.provideMerge(EventBus.layerMemory))
  )
  const index = Context.get(services, PrefixIndex)
  const collector = Context.get(services, Collector)
  const guesses = Context.get(services, Guesses)
  const trust = Context.get(services, Trust)
  const ledger = Context.get(services, Ledger)
  const joined = replicas === null ? null : yield* replicas.join(services, ledger, now)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const engines = yield* Effect.acquireRelease(Effect.sync(Engines.make), (made) => Effect.promise(made.close))

  const inFlight = new Uint32Array(workersMax)
  const pictures = Pictures.make({
    workersMax,
    collector,
    guesses,
    index,
    ledger,
    trust,
    workerOf: (slot) => fleet.worker(slot),
    describe,
    heard: (publishedAt) => observe.heard(publishedAt),
    fork
  })
  const remembered =
    store === null
      ? null
      : yield* Remembered.make({
          config,
          store,
          index,
          pictures,
          guesses,
          workerOf: (slot) => fleet.worker(slot),
          writes: (name) => replicas?.isFirst(name) ?? true,
          now
        })

  const fleet = Context.get(
    yield* Layer.build(
      Fleet.Fleet.layer({
        knobs: FleetKnobs.of(config),
        aliases: config.modelAliases,
        detect: engines.detect,
        inFlight: (slot) => inFlight[slot]!,
        reusable: index.reusable,
        onJoin: (worker) => {
          pictures.join(worker)
          remembered?.join(worker)
          for (const slot of worker.slots) joined?.link.join(slot, Pictures.nameOf(worker, slot))
          tokenizers.learn(worker)
        },
        onChange: (worker, before, restarted) => {
          pictures.change(worker, before, restarted)
          remembered?.change(worker)
          tokenizers.learn(worker)
        },
        onVacate: (slot) => {
          joined?.link.leave(slot)
          remembered?.leave(slot)
          pictures.vacate(slot)
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

  const shared = joined === null ? null : yield* joined.share(fleet)

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

  const { otlpEndpoint } = config
  const instance = replicas?.id ?? config.replicaId ?? Replicas.newId()
  const traced =
    otlpEndpoint === null
      ? null
      : yield* (yield* Effect.promise(() => import("./Traced.ts"))).open({
          config: { ...config, otlpEndpoint },
          instance,
          policy: ledger.policy,
          collect: () => observe.collect(),
          workersMax,
          workerOf: fleet.worker,
          bus: Context.get(services, EventBus),
          collector,
          index,
          readerOf: replicas?.readerOf ?? (() => instance),
          now
        })

  let draining = false
  let front: Front.FrontServer | null = null
  const sinks = yield* ReceiptSinks.make<Request.Settled>({
    config,
    publish: replicas?.publish ?? null,
    receipt: (settled) => ReceiptOf.receiptOf(settled, ledger.policy)
  })
  const observe = Observe.make({
    fleet,
    index,
    collector,
    trust,
    guesses,
    ledger,
    now,
    inFlight: () => front?.inFlight() ?? 0,
    inFlightOf: (slot) => inFlight[slot]!,
    waiting: () => admission.waiting(),
    ...(shared === null ? {} : { replicas: shared.numbers }),
    ...(remembered === null ? {} : { store: remembered.numbers }),
    ...(traced === null ? {} : { spans: traced.counts }),
    ...(sinks === null ? {} : { receiptSinks: sinks.numbers })
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
  const unready = () => joined?.unready() ?? null
  const noted = Noted.make({
    config,
    policy: ledger.policy,
    workersMax,
    collector,
    trust,
    blockSizes: pictures.blockSizes,
    workerOf: fleet.worker
  })
  const watched = Watched.make({
    fleet,
    index,
    trust,
    ledger,
    receipts: noted.receipts,
    inFlight: () => front?.inFlight() ?? 0,
    workersMax,
    now
  })
  /** What it takes to place a request, and to say where one would go. */
  const placing = {
    fleet,
    ledger: joined?.link.ledger ?? ledger,
    hasher,
    depths: index.depths,
    ...(remembered?.overflow == null ? {} : { overflow: remembered.overflow }),
    blockSizes: pictures.blockSizes,
    tokenizerOf: ({ model }: { readonly model: string }) => tokenizers.of(model),
    workersMax,
    now
  }
  const admission = Admission.make({
    ledger: placing.ledger,
    workersMax,
    waitingMax: config.waitingMax,
    after: (ms, run) => void setTimeout(() => run(now()), ms)
  })
  if (sinks !== null) noted.receipts?.listen(sinks.add)
  const request = Request.make({
    ...placing,
    admission,
    evicted: pictures.evicted,
    computed: pictures.computed,
    rankOf: fleet.rank,
    reportsFull: collector.refreshes,
    pool,
    forward,
    inFlight,
    retriesMax: config.retriesMax,
    draining: () => draining,
    unready,
    ...(noted.receipts === null ? {} : { witness: noted.witness }),
    ...(traced === null ? {} : { traces: traced.traces }),
    prompted: watched.prompted,
    settled: (record) => {
      observe.settled(record)
      traced?.settled(record)
      noted.receipts?.add(record)
      watched.settled(record)
      const { outcome, slot, status, totalMs } = record
      if (slot !== null && outcome === "complete" && status < 300) pictures.delivered(slot, record, totalMs)
    },
    refused: (status, trail) => {
      observe.refused(status)
      traced?.refused(status, trail)
    }
  })
  const apply = Effect.fnUntraced(function* (next: Config.Config) {
    fleet.alias(next.modelAliases)
    for (const refused of yield* (shared?.fleet ?? fleet).set(Config.workers(next)))
      yield* Effect.logError(refused.message)
  })
  yield* apply(config)
  joined?.listed(fleet.list)
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
      ...(shared === null ? {} : { share: shared.fleet, cluster: shared.shown }),
      ...(remembered === null ? {} : { store: remembered.shown }),
      prefix: {
        fleet,
        hasher,
        tokenizerOf: ({ model }) => tokenizers.of(model),
        depths: index.depths,
        blockSizes: pictures.blockSizes,
        workersMax,
        bodyBytesMax: config.bodyBytesMax,
        ...(store === null ? {} : { store })
      },
      unready: () => (draining ? "draining" : unready()),
      rank: observe.rank,
      blocks: index.dump,
      page: watched.page,
      rooms: {
        ...watched.rooms,
        receipts: AdminReceipts.room(noted.receipts, config.receiptsMax),
        explain: AdminExplain.room({ ...placing, witness: noted.witness, bodyBytesMax: config.bodyBytesMax })
      },
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
        joined?.draining()
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
