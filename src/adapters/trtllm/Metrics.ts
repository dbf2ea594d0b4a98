/**
 * What `/prometheus/metrics` of trtllm-serve tells a router; 404 or empty unless it was started with performance
 * metrics. (Its `/metrics` is JSON, and reading it takes the statistics away from whoever else reads them.)
 * Several processes of one server may repeat a gauge, so the largest counts. Source: NVIDIA/TensorRT-LLM
 * `metrics/collector.py`; names as llm-d/llm-d-router maps them.
 */
import type { EngineLoad } from "../../domain/Worker.ts"
import type { Answer } from "../http/HttpJson.ts"
import * as EngineSeries from "../prometheus/EngineSeries.ts"

export interface Metrics {
  readonly blockSize: number | null
  readonly blockCount: number | null
  readonly startedAtMs: number | null
  readonly load: EngineLoad
}

const names = [
  "num_requests_running",
  "num_requests_waiting",
  "kv_cache_utilization",
  "kv_cache_tokens_per_block",
  "kv_cache_max_blocks"
]

export const read = (answer: Answer): Metrics => {
  const series = EngineSeries.read(answer, "trtllm", names)
  const value = (name: string) => EngineSeries.largest(series.named(name))
  return {
    blockSize: EngineSeries.positiveInt(value("kv_cache_tokens_per_block")),
    blockCount: EngineSeries.positiveInt(value("kv_cache_max_blocks")),
    startedAtMs: series.startedAtMs,
    load: {
      running: value("num_requests_running"),
      waiting: value("num_requests_waiting"),
      kvUsage: value("kv_cache_utilization"),
      ranks: new Map()
    }
  }
}
