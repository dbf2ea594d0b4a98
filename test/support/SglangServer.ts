/**
 * An SGLang server by script, in the shapes of its `entrypoints/http_server.py`, `entrypoints/v1_loads.py` and
 * `disaggregation/kv_events.py`: one rank, page size 64, events on, keys in clear text in `/server_info`.
 */
import * as ScriptedServer from "./ScriptedServer.ts"

export const secrets = ["sk-serving-key", "sk-admin-key", "hunter2-keyfile-password"] as const

export const kvEvents = (more: Record<string, unknown> = {}) => ({
  publisher: "zmq",
  endpoint_host: "*",
  endpoint_port_base: 5557,
  topic: "kv-events",
  block_size: 64,
  dp_size: 1,
  ...more
})

/** A tenth of the fields, among them every kind. */
export const serverInfo = (more: Record<string, unknown> = {}) => ({
  model_path: "/models/qwen3-8b",
  tokenizer_path: "/models/qwen3-8b-tokenizer",
  served_model_name: "Qwen/Qwen3-8B",
  host: "0.0.0.0",
  port: 30_000,
  page_size: 64,
  tp_size: 1,
  dp_size: 1,
  nnodes: 1,
  schedule_policy: "fcfs",
  enable_priority_scheduling: false,
  schedule_low_priority_values_first: false,
  speculative_algorithm: null,
  api_key: secrets[0],
  admin_api_key: secrets[1],
  ssl_keyfile_password: secrets[2],
  kv_events_config: '{"publisher":"zmq","endpoint":"tcp://*:5557","topic":"kv-events"}',
  status: "ready",
  max_total_num_tokens: 262_144,
  max_req_input_len: 40_955,
  internal_states: [{ last_gen_throughput: 0, memory_usage: { kvcache: 12.5 }, api_key: secrets[0] }],
  version: "0.5.20",
  kv_events: kvEvents(),
  ...more
})

export const card = (id: string, more: Record<string, unknown> = {}) => ({
  id,
  object: "model",
  created: 1_790_000_000,
  owned_by: "sglang",
  root: id,
  parent: null,
  max_model_len: 40_960,
  ...more
})

export const models = (...cards: ReadonlyArray<unknown>): ScriptedServer.Scripted => ({
  body: JSON.stringify({ object: "list", data: cards })
})

export const load = (rank: number, more: Record<string, unknown> = {}) => ({
  dp_rank: rank,
  timestamp: 1_790_000_000.5,
  num_running_reqs: 3,
  num_waiting_reqs: 1,
  num_waiting_uncached_tokens: 700,
  num_used_tokens: 65_536,
  num_total_tokens: 66_236,
  max_total_num_tokens: 262_144,
  token_usage: 0.25,
  gen_throughput: 812.5,
  cache_hit_rate: 0,
  max_running_requests: 2_048,
  ...more
})

export const loads = (...ranks: ReadonlyArray<unknown>): ScriptedServer.Scripted => ({
  body: JSON.stringify({ timestamp: "2026-09-20T00:00:00+00:00", version: "0.5.20", loads: ranks })
})

/** Two data-parallel ranks of two tensor-parallel processes, with `--enable-metrics`. */
export const metrics = `# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="Qwen/Qwen3-8B",pp_rank="0",tp_rank="0"} 5.0
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="Qwen/Qwen3-8B",pp_rank="0",tp_rank="1"} 5.0
sglang:num_running_reqs{dp_rank="1",engine_type="unified",model_name="Qwen/Qwen3-8B",pp_rank="0",tp_rank="2"} 2.0
sglang:num_queue_reqs{dp_rank="0",tp_rank="0"} 4.0
sglang:num_queue_reqs{dp_rank="1",tp_rank="2"} 0.0
sglang:token_usage{dp_rank="0",tp_rank="0"} 0.75
sglang:token_usage{dp_rank="1",tp_rank="2"} 0.25
sglang:cache_hit_rate{dp_rank="0",tp_rank="0"} 0.0
sglang:cache_config_info{num_pages="2000",page_size="32"} 1.0
process_start_time_seconds 1.79e+09
`

export const make = (host?: string) =>
  ScriptedServer.make(
    {
      "GET /health": () => ({ body: "" }),
      "GET /health_generate": () => ({ body: "" }),
      "GET /v1/models": () => models(card("Qwen/Qwen3-8B")),
      "GET /model_info": () => ({
        body: JSON.stringify({
          model_path: "/models/qwen3-8b",
          tokenizer_path: "/models/qwen3-8b-tokenizer",
          is_generation: true,
          preferred_sampling_params: null,
          weight_version: "default"
        })
      }),
      "GET /server_info": () => ({ body: JSON.stringify(serverInfo()) }),
      "GET /v1/loads": () => loads(load(0)),
      "POST /tokenize": (_request, body) => ({
        body: JSON.stringify({
          tokens: "messages" in JSON.parse(body) ? [7, 8, 9] : [1, 2, 3],
          count: 3,
          max_model_len: 40_960
        })
      })
    },
    host
  )
