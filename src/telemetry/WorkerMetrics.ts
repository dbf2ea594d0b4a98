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

/** What is told of one rank of a worker, or, without a rank, of the worker. */
export interface Told {
  /** `label`: the value of the last label, where a gauge has more than worker and rank. Null: there is nothing to tell. */
  readonly set: (name: keyof typeof gauges, value: number | null, label?: string) => void
  /** Takes a counter to what somebody else has counted; one that was started anew counts on. */
  readonly count: (name: keyof typeof counters, total: number) => void
}

export interface WorkerMetrics {
  readonly of: (worker: string, rank?: string) => Told
  /** Takes out everything that was not told since the last call. */
  readonly sweep: () => void
}

interface Kept<H> {
  readonly handle: H
  total: number
  isFresh: boolean
}

/** Handles by the value of their last label, or by "". */
type ByLabel<H> = Map<string, Kept<H>>

interface Entry {
  readonly told: Told
  readonly handles: Map<Described, ByLabel<Gauge> | ByLabel<Counter>>
}

export const make = (registry: Registry): WorkerMetrics => {
  const entries = new Map<string, Entry>()

  const begin = (worker: string, rank: string): Entry => {
    const handles: Entry["handles"] = new Map()
    const kept = <D extends Described, H>(described: D, label: string, made: (labels: Labels) => H): Kept<H> => {
      let byLabel = handles.get(described) as ByLabel<H> | undefined
      if (byLabel === undefined) {
        byLabel = new Map()
        handles.set(described, byLabel as ByLabel<Gauge>)
      }
      let one = byLabel.get(label)
      if (one === undefined) {
        const values: Labels = { worker, rank }
        const labels = Object.fromEntries(described.labels.map((each) => [each, values[each] ?? label]))
        one = { handle: made(labels), total: 0, isFresh: true }
        byLabel.set(label, one)
      }
      one.isFresh = true
      return one
    }
    const told: Told = {
      set: (name, value, label = "") => {
        if (value === null) return
        const described: Described<"gauge"> = gauges[name]
        kept(described, label, (labels) => registry.gauge(described, labels)).handle.set(value)
      },
      count: (name, total) => {
        const described: Described<"counter"> = counters[name]
        const one = kept(described, "", (labels) => registry.counter(described, labels))
        one.handle.add(total >= one.total ? total - one.total : total)
        one.total = total
      }
    }
    return { told, handles }
  }

  return {
    of: (worker, rank = "") => {
      const key = `${rank} ${worker}`
      let entry = entries.get(key)
      if (entry === undefined) {
        entry = begin(worker, rank)
        entries.set(key, entry)
      }
      return entry.told
    },
    sweep: () => {
      for (const [key, { handles }] of entries) {
        let left = 0
        for (const byLabel of handles.values()) {
          for (const [label, kept] of byLabel) {
            if (kept.isFresh) left++
            else {
              kept.handle.remove()
              byLabel.delete(label)
            }
            kept.isFresh = false
          }
        }
        if (left === 0) entries.delete(key)
      }
    }
  }
}
