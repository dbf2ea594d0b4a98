/** `/metrics` as SGLang writes it: the series a router reads. Rows say `dp_rank` only where there are several ranks. */
import { ttftBounds } from "../Counters.ts"
import type { EngineCore } from "../EngineCore.ts"
import { PrometheusText, type Row } from "../Prometheus.ts"
import type { SimEngine } from "../SimEngine.ts"
import { roomBlocks, toldBlockSize } from "../SimOptions.ts"
import * as ServerInfo from "./ServerInfo.ts"

export const text = ({ cores, options }: SimEngine): string => {
  const out = new PrometheusText()
  const of = cores.map((core, rank) => {
    const labels = { model_name: options.models[0]!, engine_type: "unified", tp_rank: "0", pp_rank: "0" }
    return [cores.length === 1 ? labels : { ...labels, dp_rank: String(rank) }, core] as const
  })
  type Rows = (core: EngineCore) => ReadonlyArray<Row>
  const series = (type: "gauge" | "counter", name: string, help: string, rows: Rows) =>
    out.series(
      type,
      `sglang:${name}`,
      help,
      of.flatMap(([labels, core]) => rows(core).map(([own, value]): Row => [{ ...labels, ...own }, value]))
    )
  const gauge = (name: string, help: string, value: (core: EngineCore) => number) =>
    series("gauge", name, help, (core) => [[{}, value(core)]])
  const total = roomBlocks(options) * options.blockSize
  gauge("num_running_reqs", "Requests in the batch.", ({ running }) => running)
  gauge("num_queue_reqs", "Requests waiting to enter it.", ({ waiting }) => waiting)
  gauge("token_usage", "Fraction of tokens in use.", ({ usage }) => Number(usage.toFixed(2)))
  gauge("full_token_usage", "The same, of full attention.", ({ usage }) => Number(usage.toFixed(2)))
  gauge("num_used_tokens", "Tokens in use.", (core) => ServerInfo.load(options, core).num_used_tokens)
  gauge("max_total_num_tokens", "Tokens there is room for.", () => total)
  gauge("page_size", "Tokens a page.", () => toldBlockSize(options))
  gauge("context_len", "Context limit, tokens.", () => Math.min(options.maxModelLen, total))
  gauge("gen_throughput", "Tokens generated a second.", () => 0)
  // Reports of decode steps set it to 0, so that is what is mostly seen.
  gauge("cache_hit_rate", "Share of prompt tokens found in the cache.", () => 0)
  const config = { page_size: String(toldBlockSize(options)), num_pages: String(roomBlocks(options)) }
  series("gauge", "cache_config_info", "Configuration of the KV cache.", () => [[config, 1]])
  series("counter", "prompt_tokens", "Prompt tokens.", ({ counters }) => [[{}, counters.promptTokens]])
  series("counter", "cached_tokens", "Prompt tokens found in the cache.", ({ counters }) => [
    [{ cache_source: "device" }, counters.hits - counters.loaded],
    [{ cache_source: "host" }, counters.loaded]
  ])
  series("counter", "generation_tokens", "Tokens generated.", ({ counters }) => [[{}, counters.generationTokens]])
  series("counter", "num_requests", "Requests.", ({ counters }) => [[{}, counters.received]])
  series("counter", "num_retracted_requests", "Requests preempted.", () => [[{}, 0]])
  out.histogram(
    "sglang:time_to_first_token_seconds",
    "Time to first token.",
    ttftBounds,
    of.map(([labels, { counters }]) => ({ labels, counts: counters.ttftCounts, sum: counters.ttftSum }))
  )
  return out.text
}
