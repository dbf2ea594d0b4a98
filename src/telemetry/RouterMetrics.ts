/** The handles of one router as a whole, by what they measure. Made once; the request path only calls them. */
import type { ReceiptOutcome } from "../domain/Receipt.ts"
import { counter, type Described, gauge, histogram } from "./Described.ts"
import type { Counter, Gauge, Histogram, Registry } from "./Metrics.ts"

/** How requests end, for their clients. `defect`: by a bug in the router, without a receipt. */
export type Outcome = ReceiptOutcome | "defect"
export const outcomes: ReadonlyArray<Outcome> = [
  ...(["ok", "client_error", "worker_error", "missing", "died", "cancelled", "defect"] as const)
]

const decisionBounds = [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5]

const requests = counter("warmpath_requests_total", "Requests by how they ended for the client", ["outcome"])

const counters = {
  promptTokens: counter("warmpath_prompt_tokens_total", "Prompt tokens of placed requests"),
  outputTokens: counter("warmpath_output_tokens_total", "Tokens generated, as far as answers tell"),
  predictedCachedTokens: counter(
    "warmpath_predicted_cached_tokens_total",
    "Prompt tokens the chosen workers were thought to hold"
  ),
  /** For the same requests as `predictedForDelivered`. */
  deliveredCachedTokens: counter(
    "warmpath_delivered_cached_tokens_total",
    "Prompt tokens that engines say they took from their caches"
  ),
  predictedForDelivered: counter(
    "warmpath_predicted_for_delivered_tokens_total",
    "Those predicted for the requests whose engines said so"
  ),
  retries: counter("warmpath_retries_total", "Requests sent to another worker before their first byte"),
  eventBatches: counter("warmpath_kv_event_batches_total", "KV event batches applied"),
  eventGaps: counter("warmpath_kv_event_gaps_total", "Gaps in the sequence of KV events"),
  eventReplays: counter("warmpath_kv_event_replays_total", "Replays begun: after gaps and reconnects, and looks"),
  eventReplayFailures: counter("warmpath_kv_event_replay_failures_total", "Replays refused, unanswered or broken off"),
  eventPurges: counter("warmpath_kv_event_purges_total", "Times a worker's blocks were forgotten, to be learned anew"),
  eventRestarts: counter("warmpath_kv_event_restarts_total", "New lives of engines, seen in their events"),
  eventDecodeErrors: counter("warmpath_kv_event_decode_errors_total", "KV event payloads that could not be read"),
  eventOverflows: counter("warmpath_kv_event_overflows_total", "Times the index had no room for a worker's events"),
  eventUnknown: counter(
    "warmpath_kv_event_unknown_total",
    "Events, fields and media in KV events that this version does not know"
  ),
  indexEvictedBlocks: counter("warmpath_index_evicted_blocks_total", "Blocks the index let go to stay in its memory"),
  indexStoresFull: counter("warmpath_index_stores_full_total", "Stores the index had no room for, in whole or part"),
  indexStoresOrphaned: counter("warmpath_index_stores_orphaned_total", "Stores whose parent the index did not hold"),
  indexOverflows: counter("warmpath_index_overflows_total", "Changes the index refused because it was behind"),
  indexResets: counter("warmpath_index_resets_total", "Times the index was lost to a defect")
}

const gauges = {
  inFlight: gauge("warmpath_requests_in_flight", "Requests being answered now"),
  waiting: gauge("warmpath_requests_waiting", "Of them, those that wait in the router for a worker that is soon free"),
  workers: gauge("warmpath_workers", "Workers listed, in any state"),
  workersAble: gauge("warmpath_workers_able", "Workers that can take a request now"),
  indexBlocks: gauge("warmpath_index_blocks", "Distinct blocks in the prefix index"),
  indexBytes: gauge("warmpath_index_bytes", "Memory of the prefix index")
}

const lagBounds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]
const eventLag = histogram(
  "warmpath_kv_event_lag_seconds",
  "From a batch of KV events published, by its engine's clock, to read here; those that are replayed are late",
  lagBounds
)
const decision = histogram("warmpath_decision_seconds", "From the request read to its worker chosen", decisionBounds)

export const described: ReadonlyArray<Described> = [
  ...[requests, ...Object.values(counters), ...Object.values(gauges)],
  ...[decision, eventLag]
]

export interface RouterMetrics
  extends Readonly<Record<keyof typeof counters, Counter>>,
    Readonly<Record<keyof typeof gauges, Gauge>> {
  readonly requests: Readonly<Record<Outcome, Counter>>
  /** The router's own share: from the whole body read to the first byte sent upstream. */
  readonly decision: Histogram
  readonly eventLag: Histogram
}

const mapped = <K extends string, A, B>(record: Readonly<Record<K, A>>, to: (value: A) => B): Record<K, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, to(value as A)])) as Record<K, B>

/** Counters begin at zero, so that their first increase shows. */
export const make = (registry: Registry): RouterMetrics => ({
  ...mapped(counters, (each) => registry.counter(each, {})),
  ...mapped(gauges, (each) => registry.gauge(each, {})),
  requests: Object.fromEntries(
    outcomes.map((outcome) => [outcome, registry.counter(requests, { outcome })])
  ) as RouterMetrics["requests"],
  decision: registry.histogram(decision, {}),
  eventLag: registry.histogram(eventLag, {})
})
