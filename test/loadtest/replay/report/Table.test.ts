import picocolors from "picocolors"
import { describe, expect, it } from "vitest"
import * as Table from "../../../../loadtest/replay/report/Table.ts"
import { document, type Made } from "../../../support/ReplayResults.ts"

const made: ReadonlyArray<Made> = [
  { strategy: "ours", kind: "ours", medianMs: 400, hitRate: 0.4 },
  { strategy: "close", kind: "rival", medianMs: 500, hitRate: 0.4 },
  { strategy: "lost", kind: "rival", medianMs: 90_000, hitRate: 0.1, grows: 30 },
  { strategy: "pooled", kind: "bound", medianMs: 300, hitRate: 0.5 }
]

const plain = picocolors.createColors(false)
const lineOf = (text: string, name: string) => text.split("\n").find((line) => line.includes(` ${name} `))

describe("a replay's table", () => {
  it("names trace, fleet and load, and has a line for each strategy", () => {
    const text = Table.text(document(made), plain)
    expect(text).toContain("made_up, offline: 4 workers (llama70), 1.7 M tokens of cache each; U 0.8")
    for (const { strategy } of made) expect(lineOf(text, strategy)).toBeDefined()
  })

  it("marks the best rival, and what is unstable, and says what that means", () => {
    const text = Table.text(document(made), plain)
    expect(lineOf(text, "close")).toContain("best rival")
    expect(lineOf(text, "lost")).toContain("unstable")
    expect(lineOf(text, "ours")).not.toMatch(/rival|unstable/)
    expect(text).toContain(Table.unstableNote)
  })

  it("leaves the note out when all are stable", () => {
    expect(Table.text(document(made.slice(0, 2)), plain)).not.toContain("Unstable")
  })

  it("says how many requests failed", () => {
    const all = document(made)
    const [first, ...others] = all.results
    const text = Table.text({ ...all, results: [{ ...first!, failed: 7 }, ...others] }, plain)
    expect(lineOf(text, "ours")).toContain("7 failed")
  })

  it("has colours only where they are wanted", () => {
    expect(Table.text(document(made), plain)).not.toContain("\u001b")
    expect(Table.text(document(made), picocolors.createColors(true))).toContain("\u001b[32m")
  })

  it("writes times as precisely as they are worth", () => {
    expect([0, 123, 9_940, 12_340, 123_456, 2_000_000].map(Table.seconds)).toEqual([
      "0.00",
      "0.12",
      "9.94",
      "12.3",
      "123",
      ">999"
    ])
  })
})
