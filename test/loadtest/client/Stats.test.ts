import { assert, describe, it } from "@effect/vitest"
import * as Stats from "../../../loadtest/client/Stats.ts"

describe("Stats", () => {
  it("takes percentiles by nearest rank, exactly", () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)
    assert.strictEqual(Stats.percentile(hundred, 0.5), 50)
    assert.strictEqual(Stats.percentile(hundred, 0.9), 90)
    assert.strictEqual(Stats.percentile(hundred, 0.99), 99)
    assert.strictEqual(Stats.percentile(hundred, 1), 100)
    assert.strictEqual(Stats.percentile(hundred, 0), 1)
    assert.strictEqual(Stats.percentile([7], 0.99), 7)
    assert.strictEqual(Stats.percentile([1, 2, 3], 0.5), 2)
  })
  it("sorts numbers as numbers and leaves the list as it was", () => {
    const values = [10, 9, 2, 33]
    assert.strictEqual(Stats.percentile(values, 0.5), 9)
    assert.deepStrictEqual(values, [10, 9, 2, 33])
  })
  it("says nothing where there is nothing to say", () => {
    assert.isNull(Stats.percentile([], 0.5))
    assert.isNull(Stats.spread([]))
    assert.isNull(Stats.spread([0, 0]))
    assert.isNull(Stats.ratio(0, 0))
  })
  it("calls an even load 1 and a load all in one place the number of places", () => {
    assert.strictEqual(Stats.spread([5, 5, 5, 5]), 1)
    assert.strictEqual(Stats.spread([20, 0, 0, 0]), 4)
    assert.strictEqual(Stats.spread([3, 1]), 1.5)
  })
  it("adds, and takes the part of a whole", () => {
    assert.strictEqual(Stats.sum([1, 2, 3.5]), 6.5)
    assert.strictEqual(Stats.ratio(1, 4), 0.25)
  })
})
