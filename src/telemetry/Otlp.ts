/**
 * Otlp: a collector, and how it is spoken to. Headers, certificates, compression and timeouts are those of the usual
 * `OTEL_EXPORTER_OTLP_…` variables, which the exporters read themselves; only those of the protocol are loaded.
 */
import { type ExportResult, ExportResultCode } from "@opentelemetry/core"
import { detectResources, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources"
import type { PushMetricExporter } from "@opentelemetry/sdk-metrics"
import type { SpanExporter } from "@opentelemetry/sdk-trace"
import { ATTR_SERVICE_INSTANCE_ID, ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from "@opentelemetry/semantic-conventions"

export type Protocol = "http/protobuf" | "http/json" | "grpc"

export interface Exporters {
  readonly spans: SpanExporter
  readonly metrics: PushMetricExporter
}

/** `endpoint`: without the paths of signals, which are added for HTTP. */
export const exporters = async (protocol: Protocol, endpoint: string): Promise<Exporters> => {
  const base = endpoint.replace(/\/+$/, "")
  const traces = { url: `${base}/v1/traces` }
  const metrics = { url: `${base}/v1/metrics` }
  switch (protocol) {
    case "http/protobuf": {
      const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto")
      const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-proto")
      return { spans: new OTLPTraceExporter(traces), metrics: new OTLPMetricExporter(metrics) }
    }
    case "http/json": {
      const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-http")
      const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-http")
      return { spans: new OTLPTraceExporter(traces), metrics: new OTLPMetricExporter(metrics) }
    }
    case "grpc": {
      const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc")
      const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-grpc")
      return { spans: new OTLPTraceExporter({ url: base }), metrics: new OTLPMetricExporter({ url: base }) }
    }
  }
}

export interface Identity {
  /** Null: what `OTEL_RESOURCE_ATTRIBUTES` says, or else warmpath. */
  readonly name: string | null
  readonly version: string
  readonly instance: string
}

/** Who exports: with what `OTEL_RESOURCE_ATTRIBUTES` says besides. */
export const resourceOf = ({ instance, name, version }: Identity): Resource =>
  resourceFromAttributes({ [ATTR_SERVICE_NAME]: "warmpath" })
    .merge(detectResources({ detectors: [envDetector] }))
    .merge(
      resourceFromAttributes({
        ...(name === null ? {} : { [ATTR_SERVICE_NAME]: name }),
        [ATTR_SERVICE_VERSION]: version,
        [ATTR_SERVICE_INSTANCE_ID]: instance
      })
    )

interface Exports<T> {
  export(items: T, done: (result: ExportResult) => void): void
}

/** Why it failed: never in the words of a collector that answered, which may repeat the headers it was sent. */
const whyOf = (error: (Error & { readonly code?: unknown }) | undefined): string => {
  if (error === undefined) return "it did not say why"
  // Of HTTP a status, of gRPC a code, which begins its message.
  if (typeof error.code === "number") return `it answered ${/^\d+ [A-Z_]+/.exec(error.message)?.[0] ?? error.code}`
  return error.message
}

/** Tells when an exporter begins to fail, and why; and when it works again: null. Never twice the same. */
export const watched = <T, E extends Exports<T>>(exporter: E, tell: (why: string | null) => void): E => {
  let failing = false
  const send = exporter.export.bind(exporter)
  exporter.export = (items, done) =>
    send(items, (result) => {
      const failed = result.code !== ExportResultCode.SUCCESS
      if (failed !== failing) {
        failing = failed
        tell(failed ? whyOf(result.error) : null)
      }
      done(result)
    })
  return exporter
}
