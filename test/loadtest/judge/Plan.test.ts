import { describe, expect, it } from "vitest"
import { cells, nameOf } from "../../../loadtest/judge/Cell.ts"
import type { Goal } from "../../../loadtest/judge/Goals.ts"
import * as Goals from "../../../loadtest/judge/Goals.ts"
import * as Measure from "../../../loadtest/judge/Measure.ts"
import * as Plan from "../../../loadtest/judge/Plan.ts"
import { figure, outcome, rival } from "../../support/JudgeOutcomes.ts"

const goal = (measure: Measure.Measure, of: Goal["cells"]): Goal => ({
  id: "R1",
  what: "a goal",
  measure,
  limit: { atMost: 1 },
  cells: of
})
const anyRate = () => 20

describe("What the judge runs", () => {
  it("lets all rivals meet once per trace and load, and elsewhere only who was not far behind", () => {
    const wanted = Plan.wanted([goal(Measure.bestPeer, cells(["conv"], [4, 16], [0.8], ["medium"]))])
    const screens = Plan.screens(wanted, anyRate)
    expect(screens.map(({ cell }) => nameOf(cell))).toEqual(["conv N 8 medium U 0.8"])
    expect(screens[0]!.rivals).toEqual(Plan.rivals)
    const screened = outcome(screens[0]!.cell, 1, figure("warmpath", 100), {
      rivals: [rival("dynamo", 110), rival("round-robin", 150, { isAbove: true })]
    })
    const firsts = Plan.firsts(wanted, anyRate, [screened])
    expect(firsts.map(({ cell, rivals, seed }) => [nameOf(cell), seed, rivals])).toEqual([
      ["conv N 4 medium U 0.8", 1, ["dynamo"]],
      ["conv N 16 medium U 0.8", 1, ["dynamo"]]
    ])
  })

  it("runs under other seeds who was not behind under the first", () => {
    const wanted = Plan.wanted([goal(Measure.bestPeer, cells(["conv"], [16], [0.8], ["medium"]))])
    const first = outcome(wanted[0]!.cell, 1, figure("warmpath", 100), {
      rivals: [rival("gie", 140), rival("dynamo", 110), rival("aibrix", 125)]
    })
    const repeats = Plan.repeats(wanted, anyRate, [first], { seeds: 3, all: false })
    expect(repeats.map(({ rivals, seed }) => [seed, rivals])).toEqual([
      [2, ["dynamo", "aibrix"]],
      [3, ["dynamo", "aibrix"]]
    ])
    expect(Plan.repeats(wanted, anyRate, [first], { seeds: 2, all: true })[0]!.rivals).toEqual(Plan.rivals)
  })

  it("runs a cell where all met no second time under the same seed", () => {
    const wanted = Plan.wanted([goal(Measure.bestPeer, cells(["agent"], [8], [76], ["medium"]))])
    const [screen] = Plan.screens(wanted, () => null)
    const screened = outcome(screen!.cell, 1, figure("warmpath", 100), { rivals: [rival("gie", 120)] })
    expect(Plan.firsts(wanted, () => null, [screened])).toEqual([])
    const repeats = Plan.repeats(wanted, () => null, [screened], { seeds: 3, all: false })
    expect(repeats.map(({ seed }) => seed)).toEqual([2, 3])
  })

  it("runs the largest fleet once where queues stay short", () => {
    const wanted = Plan.wanted([goal(Measure.pooled, cells(["conv"], [64], [0.8, 0.95]))])
    const repeats = Plan.repeats(wanted, anyRate, [], { seeds: 3, all: false })
    expect(repeats.map(({ cell, seed }) => [nameOf(cell), seed])).toEqual([
      ["conv N 64 medium U 0.95", 2],
      ["conv N 64 medium U 0.95", 3]
    ])
  })

  it("runs for each cell what its goals compare with, and nothing else", () => {
    const [one, other] = cells(["tool"], [16], [0.8, 0.95], ["medium"])
    const wanted = Plan.wanted([
      goal(Measure.pooled, [one!]),
      goal(Measure.disturbed("no events"), [one!, other!]),
      goal(Measure.inTime, [other!])
    ])
    expect(Plan.screens(wanted, anyRate)).toEqual([])
    const jobs = Plan.firsts(wanted, anyRate, [])
    expect(jobs.map(({ bounds, disturbances, rivals }) => ({ bounds, disturbances, rivals }))).toEqual([
      { bounds: ["pooled-cache"], disturbances: ["no events"], rivals: [] },
      { bounds: [], disturbances: ["no events"], rivals: [] }
    ])
  })

  it("never asks for the synthetic trace near saturation, where figures say nothing", () => {
    const names = Plan.wanted(Goals.goals).map(({ cell }) => nameOf(cell))
    expect(names).toContain("syn N 16 medium U 0.8")
    expect(names.filter((name) => name.startsWith("syn") && name.endsWith("0.95"))).toEqual([])
  })
})
