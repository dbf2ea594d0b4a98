import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as SimFleet from "../../../loadtest/fleet/SimFleet.ts"
import * as OtlpServer from "../../support/OtlpServer.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"
const variable = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"

describe("A simulated vLLM that tells of traces", () => {
  let collector: OtlpServer.OtlpServer
  let fleet: SimFleet.SimFleet
  beforeEach(async () => {
    process.env[variable] = "http/protobuf"
    collector = await OtlpServer.start()
    fleet = await SimFleet.start({ engines: 1, speed: 40, otlpTracesEndpoint: `${collector.url}/v1/traces` })
  })
  afterEach(async () => {
    delete process.env[variable]
    await fleet.close()
    await collector.close()
  })

  const complete = async (
    headers: Readonly<Record<string, string>>,
    prompt: string | ReadonlyArray<string> = "Hello"
  ) => {
    const body = JSON.stringify({ model: "sim/qwen3", prompt, max_tokens: 4, ignore_eos: true })
    const answer = await fetch(`${fleet.urls[0]}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body
    })
    return (await answer.json()) as { readonly usage: { readonly prompt_tokens: number } }
  }
  const got = () =>
    expect.poll(() => collector.spans.map(({ attributes }) => attributes["gen_ai.request.id"]).sort(), {
      timeout: 10_000
    })

  it("puts a span for each prompt into the trace it came with, unless that is not sampled", async () => {
    await complete({ traceparent: `00-${traceId}-${spanId}-00`, "x-request-id": "unsampled" })
    const { usage } = await complete({ traceparent: `00-${traceId}-${spanId}-01`, "x-request-id": "one" })
    await complete({ "x-request-id": "two" }, ["Hello", "there"])
    await got().toEqual(["cmpl-one", "cmpl-two-0", "cmpl-two-1"])
    const [one, two] = collector.spans
    expect(one).toMatchObject({
      ...{ traceId, parentSpanId: spanId, name: "llm_request", kind: "server" },
      resource: { "service.name": "vllm", "service.instance.id": fleet.urls[0] },
      attributes: { "gen_ai.usage.prompt_tokens": usage.prompt_tokens, "gen_ai.usage.completion_tokens": 4 }
    })
    const { attributes: said, end, start } = one!
    const latency = (name: string) => Number(said[`gen_ai.latency.${name}`])
    expect(latency("e2e")).toBeCloseTo(Number(end - start) / 1e9, 4)
    expect(latency("time_in_queue") + latency("time_in_model_inference")).toBeCloseTo(latency("e2e"), 6)
    expect(latency("time_to_first_token")).toBeGreaterThan(latency("time_in_queue"))
    expect(latency("time_to_first_token")).toBeLessThan(latency("e2e"))
    expect(two!.parentSpanId).toBe("")
  })
})
