import { describe, expect, it } from "vitest"
import * as PrometheusText from "../../src/adapters/prometheus/PrometheusText.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import * as RouterMetrics from "../../src/telemetry/RouterMetrics.ts"

const value = (text: string, name: string, labels: Record<string, string> = {}) =>
  PrometheusText.parse(text).samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, label]) => sample.labels[key] === label)
  )?.value

describe("Metrics", () => {
  it("shows a counter from zero, so that its first increase is seen", () => {
    const registry = Metrics.registry()
    const counter = registry.counter("a_total", "Things", { kind: 'odd "one"\n' })
    expect(registry.render()).toContain("# HELP a_total Things\n# TYPE a_total counter\n")
    expect(value(registry.render(), "a_total")).toBe(0)
    counter.add(2)
    counter.add(3)
    expect(value(registry.render(), "a_total", { kind: 'odd "one"\n' })).toBe(5)
  })

  it("takes the series of a worker that left out", () => {
    const registry = Metrics.registry()
    const [a, b] = ["a", "b"].map((worker) => registry.gauge("load", "Load", { worker }))
    a!.set(1)
    b!.set(2)
    a!.remove()
    expect(value(registry.render(), "load", { worker: "a" })).toBeUndefined()
    expect(value(registry.render(), "load", { worker: "b" })).toBe(2)
  })

  it("puts milliseconds into buckets of seconds, cumulatively", () => {
    const registry = Metrics.registry()
    const histogram = registry.histogram("t_seconds", "Time", [0.1, 1])
    for (const ms of [50, 100, 500, 5_000]) histogram.record(ms)
    const text = registry.render()
    expect(["0.1", "1", "+Inf"].map((le) => value(text, "t_seconds_bucket", { le }))).toEqual([2, 3, 4])
    expect(value(text, "t_seconds_count")).toBe(4)
    expect(value(text, "t_seconds_sum")).toBeCloseTo(5.65)
  })

  it("reads what is only worth reading when someone looks", () => {
    const registry = Metrics.registry()
    const gauge = registry.gauge("depth", "Depth")
    let depth = 0
    registry.onScrape(() => gauge.set(depth))
    depth = 7
    expect(value(registry.render(), "depth")).toBe(7)
  })

  it("keeps two registries apart", () => {
    const [one, other] = [Metrics.registry(), Metrics.registry()]
    one.counter("a_total", "Things").add(1)
    expect(other.counter("a_total", "Things")).toBeDefined()
    expect([one, other].map((registry) => value(registry.render(), "a_total"))).toEqual([1, 0])
  })
})

describe("RouterMetrics", () => {
  it("gives every name its unit, a help text and the prefix, in text that reads back whole", () => {
    const registry = Metrics.registry()
    const metrics = RouterMetrics.make(registry)
    metrics.requests.died.add(1)
    for (const histogram of [metrics.ttft, metrics.duration, metrics.decision]) histogram.record(12)
    for (const gauge of [metrics.inFlight, metrics.indexBlocks, metrics.indexBytes]) gauge.set(3)
    const text = registry.render()
    expect(PrometheusText.parse(text).oddLines).toBe(0)
    expect(value(text, "warmpath_requests_total", { outcome: "died" })).toBe(1)
    const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!] as const)
    expect(types.length).toBe(Object.keys(metrics).length)
    for (const [name, type] of types) {
      expect(name).toMatch(/^warmpath_[a-z_]+$/)
      if (type === "counter") expect(name).toMatch(/_total$/)
      if (type === "histogram") expect(name).toMatch(/_seconds$/)
      expect(text).toContain(`# HELP ${name} `)
    }
  })
})
