import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/SmgEvents.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [smg] = settings
const blocks = range(0, 10)

describe("SmgEvents", () => {
  it("sends a prompt to the worker that holds the most blocks of it, however few", () => {
    const rig = new RivalRig(smg!)
    rig.load(1, 20)
    expect(rig.place({ blocks, held: [0, 16, 0, 15] })).toBe(1)
    expect(rig.place({ blocks, held: [0, 16, 32, 0] })).toBe(2)
  })

  it("takes, of those that hold as many, the one with fewer requests, then the smaller tree", () => {
    const rig = new RivalRig(smg!)
    const held = [160, 160, 160, 0]
    rig.load(0, 1)
    expect(rig.place({ blocks, held })).toBe(1)
    rig.send({ blocks: range(100, 50) }, 1).end()
    expect(rig.place({ blocks, held })).toBe(2)
  })

  it("takes the least loaded where nobody holds anything, or requests are imbalanced", () => {
    const rig = new RivalRig(smg!)
    rig.load(0, 65)
    rig.load(1, 1)
    rig.load(2, 1)
    expect(rig.place({ blocks, held: [160, 0, 0, 0] })).toBe(3)
    rig.load(3, 1)
    expect(rig.place({ blocks, held: [160, 0, 0, 0] })).toBe(0)
    expect(rig.place({ blocks })).toBe(1)
  })

  it("thinks of no tree as larger than a cache", () => {
    const rig = new RivalRig(smg!, { capacityTokens: 1_600 })
    rig.send({ blocks: range(1000, 400) }, 0).end()
    rig.send({ blocks: range(2000, 110) }, 1).end()
    // Both are full: the first of the equal.
    expect(rig.place({ blocks, held: [160, 160, 0, 0] })).toBe(0)
  })
})
