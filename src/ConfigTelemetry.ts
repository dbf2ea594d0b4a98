/** ConfigTelemetry: the knobs of what the router tells of itself: traces, metrics, receipts and logs. */
import { Schema } from "effect"
import { between, bytes, knob, MiB, ms, numeric } from "./ConfigKnob.ts"

const isCollector = Schema.makeFilter((text: string) => {
  const url = URL.canParse(text) ? new URL(text) : null
  return (
    (url !== null &&
      /^https?:$/.test(url.protocol) &&
      [url.username, url.password, url.search, url.hash].every((part) => part === "")) ||
    "must be the address of a collector, http://host:4318, or http://host:4317 for grpc, without user, password or query: what it wants to know is OTEL_EXPORTER_OTLP_HEADERS"
  )
})

export const knobs = {
  otlpEndpoint: knob<string | null>(
    Schema.String.check(isCollector),
    null,
    "OpenTelemetry collector that gets traces and metrics; none, as not everybody has one. Headers and certificates: the usual OTEL_EXPORTER_OTLP_… variables.",
    { env: "OTEL_EXPORTER_OTLP_ENDPOINT" }
  ),
  otlpProtocol: knob(
    Schema.Literals(["http/protobuf", "http/json", "grpc"]),
    "http/protobuf",
    "How the collector is spoken to; http/protobuf is what OpenTelemetry recommends.",
    { env: "OTEL_EXPORTER_OTLP_PROTOCOL" }
  ),
  otlpMetricsMs: ms(
    15_000,
    "Time between two exports of metrics to the collector; as often as Prometheus usually asks.",
    100
  ),
  serviceName: knob<string | null>(
    Schema.NonEmptyString,
    null,
    "Name of this router in traces and metrics, for fleets that share a collector; none, and then what OTEL_RESOURCE_ATTRIBUTES says, or warmpath.",
    { env: "OTEL_SERVICE_NAME" }
  ),
  traceRatio: knob(
    Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
    0.01,
    "Share of traces begun here that are kept; one in a hundred shows what is usual. A client's own decision goes before it, errors and slow requests are kept always.",
    { unit: "share", env: "WARMPATH_TRACE_RATIO", shape: numeric }
  ),
  traceSlowMs: ms(
    10_000,
    "Time to the first token, or to the whole answer where none is streamed, from which a request counts as slow, and its trace is kept; what a person notices.",
    0
  ),
  receiptsMax: knob(
    between(0, 1_000_000),
    2_000,
    "Receipts kept in memory, the newest: why each request went where it went; some 3 to 15 KB each. 0: none are made.",
    { unit: "receipts" }
  ),
  receiptsFile: knob<string | null>(
    Schema.NonEmptyString,
    null,
    "File that every receipt is added to, a JSON line each; none, since disks fill. `warmpath replay --receipts` reads it."
  ),
  receiptsFileBytes: bytes(
    64 * MiB,
    "Size at which that file is set aside and a new one begun; of those, eight are kept.",
    64 * 1024
  ),
  receiptsSubject: knob<string | null>(
    Schema.String.check(Schema.isPattern(/^[^\s*>.]+(\.[^\s*>.]+)*$/)),
    null,
    "NATS subject that every receipt is published to, with nats; none, since nobody may listen."
  ),
  logFormat: knob(
    Schema.Literals(["auto", "pretty", "json"]),
    "auto",
    "How lines of the log look; auto is pretty on a terminal, else json, one object a line.",
    { env: "WARMPATH_LOG_FORMAT" }
  ),
  logLevel: knob(
    Schema.Literals(["debug", "info", "warn", "error"]),
    "info",
    "Least level that is logged; at info one line for each change of state, none for requests.",
    { env: "WARMPATH_LOG_LEVEL" }
  )
}

type Given = { readonly [K in keyof typeof knobs]: (typeof knobs)[K]["fallback"] }

/** What single knobs cannot see. */
export const together = ({
  deployment,
  nats,
  receiptsFile,
  receiptsMax,
  receiptsSubject
}: Given & { readonly deployment: string; readonly nats: ReadonlyArray<string> }): ReadonlyArray<string> => {
  const problems: Array<string> = []
  if (receiptsSubject !== null && nats.length === 0) {
    problems.push("receiptsSubject needs nats: give --nats, or leave it out")
  }
  if (receiptsSubject?.startsWith(`warmpath.${deployment}.`)) {
    problems.push(`receiptsSubject is "${receiptsSubject}", among those that routers use themselves: choose another`)
  }
  if (receiptsMax === 0 && (receiptsFile !== null || receiptsSubject !== null)) {
    const asking = receiptsFile === null ? "receiptsSubject" : "receiptsFile"
    problems.push(`${asking} needs receipts: let receiptsMax be above 0, or leave it out`)
  }
  return problems
}
