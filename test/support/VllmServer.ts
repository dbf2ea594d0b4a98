/**
 * A vLLM front end by script: real shapes, over a real socket; a test replaces any answer.
 * Shapes: vLLM `entrypoints/openai/engine/protocol.py` (ModelCard), `entrypoints/serve`, `v1/metrics`.
 */
import * as ScriptedServer from "./ScriptedServer.ts"

export const card = (id: string, more: Record<string, unknown> = {}) => ({
  id,
  object: "model",
  created: 1_790_000_000,
  owned_by: "vllm",
  root: "Qwen/Qwen3-8B",
  parent: null,
  max_model_len: 40_960,
  permission: [{ id: "modelperm-1", object: "model_permission", allow_sampling: true }],
  ...more
})

export const models = (...cards: ReadonlyArray<unknown>): ScriptedServer.Scripted => ({
  body: JSON.stringify({ object: "list", data: cards })
})

/** Two data-parallel ranks. */
export const metrics = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 3.0
vllm:num_requests_running{engine="1",model_name="Qwen/Qwen3-8B"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 1.0
vllm:num_requests_waiting{engine="1",model_name="Qwen/Qwen3-8B"} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="Qwen/Qwen3-8B"} 0.75
vllm:gpu_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.99
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="auto",enable_prefix_caching="True",engine="0",num_gpu_blocks="4000"} 1.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",enable_prefix_caching="True",engine="1",num_gpu_blocks="4001"} 1.0
process_start_time_seconds 1.79e+09
`

export const make = () =>
  ScriptedServer.make({
    "GET /health": () => ({ body: "" }),
    "GET /version": () => ({ body: '{"version":"0.24.0"}' }),
    "GET /v1/models": () => models(card("Qwen/Qwen3-8B")),
    "GET /metrics": () => ({ body: metrics }),
    "GET /kv_event_sources": () => ({ body: "[]" }),
    "POST /tokenize": (_request, body) => ({
      body: JSON.stringify({
        count: 3,
        max_model_len: 40_960,
        tokens: "messages" in JSON.parse(body) ? [7, 8, 9] : [1, 2, 3],
        token_strs: null
      })
    })
  })
