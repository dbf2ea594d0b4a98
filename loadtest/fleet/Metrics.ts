/** `/metrics` of a simulated engine: the vLLM series a router reads, in Prometheus text. */
import { type EngineCore, ttftBounds } from "./EngineCore.ts"
import type { SimOptions } from "./SimOptions.ts"

export const text = (options: SimOptions, core: EngineCore): string => {
  const { counters } = core
  const labels = `engine="0",model_name="${escaped(options.models[0]!)}"`
  const lines: Array<string> = []
  const series = (type: string, name: string, help: string, rows: ReadonlyArray<readonly [string, number]>) => {
    const family = type === "counter" ? `${name}_total` : name
    lines.push(`# HELP ${family} ${help}`, `# TYPE ${family} ${type}`)
    for (const [extra, value] of rows) lines.push(`${family}{${labels}${extra}} ${value}`)
  }
  series("gauge", "vllm:num_requests_running", "Requests in the batch.", [["", core.running]])
  series("gauge", "vllm:num_requests_waiting", "Requests waiting to enter it.", [["", core.waiting]])
  series("gauge", "vllm:kv_cache_usage_perc", "Fraction of KV blocks in use.", [["", core.usage]])
  series("counter", "vllm:prefix_cache_queries", "Tokens looked up in the prefix cache.", [["", counters.queries]])
  series("counter", "vllm:prefix_cache_hits", "Tokens found there.", [["", counters.hits]])
  series("counter", "vllm:prompt_tokens", "Prompt tokens prefilled.", [["", counters.promptTokens]])
  series("counter", "vllm:prompt_tokens_cached", "Prompt tokens taken from the cache.", [["", counters.hits]])
  series("counter", "vllm:prompt_tokens_by_source", "Prompt tokens by where their KV came from.", [
    [',source="local_compute"', counters.queries - counters.hits],
    [',source="local_cache_hit"', counters.hits],
    [',source="external_kv_transfer"', 0]
  ])
  series("counter", "vllm:generation_tokens", "Tokens generated.", [["", counters.generationTokens]])
  series("counter", "vllm:num_preemptions", "Requests preempted.", [["", 0]])
  series("counter", "vllm:request_success", "Requests by how they ended.", [
    [',finished_reason="stop"', counters.stopped],
    [',finished_reason="length"', counters.lengthened],
    [',finished_reason="abort"', counters.aborted]
  ])
  series("gauge", "vllm:cache_config_info", "Configuration of the KV cache.", [
    [
      `,block_size="${options.blockSize}",cache_dtype="auto",enable_prefix_caching="True",` +
        `num_gpu_blocks="${options.blocks}",prefix_caching_hash_algo="sha256_cbor"`,
      1
    ]
  ])
  const family = "vllm:time_to_first_token_seconds"
  lines.push(`# HELP ${family} Time to first token.`, `# TYPE ${family} histogram`)
  let below = 0
  for (const [i, count] of counters.ttftCounts.entries()) {
    below += count
    lines.push(`${family}_bucket{${labels},le="${ttftBounds[i] ?? "+Inf"}"} ${below}`)
  }
  lines.push(`${family}_count{${labels}} ${below}`, `${family}_sum{${labels}} ${counters.ttftSum}`)
  const start = "process_start_time_seconds"
  lines.push(`# HELP ${start} Start of the process, in seconds since the epoch.`, `# TYPE ${start} gauge`)
  lines.push(`${start} ${core.startedAt}`)
  return `${lines.join("\n")}\n`
}

const escaped = (value: string): string => value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")
