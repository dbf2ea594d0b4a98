/**
 * Gauges of every worker, rank by rank: set when scraped, taken out when it has left. So their number is bounded by the
 * fleet's, and nothing is kept for those that are gone.
 */
import type { Gauge, Labels, Registry } from "./Metrics.ts"

/** Help texts by name. */
const help = {
  warmpath_worker_trust: "1 for how the picture of the worker's cache is known now, 0 for the other ways",
  warmpath_worker_credit: "Share of the worker's overlap that placement believes",
  warmpath_worker_delivered_ratio: "Of the cached tokens predicted for its requests, those it reported",
  warmpath_worker_prediction_error_tokens: "Predicted less reported cached tokens, mean of its recent requests",
  warmpath_worker_prediction_error_ratio: "The same as a share of the prompt",
  warmpath_worker_blocks: "Blocks by the nearest tier of the worker that has a copy, or guessed"
}

export interface WorkerMetrics {
  /** Sets a gauge; null takes it out. */
  readonly set: (name: keyof typeof help, labels: Labels, value: number | null) => void
  /** Takes out every gauge that was not set since the last call. */
  readonly sweep: () => void
}

export const make = (registry: Registry): WorkerMetrics => {
  const gauges = new Map<string, Gauge>()
  let fresh = new Set<string>()
  return {
    set: (name, labels, value) => {
      if (value === null) return
      const key = `${name} ${JSON.stringify(labels)}`
      let gauge = gauges.get(key)
      if (gauge === undefined) {
        gauge = registry.gauge(name, help[name], labels)
        gauges.set(key, gauge)
      }
      gauge.set(value)
      fresh.add(key)
    },
    sweep: () => {
      for (const [key, gauge] of gauges) {
        if (fresh.has(key)) continue
        gauge.remove()
        gauges.delete(key)
      }
      fresh = new Set()
    }
  }
}
