import { describe, expect, it } from "vitest"
import * as Outcome from "../../../loadtest/judge/Outcome.ts"
import { rival } from "../../support/JudgeOutcomes.ts"

describe("The best rival", () => {
  it("is the one with the least p90", () => {
    expect(Outcome.best([rival("a", 300), rival("b", 200), rival("c", 250)])?.name).toBe("b")
  })

  it("is never one that was given up, however early, while another ran to the end", () => {
    const found = Outcome.best([rival("a", 150, { isAbove: true }), rival("b", 200), rival("c", 90, { isAbove: true })])
    expect(found?.name).toBe("b")
  })

  it("is, when all were given up, above the least that any of them is known to be above", () => {
    expect(Outcome.best([rival("a", 400, { isAbove: true }), rival("b", 390, { isAbove: true })])).toMatchObject({
      name: "b",
      isAbove: true
    })
  })

  it("is nobody where nobody ran", () => {
    expect(Outcome.best([])).toBe(null)
  })
})

describe("Rivals that are run in the other cells", () => {
  it("are those within the margin of the best, the best first", () => {
    expect(Outcome.contenders([rival("far", 310), rival("near", 290), rival("best", 200)], 1.5)).toEqual([
      "best",
      "near"
    ])
  })

  it("are also the defaults within the margin of the best default", () => {
    const rivals = [
      rival("tuned", 100),
      rival("default", 300, { isDefault: true }),
      rival("next default", 400, { isDefault: true }),
      rival("bad default", 500, { isDefault: true })
    ]
    expect(Outcome.contenders(rivals, 1.5)).toEqual(["tuned", "default", "next default"])
  })

  it("are not those given up, unless all were", () => {
    const givenUp = rival("given up", 120, { isAbove: true })
    expect(Outcome.contenders([rival("best", 100), givenUp], 1.5)).toEqual(["best"])
    expect(Outcome.contenders([givenUp], 1.5)).toEqual(["given up"])
  })

  it("are never none of the defaults, nor of those we made, as goals compare with the best of these", () => {
    const rivals = [
      rival("best", 100),
      rival("default", 400, { isAbove: true, isDefault: true }),
      rival("made", 150, { isAbove: true, isOurs: true })
    ]
    expect(Outcome.contenders(rivals, 1.5)).toEqual(["best", "made", "default"])
  })
})
