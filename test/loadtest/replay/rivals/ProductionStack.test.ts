import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/ProductionStack.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [kvaware, sessions, outstanding] = settings
const prompt = { blocks: [0], tokens: 10_000 }

describe("ProductionStack", () => {
  it("goes to the longest prefix when all but 2 000 tokens of the prompt are held, whatever the load", () => {
    const rig = new RivalRig(kvaware!)
    rig.load(2, 30)
    expect(rig.place({ ...prompt, held: [7_000, 0, 8_000, 0] })).toBe(2)
    expect(rig.place({ ...prompt, held: [7_000, 0, 7_999, 0] })).toBe(0)
  })

  it("asks of a short prompt only that something of it is held", () => {
    const rig = new RivalRig(kvaware!)
    expect(rig.place({ blocks: [0], tokens: 1_500, held: [0, 0, 0, 16] })).toBe(3)
    expect(rig.place({ blocks: [0], tokens: 1_500 })).toBe(0)
  })

  it("else goes where the least was sent in the last minute, ended or not", () => {
    const rig = new RivalRig(kvaware!)
    for (const sent of rig.load(0, 2)) sent.end()
    for (const slot of [1, 2, 3]) rig.load(slot, 3)
    expect(rig.place(prompt)).toBe(0)
    rig.nowMs = 60_000
    rig.load(0, 2)
    rig.load(1, 1)
    expect(rig.place(prompt)).toBe(2)
    rig.nowMs = 60_001
    // What was sent at the start no longer counts.
    expect(rig.place(prompt)).toBe(2)
    rig.load(2, 2)
    expect(rig.place(prompt)).toBe(3)
  })

  it("keeps a session at one worker where it knows sessions, and sessions apart", () => {
    const rig = new RivalRig(sessions!)
    const home = rig.place({ ...prompt, session: 7 })
    rig.load(home, 50)
    expect(rig.place({ ...prompt, session: 7 })).toBe(home)
    expect(new Set(range(0, 60).map((session) => rig.place({ ...prompt, session }))).size).toBe(4)
    expect(rig.place({ ...prompt, session: 7, held: [9_000, 9_500, 9_000, 9_000] })).toBe(1)
  })

  it("goes where the least is outstanding when it is tuned so", () => {
    const rig = new RivalRig(outstanding!)
    for (const sent of rig.load(3, 5)) sent.end()
    for (const slot of [0, 1, 2]) rig.load(slot, 1)
    expect(rig.place(prompt)).toBe(3)
    expect(rig.place({ ...prompt, held: [9_000, 0, 0, 0] })).toBe(0)
  })
})
