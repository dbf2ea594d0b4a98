import { describe, expect, it } from "vitest"
import * as TruthSim from "./TruthSim.ts"

const runs = 1_500

describe("the picture of a cache, in virtual time", () => {
  it(`is the truth again after whatever happened to the events: ${runs} seeds`, () => {
    const wrongs: Array<string> = []
    for (let seed = 0; seed < runs; seed++) {
      const { wrong } = TruthSim.run(seed)
      if (wrong !== null) wrongs.push(`seed ${seed}: ${wrong} (again: npm run simulate -- --seed ${seed})`)
    }
    expect(wrongs).toEqual([])
  })

  it("is the same for the same seed", () => {
    expect(TruthSim.run(7)).toEqual(TruthSim.run(7))
  })
})
