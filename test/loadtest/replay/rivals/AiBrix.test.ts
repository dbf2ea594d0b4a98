import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/AiBrix.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [aibrix, documented] = settings
const prompt = { blocks: range(0, 10) }

describe("AiBrix", () => {
  it("sends a prompt to the worker that was sent the largest share of it, then to the one with fewer requests", () => {
    const rig = new RivalRig(aibrix!)
    rig.send({ blocks: range(0, 5) }, 0).end()
    rig.send(prompt, 1).end()
    expect(rig.place(prompt)).toBe(1)
    rig.send(prompt, 2).end()
    rig.send({ blocks: [50] }, 1)
    expect(rig.place(prompt)).toBe(2)
  })

  it("passes over a worker with more requests than mean and one standard deviation", () => {
    const rig = new RivalRig(aibrix!)
    rig.send(prompt, 0).end()
    rig.send({ blocks: range(0, 2) }, 3).end()
    for (const slot of [1, 2, 3]) rig.load(slot, 2)
    // 2, 2, 2 and 2, then 4: mean 2.5, deviation 0.87.
    rig.load(0, 2)
    expect(rig.place(prompt)).toBe(0)
    rig.load(0, 2)
    expect(rig.place(prompt)).toBe(3)
  })

  it("passes over it only from two deviations on as documented", () => {
    const rig = new RivalRig(documented!, { workers: 8 })
    rig.send(prompt, 0).end()
    for (const slot of [2, 3, 4, 5, 6, 7]) rig.load(slot, 2)
    rig.load(1, 8)
    rig.load(0, 6)
    // 6, 8 and six times 2: mean 3.25, deviation 2.28.
    expect(rig.place(prompt)).toBe(0)
    rig.load(0, 6)
    expect(rig.place(prompt)).not.toBe(0)
  })

  it("asks only the least loaded when requests differ by more than 8, and 16 as documented", () => {
    for (const [setting, most] of [
      [aibrix!, 8],
      [documented!, 16]
    ] as const) {
      const rig = new RivalRig(setting, { workers: 2 })
      rig.send(prompt, 0).end()
      rig.send({ blocks: range(0, 2) }, 1).end()
      rig.load(0, most)
      // With two workers the busier is just at the gate of one deviation.
      expect(rig.place(prompt)).toBe(0)
      rig.load(0, 1)
      expect(rig.place(prompt)).toBe(1)
    }
  })

  it("draws among the least loaded when nobody was sent any of it", () => {
    const rig = new RivalRig(aibrix!)
    rig.load(2, 1)
    const slots = range(0, 300).map((i) => rig.place({ blocks: [900 + i] }))
    expect(new Set(slots)).toEqual(new Set([0, 1, 3]))
  })

  it("never names a worker that may not be chosen", () => {
    const rig = new RivalRig(aibrix!)
    rig.send(prompt, 0).end()
    expect(rig.place({ ...prompt, eligible: [0, 0, 1, 0] })).toBe(2)
  })
})
