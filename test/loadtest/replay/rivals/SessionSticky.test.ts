import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/SessionSticky.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [requests, tokens] = settings

describe("SessionSticky", () => {
  it("begins a session at the least loaded worker and leaves it there, however busy it becomes", () => {
    const rig = new RivalRig(requests!)
    for (const slot of [0, 1, 3]) rig.load(slot, 1)
    expect(rig.place({ blocks: [1], session: 7 })).toBe(2)
    rig.load(2, 50)
    expect(rig.place({ blocks: [2, 3], session: 7, held: [32, 0, 0, 0] })).toBe(2)
    expect(rig.place({ blocks: [1], session: 8 })).not.toBe(2)
  })

  it("moves a session for good when its worker may not be chosen", () => {
    const rig = new RivalRig(requests!, { workers: 2 })
    const first = rig.place({ blocks: [1], session: 7 })
    const eligible = first === 0 ? [0, 1] : [1, 0]
    expect(rig.place({ blocks: [1], session: 7, eligible })).toBe(1 - first)
    expect(rig.place({ blocks: [1], session: 7 })).toBe(1 - first)
  })

  it("takes prompts that begin alike for one session where none is told", () => {
    const rig = new RivalRig(requests!)
    const first = rig.place({ blocks: [1, 2] })
    rig.load(first, 10)
    expect(rig.place({ blocks: [1, 9] })).toBe(first)
    expect(rig.place({ blocks: [5, 9] })).not.toBe(first)
  })

  it("sends what has neither session nor full block to the least loaded", () => {
    const rig = new RivalRig(requests!, { workers: 2 })
    rig.load(0, 1)
    expect(rig.place({ blocks: [] })).toBe(1)
    rig.load(1, 2)
    expect(rig.place({ blocks: [] })).toBe(0)
  })

  it("weighs what is in flight by prompt tokens where set so", () => {
    const rig = new RivalRig(tokens!, { workers: 2 })
    rig.send({ blocks: range(0, 100) }, 0).firstToken()
    rig.load(1, 5)
    expect(rig.place({ blocks: [1], session: 7 })).toBe(1)
  })
})
