import { assert, describe, it } from "vitest"
import * as EvictedKeys from "../../src/hot/EvictedKeys.ts"
import { random } from "../support/Chains.ts"

describe("EvictedKeys", () => {
  it("knows as many as a generation takes, forgets what is older than two, and seldom takes others for them", () => {
    const next = random(3)
    const lanes = (count: number) => Int32Array.from({ length: 2 * count }, () => next(2 ** 31) ^ (next(2) << 31))
    const evicted = EvictedKeys.make(4_096)
    const each = 4 * evicted.words
    const keys = lanes(5 * each)
    const known = (of: Int32Array, from: number, to: number) => {
      let count = 0
      for (let i = from; i < to; i++) if (EvictedKeys.has(evicted, of[2 * i]!, of[2 * i + 1]!)) count++
      return count
    }
    const atOnce = each / 16
    for (let i = 0; i < 5 * each; i += atOnce) {
      EvictedKeys.add(evicted, keys, i, atOnce)
      const from = Math.max(0, i + atOnce - each)
      assert.strictEqual(known(keys, from, i + atOnce), i + atOnce - from)
    }
    assert.isBelow(known(keys, 0, 3 * each), 0.16 * 3 * each)
    assert.isBelow(known(lanes(10_000), 0, 10_000), 1_600)
  })
})
