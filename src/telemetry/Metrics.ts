/**
 * The router's own metrics: handles with their labels hoisted, rendered as Prometheus text.
 *
 * One registry per program, so that two routers in one process do not count for each other. An update costs a map
 * lookup and an addition, no fiber. Labels are few and closed: never a client's string but a model the fleet serves.
 * Times are in seconds and names end in their unit, as Prometheus wants; the handles take milliseconds.
 */
import { Context, Metric } from "effect"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"

export interface Counter {
  readonly add: (count: number) => void
}

export interface Gauge {
  readonly set: (value: number) => void
  /** Takes the series out, for a worker that left. */
  readonly remove: () => void
}

export interface Histogram {
  readonly record: (ms: number) => void
}

export type Labels = Readonly<Record<string, string>>

export interface Registry {
  readonly counter: (name: string, help: string, labels?: Labels) => Counter
  readonly gauge: (name: string, help: string, labels?: Labels) => Gauge
  /** Bounds in seconds, ascending. */
  readonly histogram: (name: string, help: string, bounds: ReadonlyArray<number>, labels?: Labels) => Histogram
  /** Read when scraped, by `read`; one call may set many gauges. */
  readonly onScrape: (read: () => void) => void
  readonly render: () => string
}

/** Content type of what `render` gives. */
export const contentType = "text/plain; version=0.0.4; charset=utf-8"

export const registry = (): Registry => {
  const context = Context.make(Metric.MetricRegistry, new Map())
  const readers: Array<() => void> = []
  return {
    counter: (name, description, attributes = {}) => {
      const metric = Metric.counter(name, { description, attributes, incremental: true })
      // A series that begins at zero shows its first increase.
      metric.updateUnsafe(0, context)
      return { add: (count) => metric.updateUnsafe(count, context) }
    },
    gauge: (name, description, attributes = {}) => {
      const metric = Metric.gauge(name, { description, attributes })
      return {
        set: (value) => metric.updateUnsafe(value, context),
        remove: () => Metric.removeUnsafe(metric, context)
      }
    },
    histogram: (name, description, boundaries, attributes = {}) => {
      const metric = Metric.histogram(name, { description, attributes, boundaries })
      return { record: (ms) => metric.updateUnsafe(ms / 1000, context) }
    },
    onScrape: (read) => void readers.push(read),
    render: () => {
      for (const read of readers) read()
      return PrometheusMetrics.formatUnsafe(context)
    }
  }
}
