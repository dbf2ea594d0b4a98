/**
 * Small questions to a worker over HTTP: one pool, a deadline by the caller's signal, a limit on the answer's size.
 *
 * Not the request path: requests are forwarded elsewhere. Rejects with `WorkerUnreachable` when there is no answer, and
 * with `WorkerAnswer` when the answer is too large or is not what was asked for; an HTTP error status is an answer.
 */
import { Redacted } from "effect"
import { Agent } from "undici"

/** The worker did not answer: refused, reset, timed out. */
class WorkerUnreachable extends Error {
  override readonly name = "WorkerUnreachable"
}

/** The worker answered with something that cannot be used. */
export class WorkerAnswer extends Error {
  override readonly name = "WorkerAnswer"
}

export interface Answer {
  readonly status: number
  readonly text: string
}

export interface HttpJson {
  readonly get: (url: string, signal: AbortSignal) => Promise<Answer>
  readonly post: (url: string, body: unknown, signal: AbortSignal) => Promise<Answer>
  /** From now on questions to the origin of `url` bring this key, or none. */
  readonly authorize: (url: string, key: Redacted.Redacted<string> | undefined) => void
  readonly close: () => Promise<void>
}

/** `/metrics` of a busy engine with many histograms is some hundreds of kilobytes. */
const answerBytesMax = 16 * 1024 * 1024

const why = (cause: unknown): string => {
  if (!(cause instanceof Error)) return String(cause)
  if (cause.name === "TimeoutError" || cause.name === "AbortError") return "no answer before the deadline"
  const inner = cause instanceof AggregateError ? cause.errors[0] : undefined
  return (inner instanceof Error ? inner.message : cause.message) || cause.name
}

export const make = (): HttpJson => {
  const agent = new Agent({
    connect: { timeout: 5_000 },
    connections: 4,
    pipelining: 1,
    // Longer than a probe's interval, so that probes reuse a connection; shorter than the engines' 5 s (uvicorn).
    keepAliveTimeout: 4_000,
    headersTimeout: 30_000,
    bodyTimeout: 30_000
  })
  const keys = new Map<string, Redacted.Redacted<string>>()
  const ask = async (
    method: "GET" | "POST",
    url: string,
    body: string | null,
    signal: AbortSignal
  ): Promise<Answer> => {
    const { origin, pathname, search } = new URL(url)
    const key = keys.get(origin)
    try {
      const response = await agent.request({
        origin,
        path: pathname + search,
        method,
        signal,
        body,
        headers: {
          ...(body === null ? {} : { "content-type": "application/json" }),
          ...(key === undefined ? {} : { authorization: `Bearer ${Redacted.value(key)}` })
        }
      })
      const parts: Array<Buffer> = []
      let bytes = 0
      for await (const part of response.body) {
        bytes += part.length
        if (bytes > answerBytesMax) {
          response.body.destroy()
          throw new WorkerAnswer(`${method} ${url} answered more than ${answerBytesMax} bytes; is this an engine?`)
        }
        parts.push(part)
      }
      return { status: response.statusCode, text: Buffer.concat(parts).toString("utf8") }
    } catch (cause) {
      if (cause instanceof WorkerAnswer) throw cause
      throw new WorkerUnreachable(`${method} ${url} failed: ${why(cause)}. Is the engine up and the address right?`, {
        cause
      })
    }
  }
  return {
    get: (url, signal) => ask("GET", url, null, signal),
    post: (url, body, signal) => ask("POST", url, JSON.stringify(body), signal),
    authorize: (url, key) => {
      const { origin } = new URL(url)
      if (key === undefined) keys.delete(origin)
      else keys.set(origin, key)
    },
    close: () => agent.destroy()
  }
}

/**
 * An answer one can do without. One too large to read is as good as none; no answer at all rejects still: half a visit
 * would look like a worker that lost what it did not tell.
 */
export const optional = (answer: Promise<Answer>): Promise<Answer> =>
  answer.catch((cause: unknown) => {
    if (cause instanceof WorkerAnswer) return { status: 0, text: "" }
    throw cause
  })

/** The answer as JSON, or null when its status is not 2xx or its text is not JSON. */
export const json = (answer: Answer): unknown => {
  if (answer.status < 200 || answer.status > 299) return null
  try {
    return JSON.parse(answer.text)
  } catch {
    return null
  }
}

/** The value as an object's fields, or null when it is no object. */
export const record = (value: unknown): Readonly<Record<string, unknown>> | null =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null

/** The value as text that says something, or null. */
export const text = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null)
