import { describe, expect, it } from "vitest"
import * as PrometheusText from "../../src/adapters/prometheus/PrometheusText.ts"
import { counter, gauge, histogram, unitOf } from "../../src/telemetry/Described.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"

const value = (text: string, name: string, labels: Record<string, string> = {}) =>
  PrometheusText.parse(text).samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, label]) => sample.labels[key] === label)
  )?.value

describe("Metrics", () => {
  it("shows a counter from zero, so that its first increase is seen", () => {
    const registry = Metrics.registry()
    const things = registry.counter(counter("a_total", "Things", ["kind"]), { kind: 'odd "one"\n' })
    expect(registry.render()).toContain("# HELP a_total Things\n# TYPE a_total counter\n")
    expect(value(registry.render(), "a_total")).toBe(0)
    things.add(2)
    things.add(3)
    expect(value(registry.render(), "a_total", { kind: 'odd "one"\n' })).toBe(5)
  })

  it("takes the series of a worker that left out", () => {
    const registry = Metrics.registry()
    const [a, b] = ["a", "b"].map((worker) => registry.gauge(gauge("load", "Load", ["worker"]), { worker }))
    a!.set(1)
    b!.set(2)
    a!.remove()
    expect(value(registry.render(), "load", { worker: "a" })).toBeUndefined()
    expect(value(registry.render(), "load", { worker: "b" })).toBe(2)
  })

  it("puts milliseconds into buckets of seconds, cumulatively", () => {
    const registry = Metrics.registry()
    const time = registry.histogram(histogram("t_seconds", "Time", [0.1, 1]), {})
    for (const ms of [50, 100, 500, 5_000]) time.record(ms)
    const text = registry.render()
    expect(["0.1", "1", "+Inf"].map((le) => value(text, "t_seconds_bucket", { le }))).toEqual([2, 3, 4])
    expect(value(text, "t_seconds_count")).toBe(4)
    expect(value(text, "t_seconds_sum")).toBeCloseTo(5.65)
    time.record(50)
    time.record(Number.NaN)
    expect(value(registry.render(), "t_seconds_count")).toBe(5)
  })

  it("reads what is only worth reading when someone looks", () => {
    const registry = Metrics.registry()
    const shown = registry.gauge(gauge("depth", "Depth"), {})
    let depth = 0
    registry.onScrape(() => shown.set(depth))
    depth = 7
    expect(value(registry.render(), "depth")).toBe(7)
  })

  it("keeps two registries apart", () => {
    const [one, other] = [Metrics.registry(), Metrics.registry()]
    const things = counter("a_total", "Things")
    one.counter(things, {}).add(1)
    expect(other.counter(things, {})).toBeDefined()
    expect([one, other].map((registry) => value(registry.render(), "a_total"))).toEqual([1, 0])
  })

  it("leaves empty labels out, and gives the same labels the same series", () => {
    const registry = Metrics.registry()
    const things = counter("a_total", "Things", ["model", "error_type"])
    for (const error_type of ["", "died", ""]) registry.counter(things, { model: "m", error_type }).add(1)
    const lines = registry.render().split("\n")
    expect(lines).toContain('a_total{model="m"} 2')
    expect(lines).toContain('a_total{model="m",error_type="died"} 1')
  })

  it("lets a handle that was removed speak no more, also when its labels came back", () => {
    const registry = Metrics.registry()
    const load = gauge("load", "Load", ["worker"])
    const [before, after] = [0, 1].map(() => {
      const handle = registry.gauge(load, { worker: "a" })
      handle.remove()
      return handle
    })
    const now = registry.gauge(load, { worker: "a" })
    now.set(3)
    before!.set(1)
    after!.remove()
    expect(value(registry.render(), "load")).toBe(3)
    now.remove()
    expect(registry.render()).toBe("")
  })

  it("knows the unit of a name", () => {
    const names = ["a_seconds", "b_seconds_total", "c_bytes", "d_tokens_total", "e_blocks", "f_ratio", "g_total"]
    expect(names.map(unitOf)).toEqual(["s", "s", "By", "{token}", "{block}", "1", "1"])
  })
})
