/**
 * SseClient: sends one streaming request and times what comes back.
 *
 * Times are milliseconds by the monotonic clock, from just before the request is handed to the socket pool. The first
 * token is the first record that carries content; a role, an empty delta or a comment is none. `send` never rejects:
 * whatever went wrong is in the outcome.
 */
import type { Dispatcher } from "undici"
import type { ChatRequest } from "../workloads/Workload.ts"

export interface Usage {
  readonly promptTokens: number
  /** Prompt tokens the engine found in its cache; 0 when it did not say. */
  readonly cachedTokens: number
  readonly completionTokens: number
}

export interface Outcome {
  readonly ok: boolean
  /** HTTP status, or 0 when no response head came. */
  readonly status: number
  /** What went wrong, in one line; null when nothing did. */
  readonly error: string | null
  /** The worker that answered, by the router's response header; null when there is none. */
  readonly worker: string | null
  /** The text of the answer, as far as it came. */
  readonly text: string
  /** Null when no content came. */
  readonly ttftMs: number | null
  /** Mean time between content records after the first; null below two. */
  readonly itlMs: number | null
  readonly totalMs: number
  /** Null when the engine reported none. */
  readonly usage: Usage | null
}

export interface SendOptions {
  readonly dispatcher: Dispatcher
  readonly signal?: AbortSignal
  readonly headers?: Readonly<Record<string, string>>
}

/** The parts of a streamed record that are read here. */
interface Chunk {
  readonly choices?: ReadonlyArray<{ readonly text?: string; readonly delta?: { readonly content?: string | null } }>
  readonly usage?: {
    readonly prompt_tokens: number
    readonly completion_tokens?: number
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null
  } | null
  readonly error?: { readonly message?: string } | string
}

const errorCharsMax = 300

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").slice(0, errorCharsMax)

const problem = (error: Chunk["error"]): string =>
  oneLine(typeof error === "string" ? error : (error?.message ?? JSON.stringify(error)))

/** The message of an OpenAI error body, or the body itself when it is none. */
const refusal = (body: string): string => {
  try {
    const parsed = JSON.parse(body) as Chunk
    if (parsed.error !== undefined) return problem(parsed.error)
  } catch {
    // Not JSON: shown as it is.
  }
  return oneLine(body)
}

/** The payloads of `data:` lines, as their lines are completed. Characters may be cut anywhere. */
async function* records(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ""
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true })
    let from = 0
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", from)) {
      const line = rest.slice(from, rest[end - 1] === "\r" ? end - 1 : end)
      from = end + 1
      if (line.startsWith("data:")) yield line.slice(line[5] === " " ? 6 : 5)
    }
    rest = rest.slice(from)
  }
}

export const send = (url: string, body: ChatRequest, options: SendOptions): Promise<Outcome> =>
  post(new URL("/v1/chat/completions", url), JSON.stringify(body), options)

/** The same for any generating endpoint, and a body that is JSON already. */
export const post = async ({ origin, pathname }: URL, payload: string, options: SendOptions): Promise<Outcome> => {
  let status = 0
  let worker: string | null = null
  let text = ""
  let firstMs: number | null = null
  let lastMs = 0
  let pieces = 0
  let usage: Usage | null = null
  const start = performance.now()

  const outcome = (error: string | null): Outcome => ({
    ok: error === null,
    status,
    error,
    worker,
    text,
    ttftMs: firstMs,
    itlMs: firstMs === null || pieces < 2 ? null : (lastMs - firstMs) / (pieces - 1),
    totalMs: performance.now() - start,
    usage
  })

  try {
    const response = await options.dispatcher.request({
      origin,
      path: pathname,
      method: "POST",
      headers: { "content-type": "application/json", ...options.headers },
      body: payload,
      ...(options.signal === undefined ? {} : { signal: options.signal })
    })
    status = response.statusCode
    const named = response.headers["x-warmpath-worker"]
    worker = typeof named === "string" ? named : null
    if (status !== 200) return outcome(`HTTP ${status}: ${refusal(await response.body.text())}`)
    let done = false
    let failed: string | null = null
    for await (const record of records(response.body)) {
      if (done) continue
      if (record === "[DONE]") {
        done = true
        continue
      }
      const chunk = JSON.parse(record) as Chunk
      if (chunk.error !== undefined) failed ??= problem(chunk.error)
      const choice = chunk.choices?.[0]
      const content = choice?.delta?.content ?? choice?.text
      if (typeof content === "string" && content !== "") {
        lastMs = performance.now() - start
        firstMs ??= lastMs
        pieces++
        text += content
      }
      if (chunk.usage != null) {
        usage = {
          promptTokens: chunk.usage.prompt_tokens,
          cachedTokens: chunk.usage.prompt_tokens_details?.cached_tokens ?? 0,
          completionTokens: chunk.usage.completion_tokens ?? 0
        }
      }
    }
    if (failed !== null) return outcome(failed)
    return outcome(done ? null : "the stream ended before data: [DONE]")
  } catch (error) {
    const cause: unknown = options.signal?.aborted === true ? options.signal.reason : error
    return outcome(oneLine(cause instanceof Error ? cause.message || cause.name : String(cause)))
  }
}
