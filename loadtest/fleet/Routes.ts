/**
 * What a simulated engine answers over HTTP, path by path.
 *
 * | path | as vLLM |
 * |---|---|
 * | `POST /v1/chat/completions`, `/v1/completions` | whole and streamed; a client that goes aborts its request |
 * | `GET /v1/models`, `/health`, `/ping`, `/version`, `/load`, `/metrics`; `POST /tokenize`, `/detokenize` | |
 * | `GET /kv_event_sources` | each rank's publisher configuration, keyed by rank (vllm-project/vllm#55844) |
 * | `POST /reset_prefix_cache` | 400 while requests hold blocks |
 * | `GET /sim/cache`, `/sim/state`, `/sim/faults`; `POST /sim/faults`, `/sim/restart` | ours; `?engine=N` means a sibling in this process |
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Faults from "./Faults.ts"
import * as Metrics from "./Metrics.ts"
import type { Json } from "./Model.ts"
import * as Plan from "./Plan.ts"
import * as Replies from "./Replies.ts"
import { Reply } from "./Reply.ts"
import type { SimEngine } from "./SimEngine.ts"

/** Most bytes of one request body. */
const bodyBytesMax = 64 * 1024 * 1024

export interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly reply: Reply
  readonly body: Buffer
}

type Handler = (engine: SimEngine, call: Call) => void

const empty = Buffer.alloc(0)

export const refuse = (reply: Reply, refusal: Plan.Refusal): void => reply.json(refusal.status, Replies.error(refusal))

/** Hands on the whole body, or null when it is too long. Nothing when the client goes first. */
const readBody = (request: IncomingMessage, then: (body: Buffer | null) => void): void => {
  const chunks: Array<Buffer> = []
  let bytes = 0
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= bodyBytesMax) chunks.push(chunk)
  })
  request.once("end", () => then(bytes <= bodyBytesMax ? Buffer.concat(chunks, bytes) : null))
}

const withJson =
  (answer: (engine: SimEngine, json: Json, call: Call) => void): Handler =>
  (engine, call) => {
    const json = Plan.parseBody(call.body)
    if (Plan.isRefusal(json)) refuse(call.reply, json)
    else answer(engine, json, call)
  }

const models: Handler = ({ model, options }, { reply }) => {
  const card = (id: string, root: string, parent: string | null, maxModelLen: number | null): Json => ({
    id,
    object: "model",
    created: Math.floor(Date.now() / 1000),
    owned_by: "vllm",
    root,
    parent,
    max_model_len: maxModelLen,
    permission: []
  })
  const base = options.models[0]!
  reply.json(200, {
    object: "list",
    data: [
      ...options.models.map((id) => card(id, model.folder, null, Plan.contextMax(options))),
      ...options.loras.map((id) => card(id, `/adapters/${id}`, base, null))
    ]
  })
}

/**
 * vLLM since #55844: an object keyed by data-parallel rank, each value that rank's resolved publisher configuration with
 * the ports it was given; `{}` when events are off. Its documentation says so ("keyed by DP rank"), and its first
 * consumers read `publisher`, `endpoint`, `replay_endpoint` and `topic`. Encoding (`msgpack`) and schema version (1) are
 * told only by the gRPC call of the Rust front end.
 */
const eventSources: Handler = ({ options, eventEndpoint, replayEndpoint }, { reply }) =>
  reply.json(
    200,
    options.events
      ? {
          "0": {
            enable_kv_cache_events: true,
            publisher: "zmq",
            endpoint: eventEndpoint,
            replay_endpoint: replayEndpoint,
            buffer_steps: options.bufferSteps,
            hwm: 100_000,
            max_queue_size: 100_000,
            topic: options.topic
          }
        }
      : {}
  )

const tokenize = withJson((engine, json, { reply }) => {
  const { model, options } = engine
  const adapter = Plan.adapterOf(options, json["model"])
  if (adapter !== null && typeof adapter === "object") {
    refuse(reply, adapter)
    return
  }
  // That route's request has no such fields.
  const { documents: _, prompt, reasoning_effort: __, ...asked } = json
  const ids =
    typeof prompt === "string" ? model.encode(prompt, json["add_special_tokens"] !== false) : Plan.chatIds(asked, model)
  if (!Array.isArray(ids)) {
    const refusal = ids as Plan.Refusal
    refuse(reply, refusal)
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
    refuse(reply, Plan.refusal(400, "BadRequestError", message, "tokens"))
    return
  }
  reply.json(200, { prompt: engine.model.decode(tokens as ReadonlyArray<number>) })
})

