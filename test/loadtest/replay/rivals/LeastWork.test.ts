import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/LeastWork.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [plain, own] = settings

describe("LeastWork", () => {
  it("takes many short prompts for less work than one long", () => {
    const rig = new RivalRig(plain!, { workers: 2 })
    rig.send({ blocks: range(0, 100) }, 0)
    rig.load(1, 20)
    expect(rig.place({ blocks: [1] })).toBe(1)
  })

  it("counts a prompt until its first token, and only what was not held", () => {
    const rig = new RivalRig(plain!, { workers: 2 })
    const long = rig.send({ blocks: range(0, 100) }, 0)
    rig.load(1, 20)
    long.firstToken()
    expect(rig.place({ blocks: [1] })).toBe(0)
    rig.send({ blocks: range(0, 100), held: [1_600, 0] }, 0)
    expect(rig.place({ blocks: [1] })).toBe(0)
  })

  it("sees what a worker holds only where the request's own work counts", () => {
    for (const [setting, expected] of [
      [plain!, 0],
      [own!, 1]
    ] as const) {
      const rig = new RivalRig(setting, { workers: 2 })
      rig.load(1, 2)
      expect(rig.place({ blocks: range(0, 10), held: [0, 160] })).toBe(expected)
    }
  })

  it("leaves the worker that holds a prompt once more waits there than is held", () => {
    const rig = new RivalRig(own!, { workers: 2 })
    rig.send({ blocks: range(50, 11) }, 1)
    expect(rig.place({ blocks: range(0, 10), held: [0, 160] })).toBe(0)
  })
})
