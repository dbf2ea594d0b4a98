/**
 * One small request to a worker, as a router would forward it. Each has a connection of its own, so that what balances
 * connections shows.
 */
import { once } from "node:events"
import { request as plain } from "node:http"
import { request as secure } from "node:https"
import { performance } from "node:perf_hooks"
import { Redacted } from "effect"
import type { Prompt } from "../domain/Request.ts"
import type { WorkerSpec } from "../domain/Worker.ts"
import type { Answer } from "./Seen.ts"

/** A busy engine answers so few tokens within it. */
const deadlineMs = 60_000
const answerBytesMax = 1024 * 1024
const outputTokens = 2

export interface Reply {
  /** 0: none came. */
  readonly status: number
  readonly text: string
}

/** Never rejects. */
export const ask = async (
  { apiKey, url }: Pick<WorkerSpec, "url" | "apiKey">,
  path: string,
  body: unknown,
  rank: number | null = null,
  ms = deadlineMs
): Promise<Reply> => {
  const method = body === undefined ? "GET" : "POST"
  const headers = {
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${Redacted.value(apiKey)}` }),
    ...(rank === null ? {} : { "x-data-parallel-rank": String(rank) })
  }
  try {
    const signal = AbortSignal.timeout(ms)
    const send = url.startsWith("https:") ? secure : plain
    const sent = send(url + path, { method, headers, agent: false, signal })
    sent.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = await once(sent, "response", { signal })
    const parts: Array<Buffer> = []
    let bytes = 0
    for await (const part of response as AsyncIterable<Buffer>) {
      bytes += part.length
      if (bytes > answerBytesMax) throw new Error("its answer is larger than any of an engine")
      parts.push(part)
    }
    return { status: response.statusCode, text: Buffer.concat(parts).toString("utf8") }
  } catch (cause) {
    const late = cause instanceof Error && cause.name === "AbortError"
    const code = (cause as NodeJS.ErrnoException).code
    return { status: 0, text: late ? `no answer in ${ms / 1_000} s` : (code ?? String(cause)) }
  }
}

const bodyOf = (model: string, prompt: Prompt, salt: string | null) => {
  const common = { model, max_tokens: outputTokens, temperature: 0, ...(salt === null ? {} : { cache_salt: salt }) }
  switch (prompt._tag) {
    case "Messages":
      return { ...common, ...prompt.body }
    case "Text":
      return { ...common, prompt: prompt.text }
    case "Tokens":
      return { ...common, prompt: [...prompt.ids] }
  }
}

const record = (value: unknown): Readonly<Record<string, unknown>> | null =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null

const count = (value: unknown): number | null => (typeof value === "number" && value >= 0 ? value : null)

const parsed = (text: string): Readonly<Record<string, unknown>> | null => {
  try {
    return record(JSON.parse(text))
  } catch {
    return null
  }
}

/** What an engine said of an error, short. */
const whyOf = (text: string): string => {
  const json = parsed(text)
  const message = record(json?.["error"])?.["message"] ?? json?.["message"] ?? json?.["detail"]
  return (typeof message === "string" ? message : text).slice(0, 200)
}

export const generate = async (
  spec: WorkerSpec,
  model: string,
  prompt: Prompt,
  salt: string | null,
  rank: number | null
): Promise<Answer> => {
  const path = prompt._tag === "Messages" ? "/v1/chat/completions" : "/v1/completions"
  const begun = performance.now()
  const { status, text } = await ask(spec, path, bodyOf(model, prompt, salt), rank)
  const usage = record(parsed(text)?.["usage"])
  return {
    status,
    why: status === 200 ? "" : whyOf(text),
    promptTokens: count(usage?.["prompt_tokens"]),
    cachedTokens: count(record(usage?.["prompt_tokens_details"])?.["cached_tokens"]),
    ms: performance.now() - begun
  }
}
