import { describe, expect, it } from "vitest"
import { cells } from "../../../loadtest/judge/Cell.ts"
import type { Goal } from "../../../loadtest/judge/Goals.ts"
import * as Measure from "../../../loadtest/judge/Measure.ts"
import * as Tables from "../../../loadtest/judge/Tables.ts"
import * as Verdict from "../../../loadtest/judge/Verdict.ts"
import { figure, outcome, rival } from "../../support/JudgeOutcomes.ts"

const [quiet, busy] = cells(["conv"], [16], [0.5, 0.8], ["medium"]) as [Goal["cells"][number], Goal["cells"][number]]
const goal = (measure: Measure.Measure, limit: Goal["limit"], cells: Goal["cells"] = [quiet]): Goal => ({
  id: "R1",
  what: "a goal",
  measure,
  limit,
  cells
})
const ours = (p90Ms: number) => figure("warmpath", p90Ms)
/** Two rivals on the traffic of each seed: p90 of ours, then of theirs. */
const seeds = (cell: typeof quiet, ...times: ReadonlyArray<readonly [number, number, number]>) =>
  times.map(([own, a, b], at) => outcome(cell, at + 1, ours(own), { rivals: [rival("a", a), rival("b", b)] }))

describe("A verdict", () => {
  it("takes the median of the seeds' ratios, not the ratio of their medians", () => {
    // Against a 0.5, 1.2 and 0.8; medians 120 and 200 would say 0.6.
    const outcomes = seeds(quiet, [100, 200, 900], [120, 100, 900], [400, 500, 900])
    const { worst } = Verdict.of(goal(Measure.bestPeer, { atMost: 1 }), outcomes)
    expect(worst.value).toBe(0.8)
    expect(worst.against).toBe("a")
  })

  it("compares with the one rival that is best over all seeds, not with the luckiest of each", () => {
    // b is ahead of us under one seed only, and so is a: none of them in the cell.
    const outcomes = seeds(quiet, [100, 50, 200], [100, 200, 80], [100, 125, 110])
    const { worst } = Verdict.of(goal(Measure.bestPeer, { atMost: 1 }), outcomes)
    expect(worst).toMatchObject({ value: 100 / 110, against: "b", isMet: true })
  })

  it("leaves out who was not run under all seeds, and prefers who ran to the end", () => {
    const [first, second, third] = [
      outcome(quiet, 1, ours(100), { rivals: [rival("a", 90), rival("b", 110), rival("c", 105)] }),
      outcome(quiet, 2, ours(100), { rivals: [rival("b", 120), rival("c", 101, { isAbove: true })] }),
      outcome(quiet, 3, ours(100), { rivals: [rival("b", 125), rival("c", 102, { isAbove: true })] })
    ]
    const { worst } = Verdict.of(goal(Measure.bestPeer, { atMost: 1 }), [first, second, third])
    expect(worst).toMatchObject({ value: 100 / 120, against: "b", isBelow: false })
  })

  it("is that of the worst cell, which it names", () => {
    const both = goal(Measure.bestPeer, { atMost: 1.03 }, [quiet, busy])
    const outcomes = [...seeds(quiet, [90, 100, 100]), ...seeds(busy, [104, 100, 200])]
    expect(Verdict.of(both, outcomes)).toMatchObject({
      isMet: false,
      worst: { cell: "conv N 16 medium U 0.8", value: 1.04 },
      cells: [{ isMet: false }, { isMet: true }]
    })
    expect(Tables.misses([Verdict.of(both, outcomes)])).toEqual([
      "R1 a goal: 1.040 (≤ 1.03) in conv N 16 medium U 0.8, against a"
    ])
  })

  it("takes the least where a goal asks for at least so much", () => {
    const hits = (cell: typeof quiet, own: number) =>
      outcome(cell, 1, figure("warmpath", 1, { hitRate: own }), {
        bounds: [figure("greedy-ttft", 1, { hitRate: 0.1 }), figure("pooled-cache", 1, { hitRate: 0.5 })]
      })
    const both = goal(Measure.pooledHits, { atLeast: 0.9 }, [quiet, busy])
    expect(Verdict.of(both, [hits(quiet, 0.45), hits(busy, 0.5)])).toMatchObject({
      isMet: true,
      worst: { cell: "conv N 16 medium U 0.5", value: 0.9 }
    })
    expect(Verdict.of(both, [hits(quiet, 0.44), hits(busy, 0.5)]).isMet).toBe(false)
  })

  it("looks at defaults only where a goal does", () => {
    const one = outcome(quiet, 1, ours(100), {
      rivals: [rival("tuned", 50), rival("default", 200, { isDefault: true })]
    })
    expect(Verdict.of(goal(Measure.bestDefault, { atMost: 0.8 }), [one]).worst).toMatchObject({
      value: 0.5,
      against: "default"
    })
  })

  it("says that a ratio is below what it shows when all rivals were given up", () => {
    const one = outcome(quiet, 1, ours(100), { rivals: [rival("a", 400, { isAbove: true })] })
    const verdict = Verdict.of(goal(Measure.bestPeer, { atMost: 0.4 }), [one])
    expect(verdict.isMet).toBe(true)
    expect(Tables.row(verdict)[3]).toBe("< 0.250")
  })

  it("compares ours disturbed with ours undisturbed", () => {
    const one = outcome(quiet, 1, ours(100), { disturbed: [figure("no events", 108), figure("events 5 s late", 101)] })
    expect(Verdict.of(goal(Measure.disturbed("no events"), { atMost: 1.12 }), [one]).worst.value).toBe(1.08)
  })

  it("is not given on a cell where nothing was run", () => {
    expect(() => Verdict.of(goal(Measure.bestPeer, { atMost: 1 }, [busy]), seeds(quiet, [1, 1, 1]))).toThrow(
      "R1, a goal: nothing was run in conv N 16 medium U 0.8."
    )
    // Nor where only something else was.
    expect(() => Verdict.of(goal(Measure.pooled, { atMost: 1 }), seeds(quiet, [1, 1, 1]))).toThrow("nothing was run")
  })
})
