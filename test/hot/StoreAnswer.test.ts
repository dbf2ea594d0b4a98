import { describe, expect, it } from "vitest"
import { EXTERNAL, GUESS, layersMax } from "../../src/domain/Tier.ts"
import * as StoreAnswer from "../../src/hot/StoreAnswer.ts"

const stride = 4
const chain = (name: number, count: number, shared = 0) =>
  Int32Array.from({ length: 2 * count }, (_, i) => (i >> 1 < shared ? 7 : name) * 1_000 + i)

describe("StoreAnswer", () => {
  it("says of a request that goes another way only what both have in common", () => {
    const answer = StoreAnswer.make([{ name: "a", blocks: [60, 60, 60, 60, 70] }], chain(1, 100, 40), 32)
    expect([answer.reach, answer.keys.length / 2]).toEqual([[70], 38])
    expect(StoreAnswer.agree(answer, chain(1, 100, 40), 100)).toBe(70)
    expect(StoreAnswer.agree(answer, chain(1, 50, 40), 50)).toBe(50)
    expect(StoreAnswer.agree(answer, chain(2, 100, 40), 100)).toBe(40)
    // Nobody reaches further than the index knew.
    const none = StoreAnswer.make([{ name: "a", blocks: [20, 20, 20, 20, 0] }], chain(1, 100), 32)
    expect([none.keys.length, StoreAnswer.agree(none, chain(1, 100), 100)]).toEqual([0, 32])
  })

  it("raises guesses only, of those it knows, and never lowers one", () => {
    const depths = new Uint32Array(layersMax * stride)
    depths.set([5, 0, 9, 0])
    const sizes = Uint32Array.of(16, 16, 32, 16)
    expect(StoreAnswer.deepest(depths, stride, 4, sizes, 16, false)).toBe(5)
    StoreAnswer.widen(depths, stride)
    depths[GUESS * stride] = 50
    const answer = StoreAnswer.make(
      [
        { name: "a", blocks: [40, 40, 40, 40, 0] },
        { name: "b", blocks: [10, 20, 20, 20, 0] },
        { name: "gone", blocks: [90, 90, 90, 90, 0] }
      ],
      chain(1, 100),
      5
    )
    StoreAnswer.raise(answer, depths, stride, 90, (name) => ["a", "b"].indexOf(name))
    expect([...depths.subarray(GUESS * stride)]).toEqual([50, 20, 0, 0])
    expect([...depths.subarray(EXTERNAL * stride, GUESS * stride)]).toEqual([5, 0, 9, 0])
    expect(StoreAnswer.deepest(depths, stride, 4, sizes, 16, true)).toBe(50)
  })
})
