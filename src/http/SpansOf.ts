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
  ATTR_HTTP_RESPONSE_STATUS_CODE
} from "@opentelemetry/semantic-conventions/incubating"
import type { Span } from "../telemetry/Spans.ts"
import * as ReceiptOf from "./ReceiptOf.ts"
import type { Settled } from "./Request.ts"
import type { Trace, Trail } from "./Trail.ts"
import * as TrySpans from "./TrySpans.ts"

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

const operations = { chat: "chat", completions: "text_completion" } as const

const make = (
  trail: Trail,
  trace: Trace,
  model: string | null,
  attributes: Attributes,
  error: string | null,
  deps: TrySpans.Deps
): ReadonlyArray<Span> => {
  const { epochMs, hashMs, hashedMs, receivedMs, settledMs, tries } = trail
  const { parentId, spanId, state, traceId } = trace
  const atMs = (ms: number): number => epochMs + (ms - receivedMs)
  const operation = operations[trail.endpoint]
  const asked = TrySpans.known({ [ATTR_GEN_AI_OPERATION_NAME]: operation, [ATTR_GEN_AI_REQUEST_MODEL]: model })
  const common: TrySpans.Common = { traceId, parentId: spanId, state, atMs, spanId: deps.spanId }
  const whole: Span = {
    ...{ traceId, spanId, parentId, state, kind: "server", error },
    name: model === null ? operation : `${operation} ${model}`,
    startMs: epochMs,
    endMs: atMs(settledMs),
    attributes: { ...asked, [ATTR_HTTP_REQUEST_METHOD]: "POST", "warmpath.request_id": trail.id, ...attributes }
  }
  const spans = [
    whole,
    TrySpans.phase(common, "receive", receivedMs, hashMs),
    TrySpans.phase(common, "hash", hashMs, hashedMs),
    ...TrySpans.of(common, trail, asked, deps),
    TrySpans.phase(common, "settle", tries.at(-1)?.endMs ?? Number.NaN, settledMs)
  ]
  return spans.filter((span) => span !== null)
}

export const ofSettled = (settled: Settled, trace: Trace, kept: Kept, deps: TrySpans.Deps): ReadonlyArray<Span> => {
  const { trail } = settled
  const last = trail.tries.at(-1)
  const outcome = ReceiptOf.outcomeOf(settled)
  const isError = outcome === "missing" || outcome === "worker_error" || outcome === "died"
  const failure = last === undefined ? null : TrySpans.failureOf(last)
  const attributes = TrySpans.known({
    [ATTR_HTTP_RESPONSE_STATUS_CODE]: settled.status > 0 ? settled.status : null,
    [ATTR_ERROR_TYPE]: isError ? (outcome === "missing" ? outcome : (failure?.[0] ?? outcome)) : null,
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
export const ofRefused = (
  status: number,
  trail: Trail,
  trace: Trace,
  kept: Kept,
  deps: TrySpans.Deps
): ReadonlyArray<Span> => {
  const isError = status >= 500
  const attributes = TrySpans.known({
    [ATTR_HTTP_RESPONSE_STATUS_CODE]: status,
    [ATTR_ERROR_TYPE]: isError ? "defect" : null,
    "warmpath.kept": kept,
    "warmpath.outcome": isError ? "defect" : "client_error"
  })
  // What it asked for may be any text.
  return make(trail, trace, null, attributes, isError ? `answered ${status}` : null, deps)
}
