import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/LongestPrefix.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [turns, least] = settings

describe("LongestPrefix", () => {
  it("takes the worker that holds most, be it one block more and a long queue", () => {
    for (const setting of settings) {
      const rig = new RivalRig(setting)
      rig.load(2, 100)
      expect(rig.place({ blocks: range(0, 4), held: [16, 32, 48, 0] })).toBe(2)
    }
  })

  it("gives each of those alike its turn", () => {
    const rig = new RivalRig(turns!)
    const slots = range(0, 4).map(() => rig.place({ blocks: [1], held: [16, 0, 16, 16] }))
    expect(slots).toEqual([0, 2, 3, 0])
  })

  it("takes the one with the fewest requests of those alike where set so", () => {
    const rig = new RivalRig(least!)
    rig.load(0, 3)
    rig.load(2, 1)
    rig.load(3, 2)
    expect(rig.place({ blocks: [1], held: [16, 0, 16, 16] })).toBe(2)
  })
})
