/**
 * What a simulated vLLM answers over HTTP.
 *
 * | path | as vLLM |
 * |---|---|
 * | `POST /v1/chat/completions`, `/v1/completions` | whole and streamed; a client that goes aborts its request |
 * | `GET /v1/models`, `/health`, `/ping`, `/version`, `/load`, `/metrics`; `POST /tokenize`, `/detokenize` | |
 * | `GET /kv_event_sources` | each rank's publisher configuration, keyed by rank (vllm-project/vllm#55844) |
 * | `POST /reset_prefix_cache` | 400 while requests hold blocks |
 */
import { generate, type Handler, metrics, ok, type Routes, refuse, withJson } from "../Http.ts"
import * as Models from "../Models.ts"
import * as Plan from "../Plan.ts"
import * as Metrics from "./Metrics.ts"

/**
 * vLLM since #55844: an object keyed by data-parallel rank, each value that rank's resolved publisher configuration with
 * the ports it was given; `{}` when events are off. Its documentation says so ("keyed by DP rank"), and its first
 * consumers read `publisher`, `endpoint`, `replay_endpoint` and `topic`. Encoding (`msgpack`) and schema version (1) are
 * told only by the gRPC call of the Rust front end.
 */
const eventSources: Handler = ({ eventSources, options }, { reply }) =>
  reply.json(
    200,
    Object.fromEntries(
      eventSources.map(({ endpoint, replayEndpoint }, rank) => [
        rank,
        {
          enable_kv_cache_events: true,
          publisher: "zmq",
          endpoint,
          replay_endpoint: replayEndpoint,
          buffer_steps: options.bufferSteps,
          hwm: 100_000,
          max_queue_size: 100_000,
          topic: options.topic
        }
      ])
    )
  )

const tokenize = withJson((engine, json, { reply }) => {
  const { dialect, model, options } = engine
  const adapter = dialect.adapterOf(options, json)
  if (adapter !== null && typeof adapter === "object") {
    refuse(engine, reply, adapter)
    return
  }
  // That route's request has no such fields.
  const { documents: _, prompt, reasoning_effort: __, ...asked } = json
  const ids =
    typeof prompt === "string"
      ? model.encode(prompt, json["add_special_tokens"] !== false)
      : Plan.chatIds(asked, model, options)
  if (!Array.isArray(ids)) {
    refuse(engine, reply, ids as Plan.Refusal)
    return
  }
  const tokens = ids as ReadonlyArray<number>
  reply.json(200, {
    count: tokens.length,
    max_model_len: Plan.contextMax(options),
    tokens,
    token_strs: json["return_token_strs"] === true ? tokens.map((id) => model.piece(id)) : null
  })
})

const detokenize = withJson((engine, json, { reply }) => {
  const tokens = json["tokens"]
  if (!Array.isArray(tokens) || tokens.some((id) => engine.model.piece(id as number) === undefined)) {
    const message = "tokens must be a list of token ids of this model."
    refuse(engine, reply, Plan.refusal(400, "BadRequestError", message, "tokens"))
    return
  }
  reply.json(200, { prompt: engine.model.decode(tokens as ReadonlyArray<number>) })
})

const reset: Handler = (engine, { reply }) => {
  if (engine.reset()) {
    reply.whole(200, "application/json", "")
    return
  }
  const message = "The prefix cache was not reset: requests hold blocks. Try again when nothing runs."
  refuse(engine, reply, Plan.refusal(400, "BadRequestError", message))
}

const version: Handler = ({ options }, { reply }) =>
  reply.json(200, { version: options.eventEncoding === "map" ? "0.26.0" : "0.22.0" })

export const routes: Routes = {
  "/v1/chat/completions": { POST: generate("chat") },
  "/v1/completions": { POST: generate("completions") },
  "/v1/models": { GET: Models.list("vllm", { permission: [] }) },
  "/health": { GET: ok },
  "/ping": { GET: ok, POST: ok },
  "/version": { GET: version },
  "/load": { GET: (engine, { reply }) => reply.json(200, { server_load: engine.load }) },
  "/metrics": { GET: metrics(Metrics.text) },
  "/tokenize": { POST: tokenize },
  "/detokenize": { POST: detokenize },
  "/kv_event_sources": { GET: eventSources },
  "/reset_prefix_cache": { POST: reset }
}
