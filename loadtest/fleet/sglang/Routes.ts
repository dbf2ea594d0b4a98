/**
 * What a simulated SGLang answers over HTTP.
 *
 * | path | as SGLang |
 * |---|---|
 * | `POST /v1/chat/completions`, `/v1/completions` | errors are flat objects |
 * | `GET /v1/models`, `/model_info`, `/server_info` (and with `get_` before them) | |
 * | `GET /health` | alive; `/health_generate` makes a token, 503 when none comes in 20 s |
 * | `GET /v1/loads`, `/get_load` | by data-parallel rank; the older form |
 * | `GET /metrics` | 404 without `metrics` |
 * | `POST /tokenize`, `/v1/tokenize`, `/detokenize`, `/v1/detokenize` | prompts only, no chats (sgl-project/sglang#9545) |
 * | `GET`, `POST /flush_cache` | 400 while requests run or wait |
 */
import { generate, type Handler, metrics, ok, type Routes, refuse, withJson } from "../Http.ts"
import * as Models from "../Models.ts"
import * as Plan from "../Plan.ts"
import * as Metrics from "./Metrics.ts"
import * as ServerInfo from "./ServerInfo.ts"

/** At speed 1. */
const healthTimeoutMs = 20_000

const healthGenerate: Handler = ({ cores, leastLoaded, options }, { reply, response }) => {
  const core = cores[leastLoaded]!
  const end = (status: number) => {
    clearTimeout(timer)
    core.abort(task)
    if (!response.closed) reply.whole(status, "text/plain", "")
  }
  const timer = setTimeout(() => end(503), healthTimeoutMs / options.speed)
  const onToken = () => end(200)
  const task = core.submit({ prompt: [0], output: [0], lora: null, salt: null, onToken })
  response.once("close", () => {
    clearTimeout(timer)
    core.abort(task)
  })
}

const modelInfo: Handler = ({ model, options }, { reply }) =>
  reply.json(200, {
    model_path: options.models[0]!,
    tokenizer_path: model.folder,
    is_generation: true,
    preferred_sampling_params: null,
    weight_version: "default",
    has_image_understanding: options.imageTokens > 0,
    has_audio_understanding: false
  })

const serverInfo: Handler = (engine, { reply }) => reply.json(200, ServerInfo.serverInfo(engine))

const loads: Handler = (engine, { reply }) =>
  reply.json(200, {
    timestamp: new Date().toISOString(),
    version: ServerInfo.version,
    loads: engine.cores.map((core, rank) => ({ dp_rank: rank, ...ServerInfo.load(engine.options, core) }))
  })

const getLoad: Handler = ({ cores, options }, { reply }) =>
  reply.json(
    200,
    cores.map((core, rank) => {
      const load = ServerInfo.load(options, core)
      return {
        dp_rank: rank,
        num_reqs: core.running + core.waiting,
        num_waiting_reqs: core.waiting,
        num_tokens: load.num_total_tokens
      }
    })
  )

const flush: Handler = (engine, { reply }) => {
  const idle = engine.cores.every(({ running, waiting }) => running + waiting === 0)
  if (idle && engine.reset()) reply.whole(200, "text/plain", "Cache flushed.")
  else reply.whole(400, "text/plain", "Flush cache failed: requests are running or waiting.")
}

const tokenize = withJson((engine, json, { reply }) => {
  const { prompt } = json
  const special = json["add_special_tokens"] !== false
  const texts: ReadonlyArray<unknown> = Array.isArray(prompt) ? prompt : [prompt]
  if (texts.some((text) => typeof text !== "string")) {
    const message = "prompt must be a string or a list of strings."
    refuse(engine, reply, Plan.refusal(400, "BadRequestError", message, "prompt"))
    return
  }
  const ids = texts.map((text) => engine.model.encode(text as string, special))
  reply.json(200, {
    tokens: Array.isArray(prompt) ? ids : ids[0],
    count: Array.isArray(prompt) ? ids.map(({ length }) => length) : ids[0]!.length,
    max_model_len: Plan.contextMax(engine.options)
  })
})

const detokenize = withJson((engine, json, { reply }) => {
  const tokens = json["tokens"]
  if (!Array.isArray(tokens) || tokens.some((id) => engine.model.piece(id as number) === undefined)) {
    const message = "tokens must be a list of token ids of this model."
    refuse(engine, reply, Plan.refusal(400, "BadRequestError", message, "tokens"))
    return
  }
  reply.json(200, { text: engine.model.decode(tokens as ReadonlyArray<number>) })
})

const metricsIfOn: Handler = (engine, call) =>
  engine.options.metrics ? metrics(Metrics.text)(engine, call) : call.reply.json(404, engine.dialect.notFound)

export const routes: Routes = {
  "/v1/chat/completions": { POST: generate("chat") },
  "/v1/completions": { POST: generate("completions") },
  "/v1/models": { GET: Models.list("sglang") },
  "/health": { GET: ok },
  "/health_generate": { GET: healthGenerate },
  "/model_info": { GET: modelInfo },
  "/get_model_info": { GET: modelInfo },
  "/server_info": { GET: serverInfo },
  "/get_server_info": { GET: serverInfo },
  "/v1/loads": { GET: loads },
  "/get_load": { GET: getLoad },
  "/metrics": { GET: metricsIfOn },
  "/tokenize": { POST: tokenize },
  "/v1/tokenize": { POST: tokenize },
  "/detokenize": { POST: detokenize },
  "/v1/detokenize": { POST: detokenize },
  "/flush_cache": { GET: flush, POST: flush }
}
