import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/ConsistentHash.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [sessions, sessionsBounded, firstBlocks, firstBlocksBounded] = settings
const placed = (rig: RivalRig, eligible?: ReadonlyArray<number>): ReadonlyArray<number> =>
  range(0, 2_000).map((session) => rig.place({ blocks: [1], session, ...(eligible && { eligible }) }))

describe("ConsistentHash", () => {
  it("spreads sessions evenly, and alike in every replica", () => {
    const slots = placed(new RivalRig(sessions!))
    for (const slot of [0, 1, 2, 3]) {
      expect(Math.abs(slots.filter((each) => each === slot).length - 500)).toBeLessThan(125)
    }
    expect(placed(new RivalRig(sessions!, { seed: 2 }))).toEqual(slots)
  })

  it("moves only the sessions of a worker that may not be chosen, to all the others", () => {
    const rig = new RivalRig(sessions!)
    const before = placed(rig)
    const after = placed(rig, [1, 1, 0, 1])
    expect(after.filter((_, i) => before[i] !== 2)).toEqual(before.filter((slot) => slot !== 2))
    expect(new Set(after.filter((_, i) => before[i] === 2))).toEqual(new Set([0, 1, 3]))
  })

  it("does not look at load unless bounded", () => {
    const rig = new RivalRig(sessions!)
    const home = rig.place({ blocks: [1], session: 7 })
    rig.load(home, 100)
    expect(rig.place({ blocks: [1], session: 7 })).toBe(home)
  })

  it("leaves a worker that has 1.25 times the mean in flight where bounded", () => {
    const rig = new RivalRig(sessionsBounded!)
    const home = rig.place({ blocks: [1], session: 7 })
    for (const slot of [0, 1, 2, 3]) rig.load(slot, 4)
    // Of 17 with the request itself, 1.25 times the mean is 5.3: six are too many.
    rig.load(home, 1)
    expect(rig.place({ blocks: [1], session: 7 })).toBe(home)
    rig.load(home, 1)
    expect(rig.place({ blocks: [1], session: 7 })).not.toBe(home)
  })

  it("sends prompts that begin alike to one worker where it hashes first blocks, until that has its share", () => {
    const rig = new RivalRig(firstBlocks!)
    const slots = range(0, 40).map((session) => rig.send({ blocks: [1, session], session }).slot)
    expect(new Set(slots).size).toBe(1)
    const bounded = new RivalRig(firstBlocksBounded!)
    for (let session = 0; session < 40; session++) bounded.send({ blocks: [1, session], session })
    const counts = [0, 0, 0, 0]
    for (let session = 0; session < 40; session++) counts[bounded.send({ blocks: [1, session], session }).slot]!++
    expect(Math.max(...counts)).toBeLessThanOrEqual(20)
  })
})
