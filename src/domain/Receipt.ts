/**
 * Receipt: why one request went where it went, and what came of it. The same JSON in the admin API, the page, the command
 * line, the file and on NATS. There is no prompt text in it, and nothing that it could be told from.
 *
 * Tokens are prompt tokens unless said; times are ms, offsets count from `at`. A placement follows from its `decision` alone:
 * `hot/Decision.again` makes it once more, and so gets the terms of every candidate's cost.
 */
import type { Candidate } from "./Placement.ts"
import type { Endpoint } from "./Request.ts"

/** `missing`: no worker could take it. `died`: its worker broke off in the middle. */
export type ReceiptOutcome = "ok" | "client_error" | "worker_error" | "missing" | "died" | "cancelled"

/** The phases that it has passed, each with its share of the time. */
export type Phases = Readonly<
  Record<"receive" | "hash" | "match" | "place" | "book" | "forward" | "settle", number | null>
>

export interface ReceiptCandidate extends Candidate {
  /** `host:port`, or the worker's own id; `…/dp1` for one of its ranks. */
  readonly worker: string
  readonly trust: "exact" | "degraded" | "approximate"
  /** Share of the overlap that is believed. */
  readonly credit: number
  /** Age of what its events last told; null where there are none. */
  readonly heardAgoMs: number | null
  /** Leading tokens within reach of each tier, nearer ones included, and guessed ones. */
  readonly heldTokens: Readonly<Record<"device" | "host" | "disk" | "external" | "guess", number>>
  readonly queued: number
  readonly active: number
  /** Why it was not chosen, in words; null for the one that was. */
  readonly lost: string | null
}

/** One worker tried. */
export interface ReceiptTry {
  readonly atMs: number
  readonly worker: string
  readonly slot: number
  readonly policy: string
  /** What one ms of added work costs others, and requests per ms and worker: constants of the cost at that moment. */
  readonly price: number
  readonly arrivalsPerMs: number
  /** The cheapest first. */
  readonly candidates: ReadonlyArray<ReceiptCandidate>
  /** Eligible ones that were not kept: more than are worth telling. */
  readonly others: number
  /** Of all that serve the model: `3 healthy, 1 open`. */
  readonly states: string
  /** Leading tokens that the worker was thought to hold, and the most that any eligible one was. */
  readonly predictedTokens: number
  readonly bestTokens: number
  /** As the engine reported; null where it did not. */
  readonly deliveredTokens: number | null
  /** First byte, end: offsets. */
  readonly firstByteMs: number | null
  readonly endMs: number | null
  /** `answered 200`, or how it failed. */
  readonly end: string
  /** `hot/Decision.ts`; null where nothing was kept. */
  readonly decision: unknown
}

export interface Receipt {
  readonly version: 1
  /** `x-request-id` */
  readonly id: string
  /** ISO 8601: when its body was whole. */
  readonly at: string
  readonly traceId: string | null
  readonly endpoint: Endpoint
  /** As the client named it, and what it is. */
  readonly asked: string
  readonly model: string
  readonly stream: boolean
  readonly prompts: number
  readonly promptTokens: number
  /** Its keys are those that events lead to; else prompts are matched by their text, and tokens are estimated. */
  readonly exact: boolean
  readonly phases: Phases
  /** How long it waited in the router for its turn: part of `place`. See `actors/Admission.ts`. */
  readonly waitedMs: number
  readonly outcome: ReceiptOutcome
  readonly status: number
  /** States of all workers that serve the model, where none could take it, or no other could: `2 open, 1 draining`. */
  readonly missing: string | null
  readonly ttftMs: number | null
  readonly totalMs: number
  readonly outputTokens: number | null
  readonly tries: ReadonlyArray<ReceiptTry>
  /**
   * Tokens of prefill given away, of the last try: by the choice (most held by any eligible worker less that of the one chosen),
   * and by the picture (predicted less delivered; negative: more was found). Null where unknown.
   */
  readonly regret: { readonly choiceTokens: number; readonly pictureTokens: number | null } | null
}

/** One line of a list. */
export interface ReceiptLine {
  readonly id: string
  readonly at: string
  readonly model: string
  readonly worker: string | null
  readonly promptTokens: number
  readonly predictedTokens: number
  readonly deliveredTokens: number | null
  readonly ttftMs: number | null
  readonly totalMs: number
  readonly outcome: ReceiptOutcome
}
