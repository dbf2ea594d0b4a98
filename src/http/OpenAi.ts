/** The OpenAI routes: which paths there are, and from a body to a `RouteRequest`. Reads only what routing needs. */
import type { RouteError } from "../domain/Errors.ts"
import type { ChatBody, Endpoint, Prompt, RouteRequest } from "../domain/Request.ts"
import { isLossy } from "../hot/JsonExact.ts"

type Json = Record<string, unknown>
export type Parsed =
  | { readonly ok: true; readonly request: RouteRequest }
  | { readonly ok: false; readonly error: RouteError }

const endpoints: ReadonlyMap<string, Endpoint> = new Map([
  ["/v1/chat/completions", "chat"],
  ["/v1/completions", "completions"]
])

/** Which of the two generating endpoints a path names. */
export const endpointOf = (path: string): Endpoint | undefined => endpoints.get(path)

/** Most prompts in one completions request. More is refused: each is matched against every worker. */
const promptsMax = 1024

const bad = (param: string, value: unknown, fix: string): Parsed => ({
  ok: false,
  error: { _tag: "BadField", param, value: show(value), fix }
})

const show = (value: unknown): string => {
  if (value === undefined) return "missing"
  try {
    const text = JSON.stringify(value)
    return text.length > 80 ? `${text.slice(0, 77)}…` : text
  } catch {
    return "nested too deep to show"
  }
}

const isTokenIds = (value: unknown): value is Array<number> =>
  Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31)

/** Parses a body. Errors are values; the engine judges everything routing does not read. */
export const parse = (endpoint: Endpoint, id: string, body: Buffer): Parsed => {
  const text = body.toString("utf8")
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    return {
      ok: false,
      error: { _tag: "BadJson", detail: body.length === 0 ? "it is empty." : (cause as Error).message }
    }
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return { ok: false, error: { _tag: "BadJson", detail: "it must be an object." } }
  }
  const fields = json as Json
  const { model, stream, cache_salt: salt } = fields
  if (typeof model !== "string" || model === "") return bad("model", model, "give the name of a model as a string.")
  if (stream !== undefined && stream !== null && typeof stream !== "boolean") {
    return bad("stream", stream, "give true or false.")
  }
  if (salt !== undefined && salt !== null && typeof salt !== "string") return bad("cache_salt", salt, "give a string.")
  const prompts = endpoint === "chat" ? chatPrompts(fields, text) : completionPrompts(fields)
  if (!Array.isArray(prompts)) return prompts as Parsed
  const maxTokens = fields["max_completion_tokens"] ?? fields["max_tokens"]
  const { n, priority, vllm_xargs: extras } = fields
  return {
    ok: true,
    request: {
      id,
      endpoint,
      model,
      prompts,
      choices: prompts.length * (typeof n === "number" && n > 1 ? n : 1),
      stream: stream === true,
      salt: salt === undefined || salt === null || salt === "" ? null : salt,
      maxTokens: typeof maxTokens === "number" && maxTokens > 0 ? maxTokens : endpoint === "completions" ? 16 : null,
      usage: stream === true ? usageOf(fields["stream_options"]) : "asked",
      priority: typeof priority === "number" ? priority : null,
      reportsFull: isObject(extras) && extras["kv_cache_report_mode"] === "full"
    }
  }
}

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** Options that do not say are the engine's to read: vLLM takes them for yes. What is no options it refuses. */
const usageOf = (options: unknown): RouteRequest["usage"] => {
  if (options === undefined) return "absent"
  if (options === null) return "off"
  const asked = isObject(options) ? options["include_usage"] : true
  return asked === false || asked === null ? "off" : "asked"
}

/** Numbers that a template may print lie in lists and objects of the body; those of the sampler do not. */
const promptDepthMin = 2

const chatPrompts = (fields: Json, text: string): ReadonlyArray<Prompt> | Parsed => {
  const messages = fields["messages"]
  if (!Array.isArray(messages) || messages.length === 0) {
    return bad("messages", messages, "give at least one message, each an object with a role.")
  }
  for (const [i, message] of messages.entries()) {
    if (typeof message !== "object" || message === null || typeof (message as Json)["role"] !== "string") {
      return bad(`messages[${i}]`, message, "give an object with a role.")
    }
  }
  return [{ _tag: "Messages", body: fields as unknown as ChatBody, lossyNumbers: isLossy(text, promptDepthMin) }]
}

const completionPrompts = (fields: Json): ReadonlyArray<Prompt> | Parsed => {
  const prompt = fields["prompt"]
  const addSpecialTokens = fields["add_special_tokens"] !== false
  const one = (value: unknown): Prompt | undefined =>
    typeof value === "string"
      ? { _tag: "Text", text: value, addSpecialTokens }
      : isTokenIds(value)
        ? { _tag: "Tokens", ids: Uint32Array.from(value) }
        : undefined
  const single = one(prompt)
  if (single !== undefined) return [single]
  const fix = "give a string, a list of strings, a list of token ids, or a list of such lists."
  if (!Array.isArray(prompt) || prompt.length === 0) return bad("prompt", prompt, fix)
  if (prompt.length > promptsMax)
    return bad("prompt", `${prompt.length} prompts`, `send at most ${promptsMax} at once.`)
  const prompts: Array<Prompt> = []
  for (const value of prompt) {
    const each = one(value)
    if (each === undefined) return bad("prompt", value, fix)
    prompts.push(each)
  }
  return prompts
}
