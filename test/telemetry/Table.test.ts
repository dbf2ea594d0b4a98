import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import * as Table from "../../src/telemetry/Table.ts"

describe("the table of metrics", () => {
  it("in the room's README is what the code describes: else run node src/telemetry/Table.ts", () => {
    const text = readFileSync(Table.file, "utf8")
    expect(text).toBe(Table.renewed(text))
  })

  it("names each metric once, with its unit, by the rules of Prometheus", () => {
    const names = Table.all.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const { bounds, help, labels, name, type } of Table.all) {
      expect(name).toMatch(/^(warmpath|gen_ai|process|nodejs|v8js)_[a-z0-9_]+$/)
      expect(/_total$/.test(name)).toBe(type === "counter")
      if (type === "histogram") expect(name).toMatch(/_seconds$/)
      expect([...bounds]).toEqual([...new Set(bounds)].sort((a, b) => a - b))
      for (const label of labels) expect(label).toMatch(/^[a-z][a-z0-9_]*$/)
      expect(help).toMatch(/^[A-Z0-9].*[^.]$/)
    }
  })

  it("has no label for what clients make up", () => {
    const closed = new Set([
      ...["gen_ai_operation_name", "gen_ai_request_model", "error_type", "model", "outcome", "phase", "cause", "sink"],
      ...["worker", "rank", "state", "trust", "tier", "role", "nodejs_eventloop_state", "v8js_gc_type"]
    ])
    for (const { labels } of Table.all) for (const label of labels) expect(closed).toContain(label)
  })
})
