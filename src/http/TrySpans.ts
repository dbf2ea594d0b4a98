/** From what was noted of one worker tried to the spans of that try: match, place, book, and `forward` with what came of it. */
import type { Attributes } from "@opentelemetry/api"
import {
  ATTR_ERROR_TYPE,
  ATTR_GEN_AI_PROVIDER_NAME,
  ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
  ATTR_GEN_AI_USAGE_INPUT_TOKENS,
  ATTR_GEN_AI_USAGE_OUTPUT_TOKENS,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT
} from "@opentelemetry/semantic-conventions/incubating"
import type { Span } from "../telemetry/Spans.ts"
import * as ReceiptOf from "./ReceiptOf.ts"
import type { Trail, Try } from "./Trail.ts"

/** Where a try went, while its worker is known. */
export interface Place {
  readonly address: string
  readonly port: number
  /** `vllm`, `sglang` … */
  readonly engine: string
}

export interface Deps {
  /** What chose the workers. */
  readonly policy: string
  readonly placeOf: (step: Try) => Place | null
  readonly spanId: () => string
}

/** Candidates that lost, of which is told why. */
const lostMax = 3

/** What is null, or not a number, is left out. */
export const known = (
  given: Readonly<Record<string, string | number | boolean | ReadonlyArray<string> | null | undefined>>
) =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value != null && !Number.isNaN(value))) as Attributes

/** What all spans of a request but its own have in common. */
export interface Common {
  readonly traceId: string
  readonly parentId: string
  readonly state: string | null
  readonly atMs: (ms: number) => number
  readonly spanId: () => string
}

/** Null for a phase that it never came to. */
export const phase = (
  { atMs, spanId, ...common }: Common,
  name: string,
  startMs: number,
  endMs: number,
  attributes: Attributes = {}
): Span | null =>
  Number.isNaN(startMs) || Number.isNaN(endMs)
    ? null
    : { ...common, name, kind: "internal", spanId: spanId(), startMs: atMs(startMs), endMs: atMs(endMs), attributes }

const placement = (step: Try, policy: string): Attributes => {
  const { candidates, others } = ReceiptOf.placedOf(step, policy)
  const chosen = candidates.find(({ slot }) => slot === step.slot)
  return known({
    "warmpath.policy": policy,
    "warmpath.worker": chosen?.worker ?? step.worker,
    "warmpath.candidates": candidates.length + others,
    "warmpath.states": step.states,
    "warmpath.cost_ms": chosen?.costMs,
    "warmpath.wait_ms": chosen?.waitMs,
    "warmpath.prefill_ms": chosen?.ownMs,
    "warmpath.trust": chosen?.trust,
    "warmpath.credit": chosen?.credit,
    "warmpath.events_age_ms": chosen?.heardAgoMs,
    "warmpath.lost": candidates
      .flatMap(({ lost, worker }) => (lost === null ? [] : [`${worker}: ${lost}`]))
      .slice(0, lostMax)
  })
}

/** How a try failed: class and words; null when it did not. A client that leaves is no failure of the worker. */
export const failureOf = ({ end }: Try): readonly [type: string, why: string] | null => {
  if (end?.kind === "failed") return [end.code, end.reason]
  if (end === null || end.kind === "clientGone" || end.status < 400) return null
  return [String(end.status), `it answered ${end.status}`]
}

const forward = (
  { atMs, spanId, ...common }: Common,
  step: Try,
  at: number,
  asked: Attributes,
  place: Place | null
): Span => {
  const failure = failureOf(step)
  const { end, usage } = step
  return {
    ...common,
    name: "forward",
    kind: "client",
    spanId: step.spanId ?? spanId(),
    startMs: atMs(step.sentMs),
    endMs: atMs(step.endMs),
    events: Number.isNaN(step.firstByteMs) ? [] : [{ name: "first_token", atMs: atMs(step.firstByteMs) }],
    error: failure?.[1] ?? null,
    attributes: {
      ...asked,
      ...known({
        [ATTR_GEN_AI_PROVIDER_NAME]: place?.engine,
        [ATTR_SERVER_ADDRESS]: place?.address,
        [ATTR_SERVER_PORT]: place?.port,
        [ATTR_HTTP_REQUEST_METHOD]: "POST",
        [ATTR_HTTP_RESPONSE_STATUS_CODE]: end?.kind === "complete" || end?.kind === "held" ? end.status : null,
        [ATTR_ERROR_TYPE]: failure?.[0],
        [ATTR_GEN_AI_USAGE_INPUT_TOKENS]: usage?.promptTokens,
        [ATTR_GEN_AI_USAGE_OUTPUT_TOKENS]: usage?.completionTokens ?? step.outputTokens,
        [ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS]: usage?.cachedTokens,
        "warmpath.worker": step.worker,
        "warmpath.try": at + 1
      })
    }
  }
}

export const of = (common: Common, trail: Trail, asked: Attributes, deps: Deps): ReadonlyArray<Span | null> =>
  trail.tries.flatMap((step, at) => {
    const { bookMs, matchMs, placeMs, sentMs } = step
    const held = { "warmpath.predicted_tokens": step.heldTokens, "warmpath.best_tokens": step.bestTokens }
    return [
      // What was waited for the store belongs to the first of them.
      phase(common, "match", at === 0 ? trail.hashedMs : matchMs, placeMs, held),
      phase(common, "place", placeMs, bookMs, placement(step, deps.policy)),
      phase(common, "book", bookMs, sentMs),
      Number.isNaN(step.endMs) ? null : forward(common, step, at, asked, deps.placeOf(step))
    ]
  })
