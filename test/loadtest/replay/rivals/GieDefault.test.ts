import { describe, expect, it } from "vitest"
import { settings } from "../../../../loadtest/replay/rivals/GieDefault.ts"
import { RivalRig, range } from "../../../support/RivalRig.ts"

const [gie, shallow, tokens] = settings
const prompt = { blocks: range(0, 10) }
const places = (rig: RivalRig, ...args: Parameters<RivalRig["place"]>): ReadonlySet<number> =>
  new Set(range(0, 200).map(() => rig.place(...args)))

describe("GieDefault", () => {
  it("knows what it sent, not what engines hold", () => {
    const rig = new RivalRig(gie!)
    rig.send(prompt, 1).end()
    expect(places(rig, { ...prompt, held: [160, 0, 0, 0] })).toEqual(new Set([1]))
  })

  it("believes a prompt kept that the engine evicted, as long as its own list is not full", () => {
    const rig = new RivalRig(gie!, { capacityTokens: 20 * 16 })
    rig.send(prompt, 1).end()
    rig.load(1, 10)
    expect(places(rig, prompt)).toEqual(new Set([1]))
    rig.load(1, 10)
    expect(places(rig, prompt)).toEqual(new Set([0, 1, 2, 3]))
  })

  it("cannot tell prompts apart that differ only behind 4 096 tokens, as first released", () => {
    const common = range(0, 256)
    for (const [setting, expected] of [
      [gie!, [2]],
      [shallow!, [1, 2]]
    ] as const) {
      const rig = new RivalRig(setting)
      rig.send({ blocks: [...common, 1_000] }, 1)
      rig.send({ blocks: [...common, 2_000, 2_001] }, 2)
      expect(places(rig, { blocks: [...common, 2_000, 2_001, 2_002] })).toEqual(new Set(expected))
    }
  })

  it("sees prefill in flight only with the token load scorer", () => {
    for (const [setting, expected] of [
      [gie!, [1]],
      [tokens!, [0, 2, 3]]
    ] as const) {
      const rig = new RivalRig(setting)
      rig.send(prompt, 1).end()
      // 48 of 4 194 304: a whole prompt sent, of weight 3, is worth 262 144 tokens.
      rig.send({ blocks: [], tokens: 262_000 }, 1)
      expect(places(rig, prompt)).toEqual(new Set([1]))
      rig.send({ blocks: [], tokens: 200 }, 1)
      expect(places(rig, prompt)).toEqual(new Set(expected))
    }
  })
})
