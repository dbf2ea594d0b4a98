import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/Preble.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [preble, longer] = settings
const places = (rig: RivalRig, ...args: Parameters<RivalRig["place"]>): ReadonlySet<number> =>
  new Set(range(0, 100).map(() => rig.place(...args)))

describe("Preble", () => {
  it("goes for the cache when more than half of a prompt is there, else for the least work", () => {
    const rig = new RivalRig(preble!, { workers: 2 })
    rig.send({ blocks: range(0, 10) }, 0).end()
    // By 229 tokens more work: more than the 160 held.
    rig.load(0, 34)
    rig.load(1, 30)
    expect(places(rig, { blocks: range(0, 19) })).toEqual(new Set([0]))
    expect(places(rig, { blocks: range(0, 20) })).toEqual(new Set([1]))
    rig.load(1, 5)
    expect(places(rig, { blocks: range(0, 20) })).toEqual(new Set([0]))
  })

  it("counts work sent within its window, finished or not, and no other", () => {
    for (const [setting, windowMs] of [
      [preble!, 180_000],
      [longer!, 600_000]
    ] as const) {
      const rig = new RivalRig(setting, { workers: 2 })
      rig.send({ blocks: range(0, 100) }, 0).end()
      rig.nowMs = windowMs - 1
      expect(places(rig, { blocks: [900] })).toEqual(new Set([1]))
      rig.nowMs = windowMs
      expect(places(rig, { blocks: [900] })).toEqual(new Set([0, 1]))
    }
  })

  it("turns from the most loaded to the least loaded above twice its work, though the cache is with the former", () => {
    const rig = new RivalRig(preble!, { workers: 3 })
    const prompt = { blocks: range(0, 10) }
    rig.send(prompt, 0).end()
    rig.send({ blocks: range(100, 7) }, 1)
    rig.send({ blocks: range(200, 6) }, 2)
    expect(places(rig, prompt)).toEqual(new Set([0]))
    rig.load(0, 3)
    expect(places(rig, prompt)).toEqual(new Set([2]))
  })

  it("would rather evict what was not used of late", () => {
    const rig = new RivalRig(preble!, { workers: 2, capacityTokens: 20 * 16 })
    const [old, used] = [{ blocks: range(0, 10) }, { blocks: range(50, 10) }]
    rig.send(old, 0)
    rig.send(used, 1)
    // The same work within the window, and both caches full.
    rig.nowMs = 100_000
    rig.send({ blocks: range(100, 10) }, 0)
    rig.send({ blocks: range(100, 10) }, 0)
    rig.send({ blocks: range(150, 10) }, 1)
    rig.send(used, 1)
    rig.nowMs = 190_000
    expect(places(rig, { blocks: range(200, 10) })).toEqual(new Set([0]))
  })

  it("learns what decoding costs from the requests that end", () => {
    const rig = new RivalRig(preble!, { workers: 2 })
    const sent = rig.send({ blocks: [1] }, 0)
    sent.firstToken()
    rig.nowMs = 10_000
    sent.end()
    // A request now stands for ten seconds of decoding, a long prompt for some ms.
    rig.send({ blocks: [2] }, 0)
    rig.send({ blocks: range(100, 100) }, 1)
    rig.send({ blocks: [3] }, 0)
    expect(places(rig, { blocks: [900] })).toEqual(new Set([1]))
  })
})
