/**
 * What vLLM tells of each request where it was started with `--otlp-traces-endpoint`: one span, `llm_request`, in the trace
 * that the request's `traceparent` names, with vLLM's own attributes. Told when its last token is there; none for one that
 * was aborted, and none where the trace is not sampled.
 *
 * The address is taken as it is, and spoken to as `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` says: `grpc`, or `http/protobuf`.
 * Source: vllm-project/vllm `vllm/tracing`, `vllm/v1/engine/output_processor.py` (`do_tracing`).
 */
import type { IncomingHttpHeaders } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { ROOT_CONTEXT, SpanKind } from "@opentelemetry/api"
import { W3CTraceContextPropagator } from "@opentelemetry/core"
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources"
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace"

/** One prompt and its answer. Times: ms of `performance.now()`. */
export interface Said {
  readonly id: string
  readonly model: string
  readonly promptTokens: number
  readonly completionTokens: number
  readonly maxTokens: number
  readonly queuedAt: number
  readonly admittedAt: number
  readonly firstTokenAt: number
  readonly endAt: number
}

export interface EngineSpans {
  readonly tell: (headers: IncomingHttpHeaders, said: Said) => void
  /** Sends what is left. */
  readonly close: () => Promise<void>
}

const exporterOf = async (url: string): Promise<SpanExporter> => {
  const protocol = process.env["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] ?? "grpc"
  if (protocol === "grpc") {
    const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc")
    return new OTLPTraceExporter({ url })
  }
  if (protocol !== "http/protobuf")
    throw new Error(`OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is ${protocol}; it must be grpc or http/protobuf.`)
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto")
  return new OTLPTraceExporter({ url })
}

const closeMs = 1_000

const seconds = (ms: number): number => ms / 1_000

export const open = async (url: string, engine: string): Promise<EngineSpans> => {
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": "vllm", "service.instance.id": engine }).merge(
      detectResources({ detectors: [envDetector] })
    ),
    spanProcessors: [new BatchSpanProcessor({ exporter: await exporterOf(url), scheduledDelayMillis: 500 })]
  })
  const tracer = provider.getTracer("vllm.llm_engine")
  const propagator = new W3CTraceContextPropagator()
  const getter = {
    get: (headers: IncomingHttpHeaders, name: string) => headers[name],
    keys: (headers: IncomingHttpHeaders) => Object.keys(headers)
  }
  return {
    tell: (headers, said) => {
      const { admittedAt, endAt, firstTokenAt, queuedAt } = said
      const epochMs = Date.now() - performance.now()
      const parent = propagator.extract(ROOT_CONTEXT, headers, getter)
      const attributes = {
        "gen_ai.request.id": said.id,
        "gen_ai.response.model": said.model,
        "gen_ai.request.max_tokens": said.maxTokens,
        "gen_ai.request.n": 1,
        "gen_ai.usage.num_sequences": 1,
        "gen_ai.usage.prompt_tokens": said.promptTokens,
        "gen_ai.usage.completion_tokens": said.completionTokens,
        "gen_ai.latency.time_in_queue": seconds(admittedAt - queuedAt),
        "gen_ai.latency.time_to_first_token": seconds(firstTokenAt - queuedAt),
        "gen_ai.latency.e2e": seconds(endAt - queuedAt),
        "gen_ai.latency.time_in_model_prefill": seconds(firstTokenAt - admittedAt),
        "gen_ai.latency.time_in_model_decode": seconds(endAt - firstTokenAt),
        "gen_ai.latency.time_in_model_inference": seconds(endAt - admittedAt)
      }
      tracer
        .startSpan("llm_request", { kind: SpanKind.SERVER, startTime: epochMs + queuedAt, attributes }, parent)
        .end(epochMs + endAt)
    },
    // A collector that is away is asked again for ten seconds.
    close: () => Promise.race([provider.shutdown().catch(() => {}), sleep(closeMs, undefined, { ref: false })])
  }
}
