/**
 * What is said in OTLP: requests of exporters, in protobuf and JSON, made plain.
 *
 * The messages are described by their numbers on the wire, and read by protobufjs. Source: opentelemetry-proto 1.x.
 */
import protobuf from "protobufjs"

export type Value = string | number | boolean | ReadonlyArray<Value> | null
export type Attributes = Readonly<Record<string, Value>>

export interface GotSpan {
  readonly resource: Attributes
  readonly scope: string
  readonly traceId: string
  readonly spanId: string
  /** Empty for a root. */
  readonly parentSpanId: string
  readonly traceState: string
  readonly name: string
  readonly kind: "internal" | "server" | "client" | "producer" | "consumer"
  /** ns since the epoch. */
  readonly start: bigint
  readonly end: bigint
  readonly attributes: Attributes
  readonly events: ReadonlyArray<{ readonly name: string; readonly time: bigint }>
  readonly status: { readonly code: number; readonly message: string }
}

export interface GotPoint {
  readonly attributes: Attributes
  readonly start: bigint
  readonly value: number
  /** Of a histogram. */
  readonly bounds: ReadonlyArray<number>
  readonly counts: ReadonlyArray<number>
}

export interface GotMetric {
  readonly name: string
  readonly description: string
  readonly unit: string
  readonly kind: "gauge" | "sum" | "histogram"
  readonly cumulative: boolean
  readonly monotonic: boolean
  readonly points: ReadonlyArray<GotPoint>
}

/** As OTLP's JSON has it. */
interface WireValue {
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: string | number
  readonly doubleValue?: number
  readonly arrayValue?: { readonly values?: ReadonlyArray<WireValue> }
}
type WirePairs = ReadonlyArray<{ readonly key: string; readonly value?: WireValue }>
interface WireSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly traceState?: string
  readonly name: string
  readonly kind?: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes?: WirePairs
  readonly events?: ReadonlyArray<{ readonly name: string; readonly timeUnixNano: string }>
  readonly status?: { readonly code?: number; readonly message?: string }
}
interface WirePoint {
  readonly attributes?: WirePairs
  readonly startTimeUnixNano?: string
  readonly asDouble?: number
  readonly asInt?: string
  readonly sum?: number
  readonly explicitBounds?: ReadonlyArray<number>
  readonly bucketCounts?: ReadonlyArray<string>
}
interface WireData {
  readonly dataPoints?: ReadonlyArray<WirePoint>
  readonly aggregationTemporality?: number
  readonly isMonotonic?: boolean
}
interface WireMetric {
  readonly name: string
  readonly description?: string
  readonly unit?: string
  readonly gauge?: WireData
  readonly sum?: WireData
  readonly histogram?: WireData
}
interface Wire {
  readonly resourceSpans?: ReadonlyArray<{
    readonly resource?: { readonly attributes?: WirePairs }
    readonly scopeSpans?: ReadonlyArray<{
      readonly scope?: { readonly name?: string }
      readonly spans?: ReadonlyArray<WireSpan>
    }>
  }>
  readonly resourceMetrics?: ReadonlyArray<{
    readonly scopeMetrics?: ReadonlyArray<{ readonly metrics?: ReadonlyArray<WireMetric> }>
  }>
}

const field = (type: string, id: number) => ({ type, id })
const list = (type: string, id: number) => ({ rule: "repeated" as const, type, id })

const root = protobuf.Root.fromJSON({
  nested: {
    AnyValue: {
      oneofs: { value: { oneof: ["stringValue", "boolValue", "intValue", "doubleValue", "arrayValue"] } },
      fields: {
        stringValue: field("string", 1),
        boolValue: field("bool", 2),
        intValue: field("int64", 3),
        doubleValue: field("double", 4),
        arrayValue: field("ArrayValue", 5)
      }
    },
    ArrayValue: { fields: { values: list("AnyValue", 1) } },
    KeyValue: { fields: { key: field("string", 1), value: field("AnyValue", 2) } },
    Resource: { fields: { attributes: list("KeyValue", 1) } },
    Scope: { fields: { name: field("string", 1), version: field("string", 2) } },
    Traces: { fields: { resourceSpans: list("ResourceSpans", 1) } },
    ResourceSpans: { fields: { resource: field("Resource", 1), scopeSpans: list("ScopeSpans", 2) } },
    ScopeSpans: { fields: { scope: field("Scope", 1), spans: list("Span", 2) } },
    Span: {
      fields: {
        traceId: field("bytes", 1),
        spanId: field("bytes", 2),
        traceState: field("string", 3),
        parentSpanId: field("bytes", 4),
        name: field("string", 5),
        kind: field("int32", 6),
        startTimeUnixNano: field("fixed64", 7),
        endTimeUnixNano: field("fixed64", 8),
        attributes: list("KeyValue", 9),
        events: list("Event", 11),
        status: field("Status", 15)
      }
    },
    Event: { fields: { timeUnixNano: field("fixed64", 1), name: field("string", 2) } },
    Status: { fields: { message: field("string", 2), code: field("int32", 3) } },
    Metrics: { fields: { resourceMetrics: list("ResourceMetrics", 1) } },
    ResourceMetrics: { fields: { resource: field("Resource", 1), scopeMetrics: list("ScopeMetrics", 2) } },
    ScopeMetrics: { fields: { scope: field("Scope", 1), metrics: list("Metric", 2) } },
    Metric: {
      fields: {
        name: field("string", 1),
        description: field("string", 2),
        unit: field("string", 3),
        gauge: field("Numbers", 5),
        sum: field("Numbers", 7),
        histogram: field("Histograms", 9)
      }
    },
    Numbers: {
      fields: {
        dataPoints: list("Number", 1),
        aggregationTemporality: field("int32", 2),
        isMonotonic: field("bool", 3)
      }
    },
    Number: {
      fields: {
        startTimeUnixNano: field("fixed64", 2),
        asDouble: field("double", 4),
        asInt: field("sfixed64", 6),
        attributes: list("KeyValue", 7)
      }
    },
    Histograms: { fields: { dataPoints: list("Histogram", 1), aggregationTemporality: field("int32", 2) } },
    Histogram: {
      fields: {
        startTimeUnixNano: field("fixed64", 2),
        count: field("fixed64", 4),
        sum: field("double", 5),
        bucketCounts: list("fixed64", 6),
        explicitBounds: list("double", 7),
        attributes: list("KeyValue", 9)
      }
    }
  }
})