const reset: Handler = (engine, { reply }) => {
  if (engine.core.reset()) {
    reply.whole(200, "application/json", "")
    return
  }
  const message = "The prefix cache was not reset: requests hold blocks. Try again when nothing runs."
  refuse(reply, Plan.refusal(400, "BadRequestError", message))
}

const setFaults = withJson((engine, json, { reply }) => {
  const spec = Faults.parse(json)
  if (typeof spec === "string") {
    refuse(reply, Plan.refusal(400, "BadRequestError", spec))
    return
  }
  // A crash answers nobody.
  if (spec.crash === undefined) {
    engine.setFaults(spec)
    reply.json(200, { ...engine.faults.standing })
    return
  }
  reply.json(200, { ...engine.faults.standing })
  setImmediate(() => engine.setFaults(spec))
})

const restart: Handler = (engine, { reply }) => {
  reply.json(200, { engine: engine.index })
  setImmediate(() => void engine.restart())
}

const ok: Handler = (_, { reply }) => reply.whole(200, "application/json", "")

const routes: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
  "/v1/chat/completions": { POST: (engine, call) => engine.generate("chat", call) },
  "/v1/completions": { POST: (engine, call) => engine.generate("completions", call) },
  "/v1/models": { GET: models },
  "/health": { GET: ok },
  "/ping": { GET: ok, POST: ok },
  "/version": {
    GET: ({ options }, { reply }) => reply.json(200, { version: options.eventEncoding === "map" ? "0.26.0" : "0.22.0" })
  },
  "/load": { GET: (engine, { reply }) => reply.json(200, { server_load: engine.load }) },
  "/metrics": {
    GET: ({ options, core }, { reply }) =>
      reply.whole(200, "text/plain; version=0.0.4; charset=utf-8", Metrics.text(options, core))
  },
  "/tokenize": { POST: tokenize },
  "/detokenize": { POST: detokenize },
  "/kv_event_sources": { GET: eventSources },
  "/reset_prefix_cache": { POST: reset },
  "/sim/cache": { GET: (engine, { reply }) => reply.json(200, engine.cache()) },
  "/sim/state": { GET: (engine, { reply }) => reply.json(200, { ...engine.state() }) },
  "/sim/faults": { GET: (engine, { reply }) => reply.json(200, { ...engine.faults.standing }), POST: setFaults },
  "/sim/restart": { POST: restart }
}

/** Answers one HTTP request to `own`, or under `/sim/` to the sibling it names. */
export const answer = (
  own: SimEngine,
  siblings: ReadonlyArray<SimEngine>,
  request: IncomingMessage,
  response: ServerResponse
): void => {
  const reply = new Reply(response)
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://engine")
  const route = routes[pathname]
  if (route === undefined) {
    refuse(reply, Plan.refusal(404, "Not Found", "Not Found"))
    return
  }
  const handler = route[request.method === "HEAD" ? "GET" : (request.method ?? "GET")]
  if (handler === undefined) {
    refuse(reply, Plan.refusal(405, "Method Not Allowed", "Method Not Allowed"))
    return
  }
  const sibling = searchParams.get("engine")
  const engine = pathname.startsWith("/sim/") && sibling !== null ? siblings[Number(sibling)] : own
  if (engine === undefined) {
    const message = `There is no engine ${sibling} in this process; there are ${siblings.length}.`
    refuse(reply, Plan.refusal(404, "NotFoundError", message))
    return
  }
  const call: Call = { request, response, reply, body: empty }
  if (request.method !== "POST") {
    handler(engine, call)
    return
  }
  readBody(request, (body) => {
    if (body !== null) {
      handler(engine, { ...call, body })
      return
    }
    const message = `The body has more than ${bodyBytesMax} bytes.`
    refuse(reply, Plan.refusal(413, "RequestEntityTooLargeError", message))
  })
}
