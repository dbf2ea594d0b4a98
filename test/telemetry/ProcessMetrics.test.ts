import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import * as PrometheusText from "../../src/adapters/prometheus/PrometheusText.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import * as ProcessMetrics from "../../src/telemetry/ProcessMetrics.ts"

const setUp = () => {
  const registry = Metrics.registry()
  ProcessMetrics.make(registry)
  return () => {
    const { samples } = PrometheusText.parse(registry.render())
    return (name: string, labels: Readonly<Record<string, string>> = {}): number =>
      samples.find(
        (sample) => sample.name === name && Object.entries(labels).every(([key, each]) => sample.labels[key] === each)
      )!.value
  }
}

describe("metrics of the process", () => {
  it("show how long the event loop was held up, to each who looks", async () => {
    const [one, other] = [setUp(), setUp()]
    // A timer is late only where it was waiting.
    await sleep(60)
    const before = one()
    for (const until = performance.now() + 300; performance.now() < until; );
    await sleep(60)
    for (const after of [one(), other()]) {
      expect(after("nodejs_eventloop_delay_max_seconds")).toBeGreaterThan(0.25)
      expect(after("nodejs_eventloop_delay_p50_seconds")).toBeLessThanOrEqual(
        after("nodejs_eventloop_delay_p99_seconds")
      )
    }
    const active = { nodejs_eventloop_state: "active" }
    const [from, to] = [before, one()].map((value) => value("nodejs_eventloop_time_seconds_total", active))
    expect(to! - from!).toBeGreaterThan(0.25)
    expect(one()("process_cpu_seconds_total")).toBeGreaterThan(before("process_cpu_seconds_total"))
  })

  it("show memory in bytes, and time spent collecting it", async () => {
    const read = setUp()
    let kept: Array<object> = []
    for (let i = 0; i < 2_000_000; i++) {
      kept.push({ i })
      if (kept.length === 50_000) kept = []
    }
    await expect.poll(() => read()("v8js_gc_duration_seconds_total", { v8js_gc_type: "minor" })).toBeGreaterThan(0)
    const value = read()
    expect(value("v8js_gc_duration_seconds_total", { v8js_gc_type: "minor" })).toBeLessThan(60)
    expect(value("process_resident_memory_bytes")).toBeGreaterThan(value("v8js_memory_heap_used_bytes") / 2)
    expect(value("v8js_memory_heap_used_bytes")).toBeGreaterThan(1_000_000)
    // Seconds since the epoch, and not so long ago.
    expect(value("process_start_time_seconds")).toBeGreaterThan(1.7e9)
    expect(value("process_start_time_seconds")).toBeLessThanOrEqual(Date.now() / 1_000)
  })
})
