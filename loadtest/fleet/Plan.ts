/**
 * From the body of a generating request to what the engine is to do, or to why it will not: vLLM's rules and words.
 *
 * Source: vllm-project/vllm `vllm/entrypoints/openai` (protocol and serving of chat and completions). `n`, sampling
 * parameters and tools' choice are accepted and have no effect. What other engines do otherwise is in their dialect.
 */
import { createHash, randomUUID } from "node:crypto"
import type { Dialect } from "./Dialect.ts"
import type { Picture } from "./Generation.ts"
import type { Json, Model } from "./Model.ts"
import { roomBlocks, type SimOptions } from "./SimOptions.ts"

export type Endpoint = "chat" | "completions"

export interface Plan {
  readonly endpoint: Endpoint
  /** Name to answer under: the canonical one, or the adapter's. */
  readonly model: string
  readonly lora: string | null
  readonly salt: string | null
  /** Data-parallel rank it must go to; null when any will do. */
  readonly rank: number | null
  /** The lowest enters first. */
  readonly priority: number
  /** Announce the reused prefix again. */
  readonly reportsAll: boolean
  /** Pictures in the first prompt. */
  readonly pictures: ReadonlyArray<Picture>
  /** Token ids, one list a choice. */
  readonly prompts: ReadonlyArray<ReadonlyArray<number>>
  /** Most tokens of each answer. */
  readonly maxTokens: ReadonlyArray<number>
  readonly minTokens: number
  readonly ignoreEos: boolean
  readonly seed: number
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly continuousUsage: boolean
  readonly returnTokenIds: boolean
}

/** An error body in the making. */
export interface Refusal {
  readonly status: number
  readonly type: string
  readonly message: string
  readonly param: string | null
}

export const isRefusal = (value: object): value is Refusal => "status" in value

export const refusal = (status: number, type: string, message: string, param: string | null = null): Refusal => ({
  status,
  type,
  message,
  param
})

const bad = (message: string, param: string | null = null) => refusal(400, "BadRequestError", message, param)

/** Parses JSON as the engine's web framework does, error text included. */
export const parseBody = (bytes: Buffer): Json | Refusal => {
  const invalid = (message: string) => refusal(400, "Bad Request", message)
  try {
    const json: unknown = JSON.parse(bytes.toString("utf8"))
    if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Json
    return invalid("[{'type': 'model_attributes_type', 'loc': ('body',), 'msg': 'Input should be a valid dictionary'}]")
  } catch (cause) {
    const reason = (cause as Error).message.replaceAll("'", "")
    return invalid(
      `[{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error', 'ctx': {'error': '${reason}'}}]`
    )
  }
}

/** A data-parallel rank, if there is one of that number. */
export const inRange = (rank: number, ranks: number): number | Refusal =>
  rank >= 0 && rank < ranks ? rank : bad(`data_parallel_rank ${rank} is out of range [0, ${ranks}).`)

/** Context limit: what is configured, but never more than a request may hold of the cache. */
export const contextMax = (options: SimOptions): number =>
  Math.min(options.maxModelLen, roomBlocks(options) * options.blockSize)

/** `header` is `X-data-parallel-rank`. */
export const make = (
  endpoint: Endpoint,
  body: Json,
  header: string | undefined,
  { dialect, model, options }: { readonly dialect: Dialect; readonly model: Model; readonly options: SimOptions }
): Plan | Refusal => {
  const lora = dialect.adapterOf(options, body)
  if (lora !== null && typeof lora === "object") return lora
  const rank = dialect.rankOf(options.ranks, header, body)
  if (rank !== null && typeof rank === "object") return rank
  const pictures: Array<Picture> = []
  const prompts =
    endpoint === "chat" ? chatPrompts(body, model, options, dialect, pictures) : completionPrompts(body, model)
  if (!Array.isArray(prompts)) return prompts as Refusal
  const asked = body["max_completion_tokens"] ?? body["max_tokens"] ?? (endpoint === "completions" ? 16 : null)
  if (asked !== null && !(Number.isInteger(asked) && (asked as number) >= 1)) {
    return bad(`max_tokens must be at least 1, got ${JSON.stringify(asked)}.`, "max_tokens")
  }
  const limit = contextMax(options)
  const maxTokens: Array<number> = []
  for (const { length } of prompts as ReadonlyArray<ReadonlyArray<number>>) {
    if (length === 0) return bad("The decoder prompt cannot be empty", "prompt")
    const room = limit - length
    if (room < 1 || (asked !== null && (asked as number) > room)) return overflow(limit, length, asked as number | null)
    maxTokens.push(asked === null ? room : (asked as number))
  }
  const stream = body["stream"] === true
  const streamOptions = (body["stream_options"] ?? {}) as Json
  const salt = body["cache_salt"]
  if (salt !== undefined && salt !== null && (typeof salt !== "string" || salt === "")) {
    return bad("Parameter 'cache_salt' must be a non-empty string if provided.", "cache_salt")
  }
  return {
    endpoint,
    model: lora ?? options.models[0]!,
    lora,
    salt: saltOf(options, (salt as string | null | undefined) ?? null),
    rank,
    priority: options.priorityScheduling ? Number(body["priority"] ?? 0) * dialect.priorityOrder(options) : 0,
    reportsAll:
      options.dialect === "vllm" && (body["vllm_xargs"] as Json | undefined)?.["kv_cache_report_mode"] === "full",
    pictures,
    prompts: prompts as ReadonlyArray<ReadonlyArray<number>>,
    maxTokens,
    minTokens: typeof body["min_tokens"] === "number" ? body["min_tokens"] : 0,
    ignoreEos: body["ignore_eos"] === true,
    seed: typeof body["seed"] === "number" ? body["seed"] : 0,
    stream,
    includeUsage: stream && streamOptions["include_usage"] === true,
    continuousUsage: stream && streamOptions["continuous_usage_stats"] === true,
    returnTokenIds: body["return_token_ids"] === true
  }
}

