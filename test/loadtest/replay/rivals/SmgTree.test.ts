import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/SmgTree.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [smg] = settings
const prompt = { blocks: range(0, 10) }

describe("SmgTree", () => {
  it("sends a prompt to the first worker that was sent more than 0.3 of it, though others are idle", () => {
    const rig = new RivalRig(smg!)
    rig.send(prompt, 2)
    rig.send(prompt, 1)
    rig.load(2, 20)
    expect(rig.place(prompt)).toBe(2)
    expect(rig.place({ blocks: [...range(0, 4), ...range(100, 6)] })).toBe(2)
    expect(rig.place({ blocks: [...range(0, 3), ...range(100, 7)] })).toBe(0)
  })

  it("forgets the cache when the busiest worker is 64 requests and half as many again ahead, and not before", () => {
    const rig = new RivalRig(smg!)
    rig.send(prompt, 2).end()
    rig.load(2, 64)
    expect(rig.place(prompt)).toBe(2)
    const [one] = rig.load(2, 1)
    expect(rig.place(prompt)).toBe(0)
    one!.end()
    expect(rig.place(prompt)).toBe(2)
    for (const slot of [0, 1, 3]) rig.load(slot, 200)
    rig.load(2, 64 + 200)
    // 128 ahead, but 328 is no more than 1.5 times 200 by some.
    expect(rig.place(prompt)).not.toBe(2)
    for (const slot of [0, 1, 3]) rig.load(slot, 20)
    expect(rig.place(prompt)).toBe(2)
  })

  it("evens out among equals by what each was ever sent", () => {
    const rig = new RivalRig(smg!)
    const slots = range(0, 8).map((i) => {
      const sent = rig.send({ blocks: [500 + i] })
      sent.end()
      return sent.slot
    })
    expect(slots).toEqual([0, 1, 2, 3, 0, 1, 2, 3])
  })

  it("cuts each worker's tree to 2^26 characters every two minutes, what was sent longest ago first", () => {
    // Blocks of a million tokens: 16 fit.
    const blockSize = 2 ** 20
    const rig = new RivalRig(smg!, { blockSize })
    const old = { blocks: range(1000, 8) }
    rig.send(old, 3).end()
    rig.send(prompt, 3).end()
    rig.send({ blocks: range(2000, 4) }, 3).end()
    rig.nowMs = 119_999
    expect(rig.place(old)).toBe(3)
    rig.nowMs = 120_000
    expect(rig.place(prompt)).toBe(3)
    // Two of eight are left, which is not 0.3.
    expect(rig.place(old)).toBe(0)
  })

  it("never names a worker that may not be chosen", () => {
    const rig = new RivalRig(smg!)
    rig.send(prompt, 2)
    expect(rig.place({ ...prompt, eligible: [0, 1, 0, 1] })).toBe(1)
  })
})
