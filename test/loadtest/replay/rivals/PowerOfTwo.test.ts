import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/PowerOfTwo.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [requests, work] = settings
const counts = (slots: ReadonlyArray<number>): ReadonlyArray<number> =>
  range(0, 4).map((slot) => slots.filter((each) => each === slot).length)

describe("PowerOfTwo", () => {
  it("never takes the busiest, and the others the more often the less is in flight there", () => {
    const rig = new RivalRig(requests!)
    for (const slot of [0, 1, 2, 3]) rig.load(slot, slot)
    const [a, b, c, d] = counts(range(0, 1_200).map((i) => rig.place({ blocks: [i] })))
    // The first wins 3 of 6 pairs, the second 2, the third 1.
    expect(Math.abs(a! - 600)).toBeLessThan(75)
    expect(Math.abs(b! - 400)).toBeLessThan(75)
    expect(Math.abs(c! - 200)).toBeLessThan(75)
    expect(d).toBe(0)
  })

  it("weighs requests by their prefill where set so", () => {
    const rig = new RivalRig(work!, { workers: 2 })
    rig.send({ blocks: range(0, 100) }, 0)
    rig.load(1, 20)
    expect(range(0, 50).map((i) => rig.place({ blocks: [i] }))).toEqual(range(0, 50).map(() => 1))
  })

  it("draws among those that may be chosen, be it one", () => {
    const rig = new RivalRig(requests!)
    const two = range(0, 100).map((i) => rig.place({ blocks: [i], eligible: [0, 1, 0, 1] }))
    expect(new Set(two)).toEqual(new Set([1, 3]))
    expect(rig.place({ blocks: [1], eligible: [0, 0, 1, 0] })).toBe(2)
  })
})
