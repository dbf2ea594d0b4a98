/** What TensorRT-LLM measures: iteration statistics as JSON, and Prometheus text on a path of its own. */
import type { EngineCore } from "../EngineCore.ts"
import type { Json } from "../Model.ts"
import { PrometheusText, type Row } from "../Prometheus.ts"
import type { SimEngine } from "../SimEngine.ts"
import { type SimOptions, toldBlockSize } from "../SimOptions.ts"

/** One entry a rank: how things stand now. */
export const iterations = (options: SimOptions, cores: ReadonlyArray<EngineCore>): ReadonlyArray<Json> =>
  cores.map((core, rank) => {
    const used = options.blocks - core.freeBlocks
    return {
      attentionDpRank: rank,
      numActiveRequests: core.running,
      numQueuedRequests: core.waiting,
      maxNumActiveRequests: options.maxRunning,
      kvCacheStats: {
        maxNumBlocks: options.blocks,
        freeNumBlocks: core.freeBlocks,
        usedNumBlocks: used,
        tokensPerBlock: options.blockSize
      }
    }
  })

export const text = ({ cores, options }: SimEngine): string => {
  const out = new PrometheusText()
  const labels = { model_name: options.models[0]!, engine_type: "pytorch" }
  const sum = (of: (core: EngineCore) => number) => cores.reduce((total, core) => total + of(core), 0)
  const series = (type: "gauge" | "counter", name: string, help: string, value: number, own = {}) =>
    out.series(type, `trtllm_${name}`, help, [[{ ...labels, ...own }, value] satisfies Row])
  series(
    "gauge",
    "num_requests_running",
    "Requests in the batch.",
    sum(({ running }) => running)
  )
  series(
    "gauge",
    "num_requests_waiting",
    "Requests waiting to enter it.",
    sum(({ waiting }) => waiting)
  )
  series("gauge", "kv_cache_utilization", "Fraction of KV blocks in use.", sum(({ usage }) => usage) / cores.length)
  series("gauge", "kv_cache_tokens_per_block", "Tokens a block.", toldBlockSize(options))
  series("gauge", "kv_cache_max_blocks", "Blocks.", options.blocks * cores.length)
  series(
    "counter",
    "prompt_tokens",
    "Prompt tokens.",
    sum(({ counters }) => counters.promptTokens)
  )
  series(
    "counter",
    "generation_tokens",
    "Tokens generated.",
    sum(({ counters }) => counters.generationTokens)
  )
  return out.text
}
