import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/SmgPrefixHash.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [smg, longer] = settings
const options = { workers: 8, blockSize: 512 }

describe("SmgPrefixHash", () => {
  it("sends prompts that begin alike to one worker, and others all over the fleet", () => {
    const rig = new RivalRig(smg!, options)
    const home = rig.place({ blocks: range(0, 9) })
    expect(rig.place({ blocks: [0, 77] })).toBe(home)
    const slots = range(0, 400).map((i) => rig.place({ blocks: [1_000 + i, 1] }))
    for (const slot of range(0, 8)) expect(slots.filter((one) => one === slot).length).toBeGreaterThan(20)
  })

  it("looks at 256 tokens or at 1 024, in whole blocks", () => {
    const differ = (rig: RivalRig, shared: number) =>
      new Set(range(0, 50).map((i) => rig.place({ blocks: [...range(0, shared), 1_000 + i] }))).size > 1
    expect(differ(new RivalRig(smg!, options), 0)).toBe(true)
    expect(differ(new RivalRig(smg!, options), 1)).toBe(false)
    expect(differ(new RivalRig(longer!, options), 1)).toBe(true)
    expect(differ(new RivalRig(longer!, options), 2)).toBe(false)
    expect(differ(new RivalRig(smg!, { workers: 8, blockSize: 64 }), 3)).toBe(true)
    expect(differ(new RivalRig(smg!, { workers: 8, blockSize: 64 }), 4)).toBe(false)
  })

  it("spills to the least loaded what is over 1.25 times the mean, the request to come counted", () => {
    const rig = new RivalRig(smg!, { ...options, workers: 4 })
    const home = rig.place({ blocks: [0] })
    const others = range(0, 4).filter((slot) => slot !== home)
    for (const slot of others) rig.load(slot, 4)
    // (12 + 5 + 1) / 4 · 1.25 is 5.6.
    rig.load(home, 5)
    expect(rig.place({ blocks: [0] })).toBe(home)
    rig.load(home, 1)
    expect(rig.place({ blocks: [0] })).toBe(others[0])
  })

  it("moves only the prompts of a worker that may not be chosen", () => {
    const rig = new RivalRig(smg!, { ...options, workers: 4 })
    for (const block of range(0, 100)) {
      const home = rig.place({ blocks: [block] })
      const now = rig.place({ blocks: [block], eligible: [1, 1, 0, 1] })
      if (home === 2) expect(now).not.toBe(2)
      else expect(now).toBe(home)
    }
  })
})
