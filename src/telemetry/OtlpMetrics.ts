/** OtlpMetrics: the registry as OpenTelemetry's metric producer, so that a collector gets what Prometheus scrapes: names, labels, bounds. */
import { type HrTime, ValueType } from "@opentelemetry/api"
import { millisToHrTime } from "@opentelemetry/core"
import type { Resource } from "@opentelemetry/resources"
import {
  AggregationTemporality,
  DataPointType,
  MeterProvider,
  type MetricData,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter
} from "@opentelemetry/sdk-metrics"
import type { Family, Registry, Series } from "./Metrics.ts"

const dataOf = ({ described, series }: Family, endTime: HrTime): MetricData => {
  const { bounds, help, name, type, unit } = described
  const common = {
    descriptor: { name, description: help, unit, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE
  }
  const points = <T>(of: (each: Series) => T) =>
    Array.from(series.values(), (each) => ({
      startTime: millisToHrTime(each.sinceMs),
      endTime,
      attributes: each.labels,
      value: of(each)
    }))
  switch (type) {
    case "counter":
      return {
        ...common,
        dataPointType: DataPointType.SUM,
        isMonotonic: true,
        dataPoints: points(({ value }) => value)
      }
    case "gauge":
      return { ...common, dataPointType: DataPointType.GAUGE, dataPoints: points(({ value }) => value) }
    case "histogram":
      return {
        ...common,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: points(({ counts, value }) => ({
          buckets: { boundaries: [...bounds], counts: [...counts] },
          sum: value,
          count: counts.reduce((sum, count) => sum + count, 0)
        }))
      }
  }
}

/** Everything there is, as it stands when asked for. */
export const producer = (registry: Pick<Registry, "collect">, resource: Resource, version: string): MetricProducer => ({
  collect: async () => {
    const endTime = millisToHrTime(Date.now())
    const metrics = registry.collect().map((family) => dataOf(family, endTime))
    return {
      resourceMetrics: { resource, scopeMetrics: [{ scope: { name: "warmpath", version }, metrics }] },
      errors: []
    }
  }
})

/** Exports it every so many ms, until shut down. */
export const start = (
  exporter: PushMetricExporter,
  source: MetricProducer,
  resource: Resource,
  everyMs: number
): { readonly shutdown: () => Promise<void> } =>
  new MeterProvider({
    resource,
    readers: [
      new PeriodicExportingMetricReader({
        exporter,
        exportIntervalMillis: everyMs,
        // What an exporter waits by itself, unless the next export is due before.
        exportTimeoutMillis: Math.min(everyMs, 10_000),
        metricProducers: [source]
      })
    ]
  })
