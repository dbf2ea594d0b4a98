/**
 * Spans: finished spans on their way to a collector. They are made when all is over, with the ids and times they had, and
 * go to OpenTelemetry's batch processor as they are: no tracer, no context, nothing while requests run.
 *
 * The queue is bounded. What does not fit is dropped and counted, all spans of one request together: part of a trace misleads.
 */
import {
  type Attributes,
  type HrTime,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags
} from "@opentelemetry/api"
import { TraceState } from "@opentelemetry/core"
import type { Resource } from "@opentelemetry/resources"
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from "@opentelemetry/sdk-trace"

export interface Span {
  readonly name: string
  readonly kind: "internal" | "server" | "client" | "consumer"
  readonly traceId: string
  readonly spanId: string
  /** Null for the root of a trace. */
  readonly parentId: string | null
  /** `tracestate` of the trace; null: it has none. */
  readonly state: string | null
  /** ms since the epoch, with fractions. */
  readonly startMs: number
  readonly endMs: number
  readonly attributes: Attributes
  readonly events?: ReadonlyArray<{ readonly name: string; readonly atMs: number }>
  /** What went wrong, for people; null or left out: nothing. */
  readonly error?: string | null
}

export interface Counts {
  /** Spans that the collector took. */
  exported: number
  /** Spans that it did not get: the queue was full, or it was away for too long. */
  dropped: number
}

export interface Spans {
  /** The spans of one request. */
  readonly add: (spans: ReadonlyArray<Span>) => void
  readonly counts: Readonly<Counts>
  /** Sends what is queued, and ends; rejects when that cannot be. */
  readonly shutdown: () => Promise<void>
}

/** Some 4 MB; a few seconds of sampled requests, or a collector that is away for as long. */
export const queueMax = 4_096
/** Before spans are sent: what is seen is a second old. */
const delayMs = 1_000

const kinds = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  consumer: SpanKind.CONSUMER
}
/** Success as `ExportResultCode` has it. */
const succeeded = 0

export const make = (exporter: SpanExporter, resource: Resource, version: string): Spans => {
  const counts: Counts = { exported: 0, dropped: 0 }
  let queued = 0
  const counted: SpanExporter = {
    export: (spans, done) => {
      queued -= spans.length
      exporter.export(spans, (result) => {
        counts[result.code === succeeded ? "exported" : "dropped"] += spans.length
        done(result)
      })
    },
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown()
  }
  const processor = new BatchSpanProcessor({
    exporter: counted,
    maxQueueSize: queueMax,
    maxExportBatchSize: 512,
    scheduledDelayMillis: delayMs
  })
  const scope = { name: "warmpath", version }
  return {
    counts,
    add: (spans) => {
      if (queued + spans.length > queueMax) {
        counts.dropped += spans.length
        return
      }
      queued += spans.length
      for (const span of spans) processor.onEnd(readable(span, resource, scope))
    },
    shutdown: () => processor.shutdown()
  }
}

const timeOf = (ms: number): HrTime => {
  const seconds = Math.floor(ms / 1_000)
  return [seconds, Math.round((ms - seconds * 1_000) * 1e6)]
}

const readable = (span: Span, resource: Resource, scope: ReadableSpan["instrumentationScope"]): ReadableSpan => {
  const { error, events = [], parentId, spanId, state, traceId } = span
  // What is kept though it was not sampled at the head is sampled here; its parent may not be known to the collector.
  const context: SpanContext = { traceId, spanId, traceFlags: TraceFlags.SAMPLED }
  if (state !== null) context.traceState = new TraceState(state)
  const endMs = Math.max(span.startMs, span.endMs)
  return {
    name: span.name,
    kind: kinds[span.kind],
    spanContext: () => context,
    ...(parentId === null ? {} : { parentSpanContext: { ...context, spanId: parentId } }),
    startTime: timeOf(span.startMs),
    endTime: timeOf(endMs),
    duration: timeOf(endMs - span.startMs),
    status: error == null ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: error },
    attributes: span.attributes,
    links: [],
    events: events.map(({ atMs, name }) => ({ name, time: timeOf(atMs) })),
    ended: true,
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0
  }
}
