/**
 * Gauges of every worker, and of each of its ranks: set when scraped, taken out when it has left. So their number is bounded
 * by the fleet's, and nothing is kept for those that are gone.
 */
import { counter, type Described, gauge, type Labels } from "./Described.ts"
import type { Counter, Gauge, Registry } from "./Metrics.ts"

const rank = ["worker", "rank"] as const

export const gauges = {
  up: gauge("warmpath_worker_up", "1 while the worker answers, or drains as it was told, else 0", ["worker"]),
  state: gauge("warmpath_worker_state", "1 for the state of the worker now, 0 for the others", ["worker", "state"]),
  inFlight: gauge("warmpath_worker_in_flight_requests", "Requests that this router has out there", rank),
  queued: gauge("warmpath_worker_queued_requests", "Requests there without a first token, of all routers", rank),
  active: gauge("warmpath_worker_active_requests", "Requests there that generate, of all routers", rank),
  activeTokens: gauge("warmpath_worker_active_tokens", "Context tokens that they hold", rank),
  wait: gauge("warmpath_worker_wait_seconds", "Predicted wait of a new request before its prefill", rank),
  trust: gauge(
    "warmpath_worker_trust",
    "1 for how the picture of the worker's cache is known now, 0 for the other ways",
    [...[...rank, "trust"]] as const
  ),
  credit: gauge("warmpath_worker_credit", "Share of the worker's overlap that placement believes", rank),
  deliveredRatio: gauge(
    "warmpath_worker_delivered_ratio",
    "Of the cached tokens predicted for its requests, those it delivered",
    rank
  ),
  errorTokens: gauge(
    "warmpath_worker_prediction_error_tokens",
    "Predicted less delivered cached tokens, mean of its recent requests",
    rank
  ),
  errorRatio: gauge("warmpath_worker_prediction_error_ratio", "The same as a share of the prompt", rank),
  blocks: gauge("warmpath_worker_blocks", "Blocks by the nearest tier of the worker that has a copy, or guessed", [
    ...rank,
    "tier"
  ]),
  eventsWhole: gauge(
    "warmpath_worker_kv_events_whole",
    "1 while all that its engine published of its cache is known, 0 while some is missing or it is silent; none for an engine without events",
    rank
  ),
  eventsHeld: gauge(
    "warmpath_worker_kv_events_held",
    "Batches of events held back, for one that is missing before them",
    rank
  )
}

export const counters = {
  batches: counter("warmpath_worker_kv_event_batches_total", "KV event batches of the worker applied", rank),
  gaps: counter("warmpath_worker_kv_event_gaps_total", "Gaps in their sequence", rank),
  purges: counter("warmpath_worker_kv_event_purges_total", "Times its blocks were forgotten, to be learned anew", rank)
}

export const described: ReadonlyArray<Described> = [...Object.values(gauges), ...Object.values(counters)]

type LabelsOf<D> = D extends Described<infer _K, infer L> ? Readonly<Record<L, string>> : never

export interface WorkerMetrics {
  /** Sets a gauge; null takes it out. */
  readonly set: <N extends keyof typeof gauges>(
    name: N,
    labels: LabelsOf<(typeof gauges)[N]>,
    value: number | null
  ) => void
  /** Sets a counter to what somebody else has counted; one that was started anew counts on. */
  readonly count: (name: keyof typeof counters, labels: LabelsOf<(typeof counters)["gaps"]>, total: number) => void
  /** Takes out everything that was not set since the last call. */
  readonly sweep: () => void
}

interface Kept {
  readonly handle: Gauge | Counter
  told: number
}

export const make = (registry: Registry): WorkerMetrics => {
  const all = new Map<string, Kept>()
  let fresh = new Set<string>()
  const keptOf = <H extends Gauge | Counter>(name: string, labels: Labels, made: () => H): Kept & { handle: H } => {
    const key = `${name} ${JSON.stringify(labels)}`
    fresh.add(key)
    let kept = all.get(key)
    if (kept === undefined) {
      kept = { handle: made(), told: 0 }
      all.set(key, kept)
    }
    return kept as Kept & { handle: H }
  }
  return {
    set: (name, labels, value) => {
      if (value === null) return
      const described: Described<"gauge", string> = gauges[name]
      keptOf(name, labels as Labels, () => registry.gauge(described, labels as Labels)).handle.set(value)
    },
    count: (name, labels, total) => {
      const kept = keptOf(name, labels, () => registry.counter(counters[name], labels))
      kept.handle.add(total >= kept.told ? total - kept.told : total)
      kept.told = total
    },
    sweep: () => {
      for (const [key, { handle }] of all) {
        if (fresh.has(key)) continue
        handle.remove()
        all.delete(key)
      }
      fresh = new Set()
    }
  }
}
