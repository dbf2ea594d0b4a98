/**
 * EngineMetrics: what an engine says about itself on `/metrics`, by vLLM's names.
 *
 * Counters are since the engine started. A series that is missing reads as 0, or null where 0 would be a statement.
 */
import type { Dispatcher } from "undici"

export interface EngineMetrics {
  readonly running: number
  readonly waiting: number
  /** Requests answered to their end. */
  readonly requests: number
  /** Prompt tokens looked up in the cache. */
  readonly promptTokens: number
  /** Prompt tokens found there. */
  readonly cachedTokens: number
  /** Part of the device blocks pinned by requests under way, 0 to 1. */
  readonly kvUsage: number | null
}

/** Sum of all series of one name, whatever their labels; null when there is none. */
const total = (text: string, name: string): number | null => {
  let sum: number | null = null
  for (const line of text.split("\n")) {
    if (!line.startsWith(name)) continue
    const next = line[name.length]
    if (next !== "{" && next !== " ") continue // Another name that begins alike.
    const value = Number(
      line
        .slice(next === "{" ? line.lastIndexOf("}") + 1 : name.length)
        .trim()
        .split(" ")[0]
    )
    if (Number.isFinite(value)) sum = (sum ?? 0) + value
  }
  return sum
}

export const parse = (text: string): EngineMetrics => ({
  running: total(text, "vllm:num_requests_running") ?? 0,
  waiting: total(text, "vllm:num_requests_waiting") ?? 0,
  requests: total(text, "vllm:request_success_total") ?? 0,
  promptTokens: total(text, "vllm:prefix_cache_queries_total") ?? 0,
  cachedTokens: total(text, "vllm:prefix_cache_hits_total") ?? 0,
  kvUsage: total(text, "vllm:kv_cache_usage_perc")
})

/** Rejects when the engine does not answer 200 within two seconds. */
export const read = async (url: string, dispatcher: Dispatcher): Promise<EngineMetrics> => {
  const { body, statusCode } = await dispatcher.request({
    origin: url,
    path: "/metrics",
    method: "GET",
    signal: AbortSignal.timeout(2_000)
  })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`${url}/metrics answered HTTP ${statusCode}.`)
  return parse(text)
}
