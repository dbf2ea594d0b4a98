/**
 * SseClient: sends one streaming chat request and times what comes back.
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

export declare const send: (url: string, body: ChatRequest, options: SendOptions) => Promise<Outcome>
