/** `/metrics` as vLLM writes it: the series a router reads, one row a rank. */
import { ttftBounds } from "../Counters.ts"
import type { EngineCore } from "../EngineCore.ts"
import { PrometheusText, type Row } from "../Prometheus.ts"
import type { SimEngine } from "../SimEngine.ts"
import { roomBlocks, toldBlockSize } from "../SimOptions.ts"

export const text = ({ cores, options }: SimEngine): string => {
  const out = new PrometheusText()
  const of = cores.map((core, rank) => [{ engine: String(rank), model_name: options.models[0]! }, core] as const)
  type Rows = (core: EngineCore) => ReadonlyArray<Row>
  const series = (type: "gauge" | "counter", name: string, help: string, rows: Rows) =>
    out.series(
      type,
      `vllm:${name}`,
      help,
      of.flatMap(([labels, core]) => rows(core).map(([own, value]): Row => [{ ...labels, ...own }, value]))
    )
  series("gauge", "num_requests_running", "Requests in the batch.", ({ running }) => [[{}, running]])
  series("gauge", "num_requests_waiting", "Requests waiting to enter it.", ({ waiting }) => [[{}, waiting]])
  series("gauge", "kv_cache_usage_perc", "Fraction of KV blocks in use.", ({ usage }) => [[{}, usage]])
  series("counter", "prefix_cache_queries", "Tokens looked up in the prefix cache.", ({ counters }) => [
    [{}, counters.queries]
  ])
  series("counter", "prefix_cache_hits", "Tokens found there.", ({ counters }) => [[{}, counters.hits]])
  series("counter", "prompt_tokens", "Prompt tokens prefilled.", ({ counters }) => [[{}, counters.promptTokens]])
  series("counter", "prompt_tokens_cached", "Prompt tokens taken from the cache.", ({ counters }) => [
    [{}, counters.hits]
  ])
  series("counter", "prompt_tokens_by_source", "Prompt tokens by where their KV came from.", ({ counters }) => [
    [{ source: "local_compute" }, counters.queries - counters.hits],
    [{ source: "local_cache_hit" }, counters.hits - counters.loaded],
    [{ source: "external_kv_transfer" }, counters.loaded]
  ])
  series("counter", "generation_tokens", "Tokens generated.", ({ counters }) => [[{}, counters.generationTokens]])
  series("counter", "num_preemptions", "Requests preempted.", () => [[{}, 0]])
  series("counter", "request_success", "Requests by how they ended.", ({ counters }) => [
    [{ finished_reason: "stop" }, counters.stopped],
    [{ finished_reason: "length" }, counters.lengthened],
    [{ finished_reason: "abort" }, counters.aborted]
  ])
  const config = {
    block_size: String(toldBlockSize(options)),
    cache_dtype: "auto",
    enable_prefix_caching: "True",
    num_gpu_blocks: String(roomBlocks(options)),
    prefix_caching_hash_algo: "sha256_cbor"
  }
  series("gauge", "cache_config_info", "Configuration of the KV cache.", () => [[config, 1]])
  out.histogram(
    "vllm:time_to_first_token_seconds",
    "Time to first token.",
    ttftBounds,
    of.map(([labels, { counters }]) => ({ labels, counts: counters.ttftCounts, sum: counters.ttftSum }))
  )
  out.series("gauge", "process_start_time_seconds", "Start of the process, in seconds since the epoch.", [
    [{}, cores[0]!.startedAt]
  ])
  return out.text
}
