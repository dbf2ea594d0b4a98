/**
 * What SGLang's `/metrics` tells a router, where it was started with `--enable-metrics`; else it answers 404.
 *
 * Every tensor-parallel process of a rank may repeat a gauge, so the largest counts. `cache_hit_rate` is not read: each
 * decode step resets it. Source: sgl-project/sglang `metrics/collector.py`.
 */
import type { EngineLoad } from "../../domain/Worker.ts"
import type { Answer } from "../http/HttpJson.ts"
import * as EngineSeries from "../prometheus/EngineSeries.ts"
import type { Sample } from "../prometheus/PrometheusText.ts"
import * as Loads from "./Loads.ts"

export interface Metrics {
  readonly blockSize: number | null
  /** Pages of one rank. */
  readonly blockCount: number | null
  readonly startedAtMs: number | null
  readonly load: EngineLoad
}

const names = ["num_running_reqs", "num_queue_reqs", "full_token_usage", "token_usage", "cache_config_info"]

const rankOf = ({ labels }: Sample): number => {
  const label = labels["dp_rank"]
  return label !== undefined && /^\d{1,5}$/.test(label) ? Number(label) : 0
}

export const read = (answer: Answer): Metrics => {
  const series = EngineSeries.read(answer, "sglang", names)
  const running = series.named("num_running_reqs")
  const waiting = series.named("num_queue_reqs")
  const usage = series.named("full_token_usage", "token_usage")
  const cache = series.named("cache_config_info")[0]?.labels
  const ranks = [...new Set([...running, ...waiting, ...usage].map(rankOf))]
  return {
    blockSize: EngineSeries.positiveInt(cache?.["page_size"]),
    blockCount: EngineSeries.positiveInt(cache?.["num_pages"]),
    startedAtMs: series.startedAtMs,
    load: Loads.ofRanks(
      new Map(
        ranks.map((rank) => {
          const largest = (samples: ReadonlyArray<Sample>) =>
            EngineSeries.largest(samples.filter((sample) => rankOf(sample) === rank))
          return [rank, { running: largest(running), waiting: largest(waiting), kvUsage: largest(usage) }]
        })
      )
    )
  }
}
