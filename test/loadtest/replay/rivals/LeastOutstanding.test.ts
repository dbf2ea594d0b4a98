import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/LeastOutstanding.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

describe("LeastOutstanding", () => {
  it("takes the worker with the fewest requests in flight, decoding ones too, whatever it holds", () => {
    const rig = new RivalRig(settings[0]!)
    for (const slot of [0, 1, 3]) for (const sent of rig.load(slot, 2)) sent.firstToken()
    const [only] = rig.load(2, 1)
    expect(rig.place({ blocks: [1], held: [16, 0, 0, 0] })).toBe(2)
    rig.load(2, 2)
    expect(rig.place({ blocks: [1] })).not.toBe(2)
    only!.end()
    rig.load(0, 1)
    rig.load(1, 1)
    rig.load(3, 1)
    expect(rig.place({ blocks: [1] })).toBe(2)
  })

  it("gives each of those alike its turn", () => {
    const rig = new RivalRig(settings[0]!)
    const slots = range(0, 8).map((i) => {
      const sent = rig.send({ blocks: [i] })
      sent.end()
      return sent.slot
    })
    expect(slots).toEqual([0, 1, 2, 3, 0, 1, 2, 3])
  })
})
