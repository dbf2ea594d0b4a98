/**
 * What a simulated `trtllm-serve` answers over HTTP: the minimum a router needs.
 *
 * | path | as TensorRT-LLM |
 * |---|---|
 * | `POST /v1/chat/completions`, `/v1/completions` | errors are flat objects |
 * | `GET /v1/models`, `/health`, `/version` | no context limit among the models |
 * | `GET /metrics` | JSON: the iterations since the last call |
 * | `GET /prometheus/metrics` | Prometheus text |
 * | `POST /kv_cache_events` | always empty: events are streamed |
 */
import { generate, type Handler, metrics, ok, type Routes } from "../Http.ts"
import * as Metrics from "./Metrics.ts"

const models: Handler = ({ options }, { reply }) => {
  const created = Math.floor(Date.now() / 1000)
  const data = [...options.models, ...options.loras].map((id) => ({
    id,
    object: "model",
    created,
    owned_by: "tensorrt_llm"
  }))
  reply.json(200, { object: "list", data })
}

export const routes: Routes = {
  "/v1/chat/completions": { POST: generate("chat") },
  "/v1/completions": { POST: generate("completions") },
  "/v1/models": { GET: models },
  "/health": { GET: ok },
  "/version": { GET: (_, { reply }) => reply.json(200, { version: "1.3.0" }) },
  "/metrics": { GET: ({ cores, options }, { reply }) => reply.json(200, Metrics.iterations(options, cores)) },
  "/prometheus/metrics": { GET: metrics(Metrics.text) },
  "/kv_cache_events": { POST: (_, { reply }) => reply.json(200, []) }
}
