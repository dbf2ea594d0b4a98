/**
 * From what was noted of a request to the spans of its trace: one for the request, one for each phase, and one `forward` for
 * each try. Pure. No text of a prompt or an answer is in them. The attributes: telemetry/README.md, "Traces".
 */
import type { Attributes } from "@opentelemetry/api"
import {
  ATTR_ERROR_TYPE,
  ATTR_GEN_AI_OPERATION_NAME,
  ATTR_GEN_AI_PROVIDER_NAME,
  ATTR_GEN_AI_REQUEST_MODEL,
  ATTR_GEN_AI_REQUEST_STREAM,
  ATTR_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
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
import type { Settled } from "./Request.ts"
import type { Trace, Trail, Try } from "./Trail.ts"

/** Why a trace is kept. */
export type Kept = "sampled" | "failed" | "slow"

/** Null: it is not. `slowMs`: time to the first token, or to the whole answer where none is streamed. */
export const keptOf = (
  { outcome, status, stream, totalMs, ttftMs }: Pick<Settled, "outcome" | "status" | "stream" | "totalMs" | "ttftMs">,
  { sampled }: Trace,
  slowMs: number
): Kept | null => {
  if (sampled) return "sampled"
  if (outcome === "failed" || status >= 500) return "failed"
  return (stream ? (ttftMs ?? totalMs) : totalMs) >= slowMs ? "slow" : null
}

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
const known = (given: Readonly<Record<string, string | number | boolean | ReadonlyArray<string> | null | undefined>>) =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value != null && !Number.isNaN(value))) as Attributes

const operations = { chat: "chat", completions: "text_completion" } as const

interface Common {
  readonly traceId: string
  readonly parentId: string
  readonly state: string | null
  readonly atMs: (ms: number) => number
  readonly spanId: () => string
}

/** Null for a phase that it never came to. */
const phase = (
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
const failureOf = ({ end }: Try): readonly [type: string, why: string] | null => {
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

const stepsOf = (common: Common, trail: Trail, asked: Attributes, deps: Deps): ReadonlyArray<Span | null> =>
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

const make = (
  trail: Trail,
  trace: Trace,
  model: string | null,
  attributes: Attributes,
  error: string | null,
  deps: Deps
): ReadonlyArray<Span> => {
  const { epochMs, hashMs, hashedMs, receivedMs, settledMs, tries } = trail
  const { parentId, spanId, state, traceId } = trace
  const atMs = (ms: number): number => epochMs + (ms - receivedMs)
  const operation = operations[trail.endpoint]
  const asked = known({ [ATTR_GEN_AI_OPERATION_NAME]: operation, [ATTR_GEN_AI_REQUEST_MODEL]: model })
  const common: Common = { traceId, parentId: spanId, state, atMs, spanId: deps.spanId }
  const whole: Span = {
    ...{ traceId, spanId, parentId, state, kind: "server", error },
    name: model === null ? operation : `${operation} ${model}`,
    startMs: epochMs,
    endMs: atMs(settledMs),
    attributes: { ...asked, [ATTR_HTTP_REQUEST_METHOD]: "POST", "warmpath.request_id": trail.id, ...attributes }
  }
  const spans = [
    whole,
    phase(common, "receive", receivedMs, hashMs),
    phase(common, "hash", hashMs, hashedMs),
    ...stepsOf(common, trail, asked, deps),
    phase(common, "settle", tries.at(-1)?.endMs ?? Number.NaN, settledMs)
  ]
  return spans.filter((span) => span !== null)
}

export const ofSettled = (settled: Settled, trace: Trace, kept: Kept, deps: Deps): ReadonlyArray<Span> => {
  const { trail } = settled
  const last = trail.tries.at(-1)
  const outcome = ReceiptOf.outcomeOf(settled)
  const isError = outcome === "missing" || outcome === "worker_error" || outcome === "died"
  const failure = last === undefined ? null : failureOf(last)
  const attributes = known({
    [ATTR_HTTP_RESPONSE_STATUS_CODE]: settled.status > 0 ? settled.status : null,
    [ATTR_ERROR_TYPE]: isError ? (outcome === "missing" ? "no_worker" : (failure?.[0] ?? outcome)) : null,
    [ATTR_GEN_AI_REQUEST_STREAM]: settled.stream,
    [ATTR_GEN_AI_PROVIDER_NAME]: last === undefined ? null : deps.placeOf(last)?.engine,
    [ATTR_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK]: settled.ttftMs === null ? null : settled.ttftMs / 1_000,
    [ATTR_GEN_AI_USAGE_INPUT_TOKENS]: settled.reportedPromptTokens,
    [ATTR_GEN_AI_USAGE_OUTPUT_TOKENS]: settled.outputTokens,
    [ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS]: settled.deliveredTokens,
    "warmpath.kept": kept,
    "warmpath.outcome": outcome,
    "warmpath.model": settled.model,
    "warmpath.worker": settled.worker,
    "warmpath.tries": settled.tries,
    "warmpath.prompts": settled.prompts,
    "warmpath.prompt_tokens": settled.promptTokens,
    "warmpath.exact": settled.exact,
    "warmpath.predicted_tokens": settled.predictedTokens,
    "warmpath.best_tokens": settled.bestTokens,
    "warmpath.delivered_tokens": settled.deliveredTokens,
    "warmpath.decision_ms": settled.decisionMs,
    "warmpath.missing": trail.missing
  })
  const why = trail.missing === null ? (failure?.[1] ?? outcome) : `no worker could take it: ${trail.missing}`
  return make(trail, trace, settled.asked, attributes, isError ? why : null, deps)
}

/** Of a request that was answered with an error before a worker was looked for. */
export const ofRefused = (status: number, trail: Trail, trace: Trace, kept: Kept, deps: Deps): ReadonlyArray<Span> => {
  const isError = status >= 500
  const attributes = known({
    [ATTR_HTTP_RESPONSE_STATUS_CODE]: status,
    [ATTR_ERROR_TYPE]: isError ? String(status) : null,
    "warmpath.kept": kept,
    "warmpath.outcome": isError ? "failed" : "client_error"
  })
  // What it asked for may be any text.
  return make(trail, trace, null, attributes, isError ? `answered ${status}` : null, deps)
}
