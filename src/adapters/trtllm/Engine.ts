/**
 * TensorRT-LLM (trtllm-serve) over HTTP. It tells no one where it publishes KV events: that is the operator's to say.
 * Its `POST /kv_cache_events` hands each event to one reader only, so it is left alone.
 * Source: NVIDIA/TensorRT-LLM `serve/openai_server.py`.
 */
import type { Engine } from "../../ports/Engine.ts"
import { type HttpJson, optional } from "../http/HttpJson.ts"
import { decode } from "../kvevents/KvEvents.ts"
import * as Health from "../openai/Health.ts"
import * as Models from "../openai/Models.ts"
import * as Metrics from "./Metrics.ts"

export const make = (http: HttpJson): Engine => {
  const ask = (url: string, signal: AbortSignal) => http.get(`${url}/prometheus/metrics`, signal)
  return {
    name: "trtllm",
    discover: async (url, signal) => {
      const { models } = await Models.ask(http, url, signal)
      const { blockCount, blockSize, startedAtMs } = Metrics.read(await optional(ask(url, signal)))
      return {
        engine: "trtllm",
        // A model from the hub is served under its hub name, one from a folder under the folder's last.
        models: models.map((model) => (model.id.includes("/") ? { ...model, root: model.root ?? model.id } : model)),
        blockSize,
        blockCount,
        eventSources: [],
        ranks: [],
        priorityOrder: null,
        unsetPriority: null,
        tokenizes: false,
        startedAtMs
      }
    },
    healthy: (url, signal, deep) => Health.ask(http, url, signal, deep),
    load: async (url, signal) => Metrics.read(await ask(url, signal)).load,
    tokenize: async (_url, _model, prompt) => (prompt._tag === "Tokens" ? prompt.ids : null),
    decode
  }
}
