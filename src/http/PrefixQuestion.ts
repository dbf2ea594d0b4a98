/** What is asked of `/admin/prefix`: a prompt, in the words of the OpenAI API, read by what reads requests. */
import { Result } from "effect"
import type { RouteError } from "../domain/Errors.ts"
import type { RouteRequest } from "../domain/Request.ts"
import { fault, type Reply } from "./AdminReply.ts"
import * as OpenAi from "./OpenAi.ts"

export interface Question {
  readonly request: RouteRequest
  readonly asksStore: boolean
}

export const form =
  'Give "model" and one of "prompt" (text), "messages" or "tokens" (ids), with "cache_salt" and "store" if you like.'

const names = ["prompt", "messages", "tokens"] as const
/** A list of ids is what the completions API takes for a prompt. */
const parse = (kind: (typeof names)[number], body: string): Result.Result<RouteRequest, Reply> => {
  const parsed = OpenAi.parse(kind === "messages" ? "chat" : "completions", "prefix", Buffer.from(body))
  if (!parsed.ok) return Result.fail(refusal(parsed.error, kind))
  if (parsed.request.prompts.length === 1) return Result.succeed(parsed.request)
  return Result.fail(
    fault(400, "many_prompts", `There are ${parsed.request.prompts.length} prompts.`, "Ask about one.")
  )
}

const refusal = (error: RouteError, kind: string): Reply => {
  if (error._tag === "BadField") {
    const param = error.param === "prompt" ? kind : error.param
    return fault(400, "bad_field", `${param} is ${error.value}.`, `${error.fix[0]!.toUpperCase()}${error.fix.slice(1)}`)
  }
  return fault(400, "bad_json", `${kind} is not JSON${error._tag === "BadJson" ? `: ${error.detail}` : "."}`, form)
}

const only = (given: ReadonlyArray<string>): Result.Result<(typeof names)[number], Reply> => {
  const kinds = names.filter((name) => given.includes(name))
  return kinds.length === 1
    ? Result.succeed(kinds[0]!)
    : Result.fail(fault(400, "bad_question", `The prompt is given ${kinds.length} times.`, form))
}

const badTokens = (tokens: unknown): Reply =>
  fault(400, "bad_field", `tokens is ${(JSON.stringify(tokens) ?? "missing").slice(0, 80)}.`, "Give token ids: 1,2,3.")

const badStore = (store: unknown): Reply =>
  fault(400, "bad_store", `store is ${JSON.stringify(store)}.`, "Use store=true or store=false.")

/** From the query of a GET. */
export const ofQuery = (query: URLSearchParams): Result.Result<Question, Reply> => {
  const kind = only([...query.keys()])
  if (Result.isFailure(kind)) return Result.fail(kind.failure)
  const store = query.get("store") ?? "true"
  if (store !== "true" && store !== "false") return Result.fail(badStore(store))
  const text = query.get(kind.success)!
  if (kind.success === "tokens" && !/^\d+(,\d+)*$/.test(text)) return Result.fail(badTokens(text))
  const fields = {
    model: query.get("model") ?? undefined,
    cache_salt: query.get("cache_salt") ?? undefined,
    ...(kind.success === "prompt" ? { prompt: text } : {}),
    ...(kind.success === "tokens" ? { prompt: text.split(",").map(Number) } : {})
  }
  const body = JSON.stringify(fields)
  // As it was written: numbers are told apart by how they are printed.
  const whole =
    kind.success === "messages" ? `${body.slice(0, -1)}${body === "{}" ? "" : ","}"messages":${text}}` : body
  return Result.map(parse(kind.success, whole), (request) => ({ request, asksStore: store === "true" }))
}

/** From the body of a POST: that of a request, but for `tokens` and `store`. */
export const ofBody = (body: string): Result.Result<Question, Reply> => {
  let fields: Record<string, unknown> = {}
  try {
    const json: unknown = JSON.parse(body)
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("it is no object")
    fields = json as Record<string, unknown>
  } catch (cause) {
    return Result.fail(fault(400, "bad_json", `The body is not a JSON object: ${(cause as Error).message}`, form))
  }
  const { store = true, tokens, ...rest } = fields
  if (typeof store !== "boolean") return Result.fail(badStore(store))
  const kind = only(Object.keys(fields))
  if (Result.isFailure(kind)) return Result.fail(kind.failure)
  const isIds = Array.isArray(tokens) && tokens.every(Number.isInteger)
  if (kind.success === "tokens" && !isIds) return Result.fail(badTokens(tokens))
  const whole = kind.success === "tokens" ? JSON.stringify({ ...rest, prompt: tokens }) : body
  return Result.map(parse(kind.success, whole), (request) => ({ request, asksStore: store }))
}
