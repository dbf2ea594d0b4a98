/**
 * Traces: requests as lists of block ids. Prompts are in none of them; two prompts share a prefix exactly as far as
 * their lists agree. An id names its block and all before it, so a list may be cut anywhere and ids need no chaining.
 */

export { copied, copyIds, slice } from "./Copies.ts"
export { read } from "./TraceFile.ts"

export interface Request {
  /** What a client would name in a header: the same for all requests of one session; null where nobody knows it. */
  readonly session: number | null
  readonly promptTokens: number
  readonly outputTokens: number
  /** Full blocks only. */
  readonly blocks: Float64Array
}

/** Requests that come when they come, whatever the answers. */
export interface Arrivals {
  readonly kind: "arrivals"
  readonly blockSize: number
  /** How long it lasts; the last request may come earlier. */
  readonly durationMs: number
  /** By time. */
  readonly requests: ReadonlyArray<Request & { readonly atMs: number }>
}

/** Requests of one agent, each sent a pause after the answer before it. */
export interface Chain {
  /** The turn of the main chain whose answer starts this one; null for the main chain, which is the first. */
  readonly after: number | null
  readonly turns: ReadonlyArray<Request & { readonly thinkMs: number }>
}

/** Sessions that wait for their answers. Ids are local to a session, but for negative ones, which all share. */
export interface Sessions {
  readonly kind: "sessions"
  readonly blockSize: number
  readonly sessions: ReadonlyArray<ReadonlyArray<Chain>>
}

export type Trace = Arrivals | Sessions
