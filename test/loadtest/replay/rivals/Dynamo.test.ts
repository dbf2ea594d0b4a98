import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/Dynamo.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [dynamo, dynamo4] = settings
const prompt = { blocks: range(0, 10), tokens: 160 }
const other = (from: number, count: number) => ({ blocks: range(from, count), tokens: 16 * count })

describe("Dynamo", () => {
  it("weighs what a worker holds against prefill pending there, block for block", () => {
    const rig = new RivalRig(dynamo!, { workers: 2 })
    const held = [96, 0]
    rig.send(other(100, 2), 0)
    // 2 pending, 2 in use: 4 against 6 held.
    expect(rig.place({ ...prompt, held })).toBe(0)
    rig.send(other(200, 2), 0)
    expect(rig.place({ ...prompt, held })).toBe(1)
  })

  it("takes pending prefill away with the first token, and blocks in use with the end", () => {
    const rig = new RivalRig(dynamo!, { workers: 2 })
    const held = [96, 0]
    const sent = rig.send(other(100, 5), 0)
    expect(rig.place({ ...prompt, held })).toBe(1)
    sent.firstToken()
    expect(rig.place({ ...prompt, held })).toBe(0)
    rig.send(other(200, 2), 0).firstToken()
    expect(rig.place({ ...prompt, held })).toBe(1)
    sent.end()
    expect(rig.place({ ...prompt, held })).toBe(0)
  })

  it("counts as pending only what was not held when it was sent", () => {
    const rig = new RivalRig(dynamo!, { workers: 2 })
    rig.send({ ...other(100, 4), held: [48, 0] }, 0)
    rig.send(other(200, 2), 1).firstToken()
    // 1 pending and 4 in use against 2 in use.
    expect(rig.place({ ...prompt, held: [40, 0] })).toBe(1)
    expect(rig.place({ ...prompt, held: [56, 0] })).toBe(0)
  })

  it("counts a block once that several requests share", () => {
    const rig = new RivalRig(dynamo!, { workers: 2 })
    const shared = range(0, 3).map(() => rig.send(prompt, 0))
    for (const sent of shared) sent.firstToken()
    rig.send(other(100, 11), 1).firstToken()
    // Unlike prompts see 10 blocks in use against 11; the same prompt adds none where it is.
    expect(rig.place(other(200, 5))).toBe(0)
    shared[0]!.end()
    shared[1]!.end()
    expect(rig.place(other(200, 5))).toBe(0)
    rig.send(other(300, 2), 0).firstToken()
    expect(rig.place(other(200, 5))).toBe(1)
    expect(rig.place(prompt)).toBe(0)
    shared[2]!.end()
    expect(rig.place(other(200, 5))).toBe(0)
  })

  it("cares four times as much for prefill at scale 4", () => {
    const decodes = (rig: RivalRig) => {
      rig.send(other(100, 12), 0).firstToken()
      return rig.place({ ...prompt, held: [80, 0] })
    }
    expect(decodes(new RivalRig(dynamo!, { workers: 2 }))).toBe(1)
    expect(decodes(new RivalRig(dynamo4!, { workers: 2 }))).toBe(0)
  })

  it("draws among equals, the same for the same seed", () => {
    const draws = (seed: number) => {
      const rig = new RivalRig(dynamo!, { workers: 4, seed })
      return range(0, 400).map(() => rig.place(prompt))
    }
    expect(draws(3)).toEqual(draws(3))
    for (const slot of range(0, 4)) {
      const count = draws(3).filter((one) => one === slot).length
      expect(count).toBeGreaterThan(70)
      expect(count).toBeLessThan(130)
    }
  })

  it("never names a worker that may not be chosen", () => {
    const rig = new RivalRig(dynamo!)
    expect(rig.place({ ...prompt, held: [160, 160, 160, 0], eligible: [0, 0, 0, 1] })).toBe(3)
  })
})
