/** Upstream: sends one exchange to a worker and streams the answer back. */
import type { Exchange } from "./Exchange.ts"
import type { Origin, Pool } from "./Pool.ts"

/** Why a forward failed. */
export type FailCode =
  | "connect" // refused, unreachable, unknown host, TLS
  | "connectTimeout"
  | "reset" // closed before its first byte
  | "firstByteTimeout"
  | "badHead"
  | "badBody" // chunk framing broken
  | "truncated" // closed before the end of the body
  | "silent" // nothing for too long in the middle of a body
  | "aborted" // by `abort()`

export type Outcome =
  | { readonly kind: "complete"; readonly status: number }
  | { readonly kind: "clientGone"; readonly sent: boolean }
  /** `sent`: some bytes went to the client, and its connection has been ended; otherwise the exchange is still to be answered. */
  | { readonly kind: "failed"; readonly sent: boolean; readonly code: FailCode; readonly reason: string }
  | { readonly kind: "held"; readonly status: number }

export interface Forward {
  readonly exchange: Exchange
  readonly origin: Origin
  /** Path and query at the worker. */
  readonly path: string
  /** Flat `[name, value, …]`, lower-case names: set or override request headers. */
  readonly extraHeaders: ReadonlyArray<string>
  readonly body: Buffer
  /** Flat `[name, value, …]`, lower-case names: set or override response headers. */
  readonly answerHeaders?: ReadonlyArray<string>
  /** Nothing has gone to the client yet. `hold` discards this answer: `onEnd` says `held`, the exchange is still to be answered. */
  readonly onHead?: (status: number, header: (name: string) => string | undefined) => "relay" | "hold"
  /** Body payload (never framing) as it passes. The bytes are valid during the call only. */
  readonly onBytes?: (payload: Buffer, nowMs: number) => void
  /** After a failure in the middle of a chunked event stream: bytes to append so that it ends properly, or null to cut it. */
  readonly onFail?: (code: FailCode, reason: string) => string | null
  /** Called exactly once. */
  readonly onEnd: (outcome: Outcome) => void
}

export type ForwardFn = (pool: Pool, forward: Forward) => { readonly abort: () => void }
