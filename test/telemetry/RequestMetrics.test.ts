import { describe, expect, it } from "vitest"
import * as PrometheusText from "../../src/adapters/prometheus/PrometheusText.ts"
import { outcomeOf, receiptOf, regretOf } from "../../src/http/ReceiptOf.ts"
import type { Settled } from "../../src/http/Request.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import * as RequestMetrics from "../../src/telemetry/RequestMetrics.ts"
import * as TrafficMetrics from "../../src/telemetry/TrafficMetrics.ts"
import * as SettledRecord from "../support/SettledRecord.ts"

/** Metrics of some requests; `value` answers undefined where there is no such series. */
const after = (records: ReadonlyArray<Settled>) => {
  const registry = Metrics.registry()
  const requests = RequestMetrics.make(registry, () => new Set(["m"]))
  const traffic = TrafficMetrics.make(
    registry,
    () => true,
    () => new Set(["m"])
  )
  for (const record of records) {
    const outcome = outcomeOf(record)
    requests.record(record, outcome)
    traffic.record(record, outcome, regretOf(record)?.pictureTokens ?? null)
  }
  const { samples } = PrometheusText.parse(registry.render())
  return (name: string, labels: Readonly<Record<string, string>> = {}) =>
    samples.find(
      (sample) => sample.name === name && Object.entries(labels).every(([key, each]) => sample.labels[key] === each)
    )?.value
}

const chat = { gen_ai_operation_name: "chat", gen_ai_request_model: "m" }

describe("metrics of requests", () => {
  it("have first token, pace and whole time of each model under OpenTelemetry's names", () => {
    const value = after([SettledRecord.make()])
    expect(value("gen_ai_server_request_duration_seconds_sum", chat)).toBeCloseTo(0.1545)
    expect(value("gen_ai_server_time_to_first_token_seconds_sum", chat)).toBeCloseTo(0.054_25)
    // Ten tokens after the first, in a hundred ms.
    expect(value("gen_ai_server_time_per_output_token_seconds_sum", chat)).toBeCloseTo(0.01)
    const other = after([SettledRecord.make({ endpoint: "completions" })])
    const labels = { ...chat, gen_ai_operation_name: "text_completion" }
    expect(other("gen_ai_server_request_duration_seconds_count", labels)).toBe(1)
  })

  it("keep what failed apart, and out of the times that only a success has", () => {
    const value = after([
      SettledRecord.make(),
      SettledRecord.make({ status: 500, ttftMs: null }),
      SettledRecord.make({ outcome: "clientGone", status: 0 })
    ])
    const count = (error_type: string) =>
      value("gen_ai_server_request_duration_seconds_count", { ...chat, ...(error_type === "" ? {} : { error_type }) })
    expect([count(""), count("worker_error"), count("cancelled")]).toEqual([1, 1, 1])
    expect(value("gen_ai_server_time_to_first_token_seconds_count", chat)).toBe(1)
  })

  it("take no pace from several answers at once, nor from one token", () => {
    const single = SettledRecord.tryOf({ outputTokens: 1 })
    const value = after([SettledRecord.make({ choices: 2 }), SettledRecord.make({}, [single])])
    expect(value("gen_ai_server_time_per_output_token_seconds_count", chat)).toBe(0)
  })

  it("have the phases that the request's receipt has, tries added up", () => {
    const first = SettledRecord.tryOf({ worker: "v", endMs: 20, firstByteMs: Number.NaN })
    const second = SettledRecord.tryOf({ matchMs: 21, placeMs: 22, bookMs: 24, sentMs: 27 })
    for (const tries of [[], [SettledRecord.tryOf()], [first, second]]) {
      const record = SettledRecord.make({}, tries)
      const value = after([record])
      const { phases } = receiptOf(record, "eta")
      for (const phase of RequestMetrics.phases) {
        const count = value("warmpath_phase_seconds_count", { phase })
        expect(count, phase).toBe(phases[phase] === null ? 0 : 1)
        if (count === 1) expect(value("warmpath_phase_seconds_sum", { phase })).toBeCloseTo(phases[phase]! / 1_000, 6)
      }
    }
  })

  it("set beside each other the best cache, the one predicted and the one delivered, and what lies between", () => {
    const value = after([SettledRecord.make(), SettledRecord.make({ deliveredTokens: 448 })])
    const tokens = (name: string, labels = {}) =>
      value(`warmpath_worker_${name}_tokens_total`, { worker: "w", model: "m", ...labels })
    expect(tokens("best_cached")).toBe(1_200)
    expect(tokens("predicted_cached")).toBe(800)
    expect(tokens("delivered_cached")).toBe(832)
    expect(tokens("regret", { cause: "choice" })).toBe(400)
    // 400 predicted: once 384 came, once 448.
    expect(tokens("regret", { cause: "picture" })).toBe(16)
    expect(tokens("unpredicted")).toBe(48)
  })

  it("leave nothing of workers that left, even where a request ends after its worker was taken off the list", () => {
    const registry = Metrics.registry()
    const present = new Set(["w"])
    let looks = 0
    const served = () => {
      looks++
      return new Set(["m"])
    }
    const traffic = TrafficMetrics.make(registry, (worker) => present.has(worker), served)
    const ends = (worker: string) => {
      const record = SettledRecord.make({}, [SettledRecord.tryOf({ worker })])
      traffic.record(record, "ok", null)
    }
    const workers = () => new Set(PrometheusText.parse(registry.render()).samples.map(({ labels }) => labels["worker"]))
    ends("w")
    ends("late")
    expect(workers()).toEqual(new Set(["w", "late"]))
    traffic.sweep()
    expect(workers()).toEqual(new Set(["w"]))
    // Nobody scrapes, and a thousand workers come and go.
    looks = 0
    for (let i = 0; i < 1_000; i++) ends(`w-${i}`)
    expect(workers().size).toBeLessThanOrEqual(65)
    // They stay: then one looks through them at each doubling only.
    looks = 0
    for (let i = 0; i < 1_000; i++) {
      present.add(`x-${i}`)
      ends(`x-${i}`)
    }
    expect(looks).toBeLessThanOrEqual(6)
  })

  it("hold a failed try against the worker that failed, and its tokens against none", () => {
    const failed = SettledRecord.tryOf({ worker: "v", firstByteMs: Number.NaN, endMs: 5 })
    const value = after([SettledRecord.make({}, [failed, SettledRecord.tryOf()])])
    const count = (worker: string, outcome: string) => value("warmpath_worker_requests_total", { worker, outcome })
    expect([count("v", "worker_error"), count("w", "ok"), count("v", "ok")]).toEqual([1, 1, undefined])
    expect(value("warmpath_worker_prompt_tokens_total", { worker: "v" })).toBe(0)
    expect(value("warmpath_worker_time_to_first_token_seconds_count", { worker: "v" })).toBe(0)
  })
})
