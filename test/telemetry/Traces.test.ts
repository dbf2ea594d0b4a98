import { ROOT_CONTEXT } from "@opentelemetry/api"
import { type ExportResult, ExportResultCode } from "@opentelemetry/core"
import { emptyResource } from "@opentelemetry/resources"
import { type ReadableSpan, SamplingDecision, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace"
import { describe, expect, it } from "vitest"
import * as Otlp from "../../src/telemetry/Otlp.ts"
import * as Spans from "../../src/telemetry/Spans.ts"
import * as TraceContext from "../../src/telemetry/TraceContext.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

describe("Where a request stands in a trace", () => {
  const never = TraceContext.make(0)
  const always = TraceContext.make(1)

  it("is what its client says, sampled or not", () => {
    const given = never.begin(`00-${traceId}-${spanId}-01`, "a=1")
    expect(given).toEqual({ traceId, spanId: given.spanId, parentId: spanId, state: "a=1", sampled: true })
    expect(given.spanId).toMatch(/^(?!0{16})[0-9a-f]{16}$/)
    expect(given.spanId).not.toBe(spanId)
    expect(always.begin(`00-${traceId}-${spanId}-00`, undefined)).toMatchObject({ sampled: false, state: null })
    // Other flags, and versions to come.
    expect(never.begin(`00-${traceId}-${spanId}-03`, undefined).sampled).toBe(true)
    expect(never.begin(`cc-${traceId}-${spanId}-01-more`, undefined)).toMatchObject({ traceId, sampled: true })
  })

  it.each([
    ["an unknown version", `ff-${traceId}-${spanId}-01`],
    ["no trace", `00-${"0".repeat(32)}-${spanId}-01`],
    ["no span", `00-${traceId}-${"0".repeat(16)}-01`],
    ["capitals", `00-${traceId.toUpperCase()}-${spanId}-01`],
    ["a short id", `00-${traceId.slice(1)}-${spanId}-01`],
    ["something after its end", `00-${traceId}-${spanId}-01-more`],
    ["other words", "hello"],
    ["nothing", ""]
  ])("begins anew for a header with %s", (_, header) => {
    const begun = always.begin(header, "a=1")
    expect(begun).toMatchObject({ parentId: null, state: null, sampled: true })
    expect(begun.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/)
    expect(begun.traceId).not.toBe(traceId)
  })

  it("keeps no tracestate that is longer than has to be passed on", () => {
    const state = (length: number) => never.begin(`00-${traceId}-${spanId}-01`, "a=".padEnd(length, "1"))
    expect(state(512)).toMatchObject({ traceId, state: "a=".padEnd(512, "1") })
    expect(state(513)).toMatchObject({ traceId, parentId: spanId, state: null, sampled: true })
  })

  it("is sampled by its id, as every service of the same ratio would", () => {
    const ratio = 0.25
    const context = TraceContext.make(ratio)
    const sampler = new TraceIdRatioBasedSampler(ratio)
    let sampled = 0
    for (let i = 0; i < 4_000; i++) {
      const begun = context.begin(undefined, undefined)
      const { decision } = sampler.shouldSample(ROOT_CONTEXT, begun.traceId)
      expect(begun.sampled).toBe(decision === SamplingDecision.RECORD_AND_SAMPLED)
      if (begun.sampled) sampled++
    }
    // Seven standard deviations.
    expect(Math.abs(sampled - 1_000)).toBeLessThan(200)
  })
})

const span = (name: string): Spans.Span => ({
  name,
  kind: "internal",
  traceId,
  spanId,
  parentId: null,
  state: null,
  startMs: 1_700_000_000_000.25,
  endMs: 1_700_000_000_001.5,
  attributes: {}
})

describe("Who exports", () => {
  const name = (given: string | null, attributes: string | undefined) => {
    const before = process.env["OTEL_RESOURCE_ATTRIBUTES"]
    delete process.env["OTEL_RESOURCE_ATTRIBUTES"]
    if (attributes !== undefined) process.env["OTEL_RESOURCE_ATTRIBUTES"] = attributes
    const { attributes: made } = Otlp.resourceOf({ name: given, version: "1", instance: "i" })
    delete process.env["OTEL_RESOURCE_ATTRIBUTES"]
    if (before !== undefined) process.env["OTEL_RESOURCE_ATTRIBUTES"] = before
    return made["service.name"]
  }

  it("is called as the knob says, else as the environment does, else warmpath", () => {
    expect(name("edge", "service.name=other")).toBe("edge")
    expect(name(null, "service.name=other,a=1")).toBe("other")
    expect(name(null, "a=1")).toBe("warmpath")
    expect(name(null, undefined)).toBe("warmpath")
  })
})

describe("Spans on their way to a collector", () => {
  const rig = () => {
    const got: Array<ReadableSpan> = []
    const waiting: Array<(result: ExportResult) => void> = []
    const exporter = {
      export: (spans: Array<ReadableSpan>, done: (result: ExportResult) => void) => {
        got.push(...spans)
        waiting.push(done)
      },
      shutdown: async () => {}
    }
    const spans = Spans.make(exporter, emptyResource(), "1")
    const answer = (code: ExportResultCode) => waiting.shift()!({ code })
    return { spans, got, answer }
  }

  it("have the times they had, to the nanosecond, and are counted once the collector has them", async () => {
    const { answer, got, spans } = rig()
    spans.add([span("a"), { ...span("b"), endMs: 0 }])
    const ended = spans.shutdown()
    await expect.poll(() => got.length).toBe(2)
    expect(spans.counts).toEqual({ exported: 0, dropped: 0 })
    answer(ExportResultCode.SUCCESS)
    await ended
    expect(spans.counts).toEqual({ exported: 2, dropped: 0 })
    expect(got[0]).toMatchObject({ startTime: [1_700_000_000, 250_000], endTime: [1_700_000_000, 1_500_000] })
    // A clock that went back.
    expect(got[1]!.duration).toEqual([0, 0])
  })

  it("are dropped by whole requests when too many wait, and counted", async () => {
    const { got, spans } = rig()
    const request = Array.from({ length: 10 }, (_, i) => span(`${i}`))
    // The first 512 are being sent, and are not answered.
    for (let i = 0; i < 600; i++) spans.add(request)
    const taken = 6_000 - spans.counts.dropped
    expect(spans.counts.dropped % 10).toBe(0)
    expect(taken).toBe(Math.floor((Spans.queueMax + got.length) / 10) * 10)
    expect(spans.counts.exported).toBe(0)
  })

  it("that it does not take are lost, and told of once until it takes some again", () => {
    const said: Array<string | null> = []
    let code = ExportResultCode.FAILED
    const exporter = Otlp.watched(
      { export: (_: number, done: (result: ExportResult) => void) => done({ code, error: new Error("away") }) },
      (why) => said.push(why)
    )
    const results: Array<ExportResultCode> = []
    const send = () => exporter.export(0, (result) => results.push(result.code))
    send()
    send()
    code = ExportResultCode.SUCCESS
    send()
    send()
    code = ExportResultCode.FAILED
    send()
    expect(said).toEqual(["away", null, "away"])
    expect(results).toEqual([1, 1, 0, 0, 1])
  })
})