/** Without prefix caching every prompt is its own: it finds nothing, and nothing finds it. */
const saltOf = ({ prefixCaching, saltAdded, saltIgnored }: SimOptions, given: string | null): string | null =>
  prefixCaching ? (saltIgnored ? null : (given ?? saltAdded)) : randomUUID()

const overflow = (limit: number, prompt: number, asked: number | null): Refusal =>
  bad(
    asked === null || prompt >= limit
      ? `This model's maximum context length is ${limit} tokens. However, your request has ${prompt} input tokens. ` +
          "Please reduce the length of the input messages."
      : `This model's maximum context length is ${limit} tokens. However, you requested ${asked} output tokens and your ` +
          `prompt contains at least ${prompt} input tokens, for a total of at least ${prompt + asked} tokens. Please ` +
          "reduce the length of the input prompt or the number of requested output tokens.",
    "input_tokens"
  )

/** Ids of a chat body, as `/v1/chat/completions` and `/tokenize` make them; one id where a picture stands. */
export const chatIds = (body: Json, model: Model, options: SimOptions): ReadonlyArray<number> | Refusal => {
  const messages = body["messages"]
  if (!Array.isArray(messages) || messages.length === 0) return bad("messages must be a non-empty list.", "messages")
  if (messages.some((message) => typeof message !== "object" || message === null)) {
    return bad("Each message must be an object with a role.", "messages")
  }
  try {
    const picture = options.imageTokens > 0 ? model.picture?.text : undefined
    return model.encode(model.render(body, picture), body["add_special_tokens"] === true)
  } catch (cause) {
    return bad((cause as Error).message, "messages")
  }
}

const chatPrompts = (
  body: Json,
  model: Model,
  options: SimOptions,
  dialect: Dialect,
  pictures: Array<Picture>
): ReadonlyArray<ReadonlyArray<number>> | Refusal => {
  const ids = chatIds(body, model, options)
  if (!Array.isArray(ids)) return ids as Refusal
  return [
    dialect.pictured(expanded(ids as ReadonlyArray<number>, picturesOf(body), model, options, pictures), pictures)
  ]
}

/** Puts each picture's placeholders where its one id stands, and notes where that is. */
const expanded = (
  ids: ReadonlyArray<number>,
  urls: ReadonlyArray<string>,
  model: Model,
  { imageTokens }: SimOptions,
  pictures: Array<Picture>
): ReadonlyArray<number> => {
  if (urls.length === 0) return ids
  const out: Array<number> = []
  for (const id of ids) {
    const url = id === model.picture?.id ? urls[pictures.length] : undefined
    if (url === undefined) {
      out.push(id)
      continue
    }
    const identifier = createHash("sha256").update(url).digest("hex")
    pictures.push({ identifier, offset: out.length, length: imageTokens })
    for (let i = 0; i < imageTokens; i++) out.push(id)
  }
  return out
}

/** URLs of the pictures of a chat, in order. */
const picturesOf = (body: Json): ReadonlyArray<string> =>
  (body["messages"] as ReadonlyArray<Json>).flatMap(({ content }) =>
    Array.isArray(content)
      ? content.flatMap((part: Json) => {
          const image = part["image_url"] as { readonly url?: string } | string | undefined
          return part["type"] === "image_url" ? [String((image as { url?: string } | undefined)?.url ?? image)] : []
        })
      : []
  )

const completionPrompts = (body: Json, model: Model): ReadonlyArray<ReadonlyArray<number>> | Refusal => {
  const prompt = body["prompt"]
  const special = body["add_special_tokens"] !== false
  const given: ReadonlyArray<unknown> = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt : [prompt]
  if (given.length === 0) return bad("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
  const prompts: Array<ReadonlyArray<number>> = []
  for (const one of given) {
    if (typeof one === "string") prompts.push(model.encode(one, special))
    else if (!Array.isArray(one))
      return bad("prompt must be a string, a list of strings, or lists of token ids.", "prompt")
    else {
      const unknown = (one as ReadonlyArray<unknown>).find((id) => model.piece(id as number) === undefined)
      if (unknown !== undefined) return bad(`Token id ${JSON.stringify(unknown)} is out of vocabulary`, "prompt")
      prompts.push(one as ReadonlyArray<number>)
    }
  }
  return prompts
}
