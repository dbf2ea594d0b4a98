/**
 * What SGLang tells of itself: `/server_info`, server arguments and secrets included, and each rank's load.
 *
 * Source: sgl-project/sglang `python/sglang/srt/entrypoints/http_server.py` (`get_server_info`, `kv_events` since
 * #25844), `managers/io_struct.py` (`LoadSnapshot`).
 */
import type { EngineCore } from "../EngineCore.ts"
import type { Json } from "../Model.ts"
import * as Plan from "../Plan.ts"
import { portOf } from "../Ports.ts"
import type { SimEngine } from "../SimEngine.ts"
import { roomBlocks, type SimOptions, toldBlockSize } from "../SimOptions.ts"

export const version = "0.5.15"

export const load = (options: SimOptions, core: EngineCore) => {
  const blocks = roomBlocks(options)
  const max_total_num_tokens = blocks * options.blockSize
  const num_used_tokens = Math.round(core.usage * blocks) * options.blockSize
  return {
    num_running_reqs: core.running,
    num_waiting_reqs: core.waiting,
    num_waiting_uncached_tokens: core.waitingTokens,
    num_used_tokens,
    num_total_tokens: num_used_tokens + core.waitingTokens,
    max_total_num_tokens,
    max_running_requests: options.maxRunning,
    token_usage: Number(core.usage.toFixed(4)),
    gen_throughput: 0,
    cache_hit_rate: 0,
    utilization: 0
  }
}

export const serverInfo = (engine: SimEngine): Json => {
  const { cores, model, options, url } = engine
  const served = options.models[0]!
  return {
    model_path: served,
    served_model_name: served,
    tokenizer_path: model.folder,
    host: options.host,
    port: Number(new URL(url).port),
    api_key: "sim-secret-api-key",
    admin_api_key: "sim-secret-admin-key",
    context_length: Plan.contextMax(options),
    page_size: toldBlockSize(options),
    tp_size: 1,
    dp_size: options.ranks,
    enable_dp_attention: options.ranks > 1,
    enable_metrics: options.metrics,
    enable_cache_report: options.reportCached,
    enable_priority_scheduling: options.priorityScheduling,
    schedule_low_priority_values_first: options.lowPriorityFirst,
    schedule_policy: "fcfs",
    enable_hierarchical_cache: options.hostBlocks + options.diskBlocks + options.externalBlocks > 0,
    enable_lora: options.loras.length > 0,
    lora_paths: options.loras.length === 0 ? null : options.loras,
    disaggregation_mode: "null",
    speculative_algorithm: null,
    kv_events_config: eventsConfig(engine),
    max_total_num_tokens: roomBlocks(options) * options.blockSize,
    max_req_input_len: Plan.contextMax(options) - 1,
    status: "ready",
    internal_states: cores.map((core, rank) => ({ dp_rank: rank, ...load(options, core) })),
    version,
    kv_events: kvEvents(engine)
  }
}

/** Null when events are off. The host is that of the bind address; the port of a rank is the base and the rank. */
const kvEvents = ({ eventSources, options }: SimEngine): Json | null =>
  eventSources.length === 0
    ? null
    : {
        publisher: "zmq",
        endpoint_host: "*",
        endpoint_port_base: portOf(eventSources[0]!.endpoint),
        topic: options.topic,
        block_size: toldBlockSize(options),
        dp_size: options.ranks
      }

/** The argument it was started with, as it was given: the only place that names the replay port. */
const eventsConfig = ({ eventSources, options }: SimEngine): string | null => {
  const [first] = eventSources
  if (first === undefined) return null
  const bound = (endpoint: string) => `tcp://*:${portOf(endpoint)}`
  return JSON.stringify({
    publisher: "zmq",
    endpoint: bound(first.endpoint),
    ...(first.replayEndpoint === null ? {} : { replay_endpoint: bound(first.replayEndpoint) }),
    buffer_steps: options.bufferSteps,
    topic: options.topic
  })
}
