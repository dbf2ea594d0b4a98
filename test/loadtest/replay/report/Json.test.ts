import { describe, expect, it } from "vitest"
import * as Json from "../../../../loadtest/replay/report/Json.ts"
import { document } from "../../../support/ReplayResults.ts"

const made = document(
  [
    { strategy: "ours", kind: "ours", medianMs: 400, hitRate: 0.4 },
    { strategy: "rival", kind: "rival", medianMs: 700, hitRate: 0.3 }
  ],
  [1, 2],
  4,
  300
)

const changed = (change: (fields: Record<string, unknown>) => void): string => {
  const fields = JSON.parse(Json.write(made)) as Record<string, unknown>
  change(fields)
  return JSON.stringify(fields)
}

describe("a replay as JSON", () => {
  it("is read back as it was written, to six digits", () => {
    const back = Json.read(Json.write(made))
    expect(back.strategies).toEqual(made.strategies)
    expect(back.results).toHaveLength(4)
    expect(back.results[3]!.ttftMs.p90 / made.results[3]!.ttftMs.p90).toBeCloseTo(1, 5)
    expect(Json.read(Json.write(back))).toEqual(back)
  })

  it("keeps steps in which nothing was sent", () => {
    const [first, ...others] = made.results
    const quiet = { ...first!, series: { ...first!.series, hitRate: [null, ...first!.series.hitRate.slice(1)] } }
    expect(Json.read(Json.write({ ...made, results: [quiet, ...others] })).results[0]!.series.hitRate[0]).toBeNull()
  })

  it("of another version is refused", () => {
    expect(() => Json.read(changed((fields) => (fields["version"] = 2)))).toThrow(/version/)
  })

  it("that something else wrote is refused, and what is wrong is named", () => {
    expect(() => Json.read('{"hello": 1}')).toThrow(/warmpath replay --json/)
    expect(() => Json.read("not json")).toThrow(/warmpath replay --json/)
    expect(() => Json.read(changed((fields) => delete fields["seeds"]))).toThrow(/seeds/)
  })
})