/** Ids are base64 where JSON has hex. */
const decode = (type: "Traces" | "Metrics", bytes: Uint8Array): Wire => {
  const message = root.lookupType(type)
  return message.toObject(message.decode(bytes), { longs: String, bytes: String }) as Wire
}

const hexOf = (id: string | undefined, fromJson: boolean): string =>
  id === undefined ? "" : fromJson ? id : Buffer.from(id, "base64").toString("hex")

const plain = (value: WireValue | undefined): Value => {
  if (value?.intValue !== undefined) return Number(value.intValue)
  if (value?.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plain)
  return value?.stringValue ?? value?.boolValue ?? value?.doubleValue ?? null
}

const attributesOf = (pairs: WirePairs = []): Attributes =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, plain(value)]))

const kinds = ["internal", "internal", "server", "client", "producer", "consumer"] as const

const spanOf = (span: WireSpan, resource: Attributes, scope: string, fromJson: boolean): GotSpan => ({
  resource,
  scope,
  traceId: hexOf(span.traceId, fromJson),
  spanId: hexOf(span.spanId, fromJson),
  parentSpanId: hexOf(span.parentSpanId, fromJson),
  traceState: span.traceState ?? "",
  name: span.name,
  kind: kinds[span.kind ?? 0]!,
  start: BigInt(span.startTimeUnixNano),
  end: BigInt(span.endTimeUnixNano),
  attributes: attributesOf(span.attributes),
  events: (span.events ?? []).map(({ name, timeUnixNano }) => ({ name, time: BigInt(timeUnixNano) })),
  status: { code: span.status?.code ?? 0, message: span.status?.message ?? "" }
})

const spansIn = ({ resourceSpans = [] }: Wire, fromJson: boolean): ReadonlyArray<GotSpan> =>
  resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ scope, spans = [] }) =>
      spans.map((span) => spanOf(span, attributesOf(resource?.attributes), scope?.name ?? "", fromJson))
    )
  )

const metricOf = (metric: WireMetric): GotMetric => {
  const kind = metric.histogram !== undefined ? "histogram" : metric.sum !== undefined ? "sum" : "gauge"
  const data = metric[kind] ?? {}
  return {
    name: metric.name,
    description: metric.description ?? "",
    unit: metric.unit ?? "",
    kind,
    cumulative: data.aggregationTemporality === 2,
    monotonic: data.isMonotonic === true,
    points: (data.dataPoints ?? []).map((point) => ({
      attributes: attributesOf(point.attributes),
      start: BigInt(point.startTimeUnixNano ?? 0),
      value: point.asDouble ?? (point.asInt === undefined ? (point.sum ?? 0) : Number(point.asInt)),
      bounds: point.explicitBounds ?? [],
      counts: (point.bucketCounts ?? []).map(Number)
    }))
  }
}

const metricsIn = ({ resourceMetrics = [] }: Wire): ReadonlyArray<GotMetric> =>
  resourceMetrics.flatMap(({ scopeMetrics = [] }) => scopeMetrics.flatMap(({ metrics = [] }) => metrics.map(metricOf)))

const messageOf = (type: "Traces" | "Metrics", bytes: Buffer, isJson: boolean): Wire =>
  isJson ? (JSON.parse(bytes.toString()) as Wire) : decode(type, bytes)

export const spansOf = (bytes: Buffer, isJson: boolean): ReadonlyArray<GotSpan> =>
  spansIn(messageOf("Traces", bytes, isJson), isJson)

export const metricsOf = (bytes: Buffer, isJson: boolean): ReadonlyArray<GotMetric> =>
  metricsIn(messageOf("Metrics", bytes, isJson))
