import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/RoundRobin.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

describe("RoundRobin", () => {
  it("takes one worker after the other, whatever they hold and however busy they are", () => {
    const rig = new RivalRig(settings[0]!)
    rig.load(1, 10)
    const slots = range(0, 8).map((i) => rig.send({ blocks: [i], held: [16, 0, 0, 0] }).slot)
    expect(slots).toEqual([0, 1, 2, 3, 0, 1, 2, 3])
  })

  it("goes on behind a worker that may not be chosen", () => {
    const rig = new RivalRig(settings[0]!)
    const slots = range(0, 4).map((i) => rig.send({ blocks: [i], eligible: [1, 0, 1, 1] }).slot)
    expect(slots).toEqual([0, 2, 3, 0])
  })
})
