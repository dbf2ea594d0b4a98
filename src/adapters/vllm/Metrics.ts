/**
 * What vLLM's `/metrics` tells a router. Names differ by version (`gpu_cache_usage_perc` is the old one); with data
 * parallelism each series appears once per `engine`.
 */
import type { EngineLoad, RankLoad } from "../../domain/Worker.ts"
import type { Answer } from "../http/HttpJson.ts"
import * as EngineSeries from "../prometheus/EngineSeries.ts"
import type { Sample } from "../prometheus/PrometheusText.ts"

export interface Metrics {
  readonly blockSize: number | null
  /** Device blocks of one rank: the smallest, where they differ by what else is on the device. */
  readonly blockCount: number | null
  /** Data-parallel ranks that report here, in no order. */
  readonly ranks: ReadonlyArray<number>
  readonly startedAtMs: number | null
  readonly load: EngineLoad
}

const names = [
  "num_requests_running",
  "num_requests_waiting",
  "kv_cache_usage_perc",
  "gpu_cache_usage_perc",
  "cache_config_info"
]

const sum = (samples: ReadonlyArray<Sample>): number | null =>
  samples.length === 0 ? null : samples.reduce((total, sample) => total + sample.value, 0)

const rankOf = ({ labels }: Sample): number | null =>
  labels["engine"] !== undefined && /^\d{1,5}$/.test(labels["engine"]) ? Number(labels["engine"]) : null

export const read = (answer: Answer): Metrics => {
  const series = EngineSeries.read(answer, "vllm", names)
  const running = series.named("num_requests_running")
  const waiting = series.named("num_requests_waiting")
  const usage = series.named("kv_cache_usage_perc", "gpu_cache_usage_perc")
  const configs = series.named("cache_config_info")

  const told = [...running, ...waiting, ...usage, ...configs].map(rankOf).filter((rank) => rank !== null)
  const ranks = [...new Set(told)]
  const counts = configs
    .map(({ labels }) => EngineSeries.positiveInt(labels["num_gpu_blocks"]))
    .filter((count) => count !== null)

  /** Counts are summed over ranks; usage is their mean, since ranks have caches of one size. */
  const loadOf = (keep: (sample: Sample) => boolean): RankLoad => {
    const used = usage.filter(keep)
    const total = sum(used)
    return {
      running: sum(running.filter(keep)),
      waiting: sum(waiting.filter(keep)),
      kvUsage: total === null ? null : total / used.length
    }
  }

  return {
    blockSize: EngineSeries.positiveInt(configs[0]?.labels["block_size"]),
    blockCount: counts.length === 0 ? null : Math.min(...counts),
    ranks,
    startedAtMs: series.startedAtMs,
    load: {
      ...loadOf(() => true),
      ranks: new Map(ranks.map((rank) => [rank, loadOf((sample) => rankOf(sample) === rank)]))
    }
  }
}
