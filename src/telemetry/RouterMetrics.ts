/** The handles of one router, by what they measure. Made once; the request path only calls them. */
import type { Counter, Gauge, Histogram, Registry } from "./Metrics.ts"

/** How a request ended, for the client. */
export const outcomes = ["ok", "client_error", "worker_error", "no_worker", "cancelled", "died"] as const
export type RequestOutcome = (typeof outcomes)[number]

export interface RouterMetrics {
  readonly requests: Readonly<Record<RequestOutcome, Counter>>
  readonly ttft: Histogram
  readonly duration: Histogram
  /** The router's own share: from the whole body read to the first byte sent upstream. */
  readonly decision: Histogram
  readonly promptTokens: Counter
  readonly predictedCachedTokens: Counter
  /** As the engines reported it, for the same requests as `predictedForReported`. */
  readonly reportedCachedTokens: Counter
  readonly predictedForReported: Counter
  readonly retries: Counter
  readonly eventBatches: Counter
  readonly eventGaps: Counter
  readonly eventReplays: Counter
  readonly eventReplayFailures: Counter
  readonly eventPurges: Counter
  readonly eventRestarts: Counter
  readonly eventDecodeErrors: Counter
  readonly eventOverflows: Counter
  readonly eventUnknown: Counter
  readonly inFlight: Gauge
  readonly indexBlocks: Gauge
  readonly indexBytes: Gauge
  readonly indexEvictedBlocks: Counter
  readonly indexStoresFull: Counter
  readonly indexStoresOrphaned: Counter
  readonly indexOverflows: Counter
  readonly indexResets: Counter
}

/** OpenTelemetry's buckets for `gen_ai.server.time_to_first_token`, extended upwards for long prefills. */
const ttftBounds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
/** OpenTelemetry's for `gen_ai.server.request.duration`. */
const durationBounds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const decisionBounds = [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5]

export const make = (registry: Registry): RouterMetrics => {
  const { counter, gauge, histogram } = registry
  const request = (outcome: RequestOutcome) =>
    counter("warmpath_requests_total", "Requests by how they ended for the client", { outcome })
  return {
    requests: {
      ok: request("ok"),
      client_error: request("client_error"),
      worker_error: request("worker_error"),
      no_worker: request("no_worker"),
      cancelled: request("cancelled"),
      died: request("died")
    },
    ttft: histogram("warmpath_time_to_first_token_seconds", "From the request read to its first token", ttftBounds),
    duration: histogram("warmpath_request_duration_seconds", "From the request read to its end", durationBounds),
    decision: histogram("warmpath_decision_seconds", "From the request read to its worker chosen", decisionBounds),
    promptTokens: counter("warmpath_prompt_tokens_total", "Prompt tokens of placed requests"),
    predictedCachedTokens: counter(
      "warmpath_predicted_cached_tokens_total",
      "Prompt tokens the chosen workers were thought to hold"
    ),
    reportedCachedTokens: counter(
      "warmpath_reported_cached_tokens_total",
      "Cached tokens the engines reported in usage"
    ),
    predictedForReported: counter(
      "warmpath_predicted_for_reported_tokens_total",
      "Prediction for the requests whose usage was reported"
    ),
    retries: counter("warmpath_retries_total", "Requests sent to another worker before their first byte"),
    eventBatches: counter("warmpath_kv_event_batches_total", "KV event batches applied"),
    eventGaps: counter("warmpath_kv_event_gaps_total", "Gaps in the sequence of KV events"),
    eventReplays: counter("warmpath_kv_event_replays_total", "Replays begun: after gaps and reconnects, and looks"),
    eventReplayFailures: counter(
      "warmpath_kv_event_replay_failures_total",
      "Replays refused, unanswered or broken off"
    ),
    eventPurges: counter(
      "warmpath_kv_event_purges_total",
      "Times a worker's blocks were forgotten, to be learned anew"
    ),
    eventRestarts: counter("warmpath_kv_event_restarts_total", "New lives of engines, seen in their events"),
    eventDecodeErrors: counter("warmpath_kv_event_decode_errors_total", "KV event payloads that could not be read"),
    eventOverflows: counter("warmpath_kv_event_overflows_total", "Times the index had no room for a worker's events"),
    eventUnknown: counter(
      "warmpath_kv_event_unknown_total",
      "Events, fields and media in KV events that this version does not know"
    ),
    inFlight: gauge("warmpath_requests_in_flight", "Requests being answered now"),
    indexBlocks: gauge("warmpath_index_blocks", "Distinct blocks in the prefix index"),
    indexBytes: gauge("warmpath_index_bytes", "Memory of the prefix index"),
    indexEvictedBlocks: counter("warmpath_index_evicted_blocks_total", "Blocks the index let go to stay in its memory"),
    indexStoresFull: counter("warmpath_index_stores_full_total", "Stores the index had no room for, in whole or part"),
    indexStoresOrphaned: counter("warmpath_index_stores_orphaned_total", "Stores whose parent the index did not hold"),
    indexOverflows: counter("warmpath_index_overflows_total", "Changes the index refused because it was behind"),
    indexResets: counter("warmpath_index_resets_total", "Times the index was lost to a defect")
  }
}
