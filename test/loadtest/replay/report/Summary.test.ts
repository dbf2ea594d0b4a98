import { describe, expect, it } from "vitest"
import * as Summary from "../../../../loadtest/replay/report/Summary.ts"
import { document, type Made, result } from "../../../support/ReplayResults.ts"

const ours: Made = { strategy: "ours", kind: "ours", medianMs: 400, hitRate: 0.4 }
const rival: Made = { strategy: "rival", kind: "rival", medianMs: 800, hitRate: 0.3 }
const seeds = [1, 2, 3]

describe("a replay's summary", () => {
  it("has a row per strategy, in the order they were asked for", () => {
    expect(Summary.rows(document([rival, ours], seeds)).map(({ name }) => name)).toEqual(["rival", "ours"])
  })

  it("is the median over seeds, figure by figure, and shows over time the run whose p90 that is", () => {
    const made = document([ours], seeds)
    const [row] = Summary.rows(made)
    const p90s = made.results.map(({ ttftMs }) => ttftMs.p90).sort((a, b) => a - b)
    const hits = made.results.map(({ hitRate }) => hitRate).sort((a, b) => a - b)
    expect(new Set(p90s).size).toBe(3)
    expect(row?.ttftMs.p90).toBe(p90s[1])
    expect(row?.hitRate).toBe(hits[1])
    expect(row?.typical.ttftMs.p90).toBe(p90s[1])
    expect(row?.cdf).toHaveLength(101)
  })

  it("compares p90 with the first strategy under the same seed", () => {
    const made = document([ours, rival], seeds)
    const p90 = (name: string, seed: number) =>
      made.results.find((each) => each.strategy === name && each.seed === seed)!.ttftMs.p90
    const ratios = seeds.map((seed) => p90("rival", seed) / p90("ours", seed)).sort((a, b) => a - b)
    expect(Summary.rows(made).map(({ relative }) => relative)).toEqual([1, ratios[1]])
  })

  it("counts how unevenly prompt tokens fell on workers", () => {
    const [even, one] = Summary.rows(
      document([
        { ...ours, busy: 4 },
        { ...rival, busy: 1 }
      ])
    )
    expect(even?.spread).toBeLessThan(1.5)
    expect(one?.spread).toBe(4)
  })

  it("calls a strategy unstable whose waits grow for as long as the load lasts, and one that waits minutes", () => {
    expect(Summary.isUnstable(result({ ...rival, medianMs: 2_000, grows: 20 }, 1))).toBe(true)
    expect(Summary.isUnstable(result({ ...rival, medianMs: 80_000 }, 1))).toBe(true)
  })

  it("does not call a slow strategy, nor one that saw a burst, unstable", () => {
    expect(Summary.isUnstable(result({ ...rival, medianMs: 12_000 }, 1))).toBe(false)
    expect(Summary.isUnstable(result({ ...ours, grows: 3 }, 1))).toBe(false)
  })

  it("takes as best rival neither a bound nor ourselves", () => {
    const bound: Made = { strategy: "bound", kind: "bound", medianMs: 100, hitRate: 0.5 }
    const slow: Made = { ...rival, strategy: "slow", medianMs: 5_000 }
    expect(Summary.bestRival(Summary.rows(document([ours, bound, slow, rival])))?.name).toBe("rival")
    expect(Summary.bestRival(Summary.rows(document([ours, bound])))).toBeNull()
  })
})
