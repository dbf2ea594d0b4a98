/**
 * What vLLM's `/metrics` tells a router. Names differ by version (`gpu_cache_usage_perc` is the old one) and by set-up
 * (under Ray `:` becomes `_`); with data parallelism each series appears once per `engine`.
 *
 * A missing series is null, never zero: `--disable-log-stats` answers 200 with nothing in it.
 */
import type { EngineLoad, RankLoad } from "../../domain/Worker.ts"
import type { Answer } from "../http/HttpJson.ts"
import * as PrometheusText from "../prometheus/PrometheusText.ts"

type Scrape = PrometheusText.Scrape

const series = new Set(
  ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "gpu_cache_usage_perc", "cache_config_info"]
    .flatMap((name) => [`vllm:${name}`, `vllm_${name}`])
    .concat("process_start_time_seconds")
)

/** Only the series used here: a scrape has a thousand lines of histograms besides. */
export const read = (answer: Answer): Scrape =>
  answer.status === 200 ? PrometheusText.parse(answer.text, (name) => series.has(name)) : { samples: [], oddLines: 0 }

const named = (scrape: Scrape, ...names: ReadonlyArray<string>): ReadonlyArray<PrometheusText.Sample> => {
  for (const name of names) {
    const found = scrape.samples.filter(
      (sample) => (sample.name === `vllm:${name}` || sample.name === `vllm_${name}`) && Number.isFinite(sample.value)
    )
    if (found.length > 0) return found
  }
  return []
}

const sum = (samples: ReadonlyArray<PrometheusText.Sample>): number | null =>
  samples.length === 0 ? null : samples.reduce((total, sample) => total + sample.value, 0)

const positiveInt = (text: string | undefined): number | null =>
  text !== undefined && /^[1-9]\d{0,9}$/.test(text) ? Number(text) : null

const rankOf = (sample: PrometheusText.Sample): number | null => {
  const label = sample.labels["engine"]
  return label !== undefined && /^\d{1,5}$/.test(label) ? Number(label) : null
}

/** Data-parallel ranks that report here, in no order. */
export const ranks = (scrape: Scrape): ReadonlyArray<number> => [
  ...new Set(scrape.samples.map(rankOf).filter((rank) => rank !== null))
]

/** Counts are summed over ranks; usage is their mean, since ranks have caches of one size. */
export const load = (scrape: Scrape): EngineLoad => {
  const running = named(scrape, "num_requests_running")
  const waiting = named(scrape, "num_requests_waiting")
  const usage = named(scrape, "kv_cache_usage_perc", "gpu_cache_usage_perc")
  const of = (keep: (sample: PrometheusText.Sample) => boolean): RankLoad => {
    const used = usage.filter(keep)
    return {
      running: sum(running.filter(keep)),
      waiting: sum(waiting.filter(keep)),
      kvUsage: used.length === 0 ? null : sum(used)! / used.length
    }
  }
  return {
    ...of(() => true),
    ranks: new Map(ranks(scrape).map((rank) => [rank, of((sample) => rankOf(sample) === rank)]))
  }
}

export const blockSize = (scrape: Scrape): number | null =>
  positiveInt(named(scrape, "cache_config_info")[0]?.labels["block_size"])

/** Device blocks of one rank: the smallest, where they differ by what else is on the device. */
export const blockCount = (scrape: Scrape): number | null => {
  let least: number | null = null
  for (const { labels } of named(scrape, "cache_config_info")) {
    const blocks = positiveInt(labels["num_gpu_blocks"])
    if (blocks !== null && (least === null || blocks < least)) least = blocks
  }
  return least
}

/** Start of the engine's process, or null in the multi-process mode, where the client library omits it. */
export const startedAtMs = (scrape: Scrape): number | null => {
  const seconds = scrape.samples.find((sample) => sample.name === "process_start_time_seconds")?.value
  return seconds === undefined || !(seconds > 0) ? null : Math.round(seconds * 1000)
}
