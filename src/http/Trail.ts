/**
 * Trail: what is noted of one request on its way. From it its receipt, its spans and its metrics are made once the answer
 * has ended, so noting is all that they cost before that.
 *
 * Times are ms of the request's own clock (`Deps.now`), NaN where it never came so far.
 */
import type { KeyLanes } from "../domain/Block.ts"
import type { Endpoint } from "../domain/Request.ts"
import type { Decision } from "../hot/Decision.ts"
import type { Usage } from "../hot/SseScan.ts"
import type { Outcome } from "./Upstream.ts"

/** Where a request stands in a trace. Ids are lower-case hex: 32 digits, and 16. Source: W3C Trace Context. */
export interface Trace {
  readonly traceId: string
  /** This request, here. */
  readonly spanId: string
  /** Who asked; null when it begins here. */
  readonly parentId: string | null
  /** `tracestate`, as it came. */
  readonly state: string | null
  /** Decided at the head: engines are told so. What fails or is slow is kept either way. */
  readonly sampled: boolean
}

/** Makes them, where requests are traced. */
export interface Traces {
  /** From the client's `traceparent` and `tracestate`. */
  readonly begin: (parent: string | undefined, state: string | undefined) => Trace
  readonly spanId: () => string
  /** A sampled request is sent to a worker: `keys` of its prompts, by that worker's block size, where events can tell of them. */
  readonly sent: (trace: Trace, step: Try, keys: ReadonlyArray<KeyLanes>) => void
}

/** What was known of a candidate when it was judged. */
export interface Known {
  /** As in `Pictures.nameOf`. */
  readonly name: string
  readonly trust: "exact" | "degraded" | "approximate"
  /** Since its events, or a proof that there were none, were last heard; null without events. */
  readonly heardAgoMs: number | null
  /** Leading blocks of the (last) prompt that it has, by layer: within reach of its device, host, disk, external; guessed. */
  readonly blocks: ReadonlyArray<number>
  readonly blockSize: number
}

/** Where there are receipts: what is known of a slot now, and of how many candidates it is kept. */
export interface Witness {
  /** `blocks`: as of `Known`. */
  readonly known: (slot: number, blocks: ReadonlyArray<number>) => Known
  readonly most: number
}

/** One worker tried. */
export interface Try {
  readonly worker: string
  readonly slot: number
  /** Span of what is sent; null where nothing is traced. */
  readonly spanId: string | null
  /** Null where receipts are off. */
  readonly decision: Decision | null
  /** Of the slots of `decision`, in their order. */
  readonly candidates: ReadonlyArray<Known>
  /** How many were eligible, and the states of all that serve the model: `3 healthy, 1 open`. */
  readonly eligible: number
  readonly states: string
  /** Leading prompt tokens the worker holds, as predicted; and the most that any eligible one does. */
  readonly heldTokens: number
  readonly bestTokens: number
  /** When each phase began; `place` has in it the wait for its turn. */
  readonly matchMs: number
  readonly placeMs: number
  readonly bookMs: number
  readonly sentMs: number
  firstByteMs: number
  endMs: number
  /** Null until it has ended. */
  end: Outcome | null
  usage: Usage | null
  outputTokens: number | null
}

export interface Trail {
  /** `x-request-id` */
  readonly id: string
  readonly endpoint: Endpoint
  /** Null where nothing is traced. */
  readonly trace: Trace | null
  /** When each phase began: its body was whole; it was parsed; its prompts were hashed. */
  readonly receivedMs: number
  /** The first of these, in ms since the epoch. */
  readonly epochMs: number
  hashMs: number
  hashedMs: number
  /** How long it waited for its turn, ms: see `actors/Admission.ts`. */
  waitedMs: number
  /** When it was over. */
  settledMs: number
  /** States of the workers that serve its model when none could take it: `2 open, 1 draining`; null when some could. */
  missing: string | null
  readonly tries: Array<Try>
}

export const make = (
  id: string,
  endpoint: Endpoint,
  trace: Trace | null,
  receivedMs: number,
  epochMs = Date.now()
): Trail => ({
  id,
  endpoint,
  trace,
  receivedMs,
  epochMs,
  hashMs: Number.NaN,
  hashedMs: Number.NaN,
  waitedMs: 0,
  settledMs: Number.NaN,
  missing: null,
  tries: []
})

/** `traceparent` of what a request causes. */
export const parentOf = ({ sampled, traceId }: Trace, spanId: string): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`
