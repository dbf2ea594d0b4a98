/**
 * Traced: what this router tells an OpenTelemetry collector: its metrics, and the traces that are worth keeping. Built, and
 * loaded, only where `otlpEndpoint` is set; else clients' trace headers pass as they came.
 *
 * A trace is kept when it is sampled at the head, or when the request failed or was slow, which only its end tells. Until then
 * nothing is made of it but two ids.
 */
import { Effect, type Scope } from "effect"
import packageJson from "warmpath/package.json" with { type: "json" }
import { BlockWatch } from "../actors/BlockWatch.ts"
import type { Collector } from "../actors/Collector.ts"
import type { Worker } from "../actors/FleetEntry.ts"
import type { PrefixIndex } from "../actors/PrefixIndex.ts"
import type { Config } from "./Config.ts"
import type { Settled } from "./http/Request.ts"
import * as SpansOf from "./http/SpansOf.ts"
import type { Trace, Traces, Trail, Try } from "./http/Trail.ts"
import type * as TrySpans from "./http/TrySpans.ts"
import type { EventBus } from "./ports/EventBus.ts"
import type { Registry } from "./telemetry/Metrics.ts"
import * as Otlp from "./telemetry/Otlp.ts"
import * as OtlpMetrics from "./telemetry/OtlpMetrics.ts"
import * as Spans from "./telemetry/Spans.ts"
import * as TraceContext from "./telemetry/TraceContext.ts"

export interface Deps {
  readonly config: Config & { readonly otlpEndpoint: string }
  /** This router, among others. */
  readonly instance: string
  readonly policy: string
  readonly collect: Registry["collect"]
  readonly workersMax: number
  readonly workerOf: (slot: number) => Worker | undefined
  readonly bus: EventBus["Service"]
  readonly collector: Pick<Collector["Service"], "lastBatch">
  readonly index: Pick<PrefixIndex["Service"], "caughtUp">
  /** Which replica reads a publisher for this one. */
  readonly readerOf: (name: string) => string | null
  readonly now: () => number
}

export interface Traced {
  readonly traces: Traces
  readonly settled: (record: Settled) => void
  readonly refused: (status: number, trail: Trail | null) => void
  readonly counts: Readonly<Spans.Counts>
}

/** A collector that is away must not hold up a shutdown for longer. */
const flushMsMax = 3_000

export const open = Effect.fnUntraced(function* (deps: Deps): Effect.fn.Return<Traced, never, Scope.Scope> {
  const { bus, collector, config, index, instance, now, policy } = deps
  const { otlpEndpoint, otlpProtocol, traceSlowMs } = config
  const { version } = packageJson
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const told = (what: string) => (why: string | null) =>
    void fork(
      why === null
        ? Effect.logInfo(`The collector at ${otlpEndpoint} takes ${what} again`)
        : Effect.logWarning(`The collector at ${otlpEndpoint} takes no ${what}: ${why}. They are dropped until it does`)
    )
  const resource = Otlp.resourceOf({ name: config.serviceName, version, instance })
  const exporters = yield* Effect.promise(() => Otlp.exporters(otlpProtocol, otlpEndpoint))
  const spans = Spans.make(Otlp.watched(exporters.spans, told("traces")), resource, version)
  const metrics = OtlpMetrics.start(
    Otlp.watched(exporters.metrics, told("metrics")),
    OtlpMetrics.producer(deps, resource, version),
    resource,
    config.otlpMetricsMs
  )
  yield* Effect.addFinalizer(() =>
    Effect.promise(() => Promise.allSettled([spans.shutdown(), metrics.shutdown()])).pipe(
      Effect.timeoutOption(Math.min(config.drainMs, flushMsMax))
    )
  )
  const context = TraceContext.make(config.traceRatio)
  const mapping: TrySpans.Deps = {
    policy,
    spanId: context.spanId,
    placeOf: ({ slot, worker: id }) => {
      const worker = deps.workerOf(slot)
      if (worker?.spec.id !== id) return null
      const { hostname, port, protocol } = new URL(worker.spec.url)
      return { address: hostname, port: Number(port) || (protocol === "https:" ? 443 : 80), engine: worker.engine.name }
    }
  }

  const watch = new BlockWatch(deps.workersMax, now)
  yield* bus.subscribe((delta) => {
    watch.hear(delta)
    return true
  })

  /** What events say that the prompt's last block is stored becomes a span of the try that caused it. */
  const applied = (trace: Trace, { slot, spanId: parentId, worker }: Try): void => {
    const batch = collector.lastBatch(slot)
    if (batch === null) return
    const heardMs = now()
    const epochMs = Date.now()
    const reader = deps.readerOf(batch.name) ?? "unknown"
    const tell = (): void =>
      spans.add([
        {
          name: "kv_events apply",
          kind: "consumer",
          traceId: trace.traceId,
          spanId: context.spanId(),
          parentId,
          state: trace.state,
          startMs: epochMs,
          endMs: epochMs + (now() - heardMs),
          attributes: {
            "messaging.system": reader === instance ? "zeromq" : "nats",
            "messaging.operation.name": "apply",
            "messaging.operation.type": "process",
            "warmpath.worker": worker,
            "warmpath.events.publisher": batch.name,
            "warmpath.events.reader": reader,
            "warmpath.events.sequence": batch.seq,
            "warmpath.events.lag_ms": Math.round(epochMs - batch.publishedAt * 1_000)
          }
        }
      ])
    fork(Effect.andThen(index.caughtUp, Effect.sync(tell)))
  }

  const sent: Traces["sent"] = (trace, step, keys) => {
    const last = keys.at(-1)
    if (last === undefined || last.length < 2) return
    watch.wait(step.slot, last[last.length - 2]!, last[last.length - 1]!, () => applied(trace, step))
  }

  return {
    traces: { ...context, sent },
    counts: spans.counts,
    settled: (record) => {
      const { trace } = record.trail
      if (trace === null) return
      const kept = SpansOf.keptOf(record, trace, traceSlowMs)
      if (kept !== null) spans.add(SpansOf.ofSettled(record, trace, kept, mapping))
    },
    refused: (status, trail) => {
      if (trail === null || trail.trace === null) return
      const { trace } = trail
      const kept = trace.sampled ? "sampled" : status >= 500 ? "failed" : null
      if (kept !== null) spans.add(SpansOf.ofRefused(status, trail, trace, kept, mapping))
    }
  }
})
