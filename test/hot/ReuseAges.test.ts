import { describe, expect, it } from "vitest"
import * as ReuseAges from "../../src/hot/ReuseAges.ts"

/** `count` keys of which every one is sampled. */
const sampled = (first: number, count: number): Int32Array =>
  Int32Array.from({ length: count * 2 }, (_, i) => (i % 2 === 0 ? (first + i / 2) << 6 : 1))

describe("ReuseAges", () => {
  it("says nothing of a cache that has not turned over, or whose size is unknown", () => {
    const ages = ReuseAges.make(2)
    for (let t = 0; t < 10; t++) ReuseAges.used(ages, sampled(1, 32), 32, t * 1000)
    ReuseAges.inserted(ages, 0, 999, 1000, 0)
    ReuseAges.inserted(ages, 1, 1e9, 0, 0)
    expect(ReuseAges.lossChance(ages, 0, 5000)).toBe(0)
    expect(ReuseAges.lossChance(ages, 1, 5000)).toBe(0)
  })

  it("dates a worker's oldest blocks by one capacity of tokens sent", () => {
    const ages = ReuseAges.make(1)
    ages.chance.forEach((_, bucket) => {
      ages.chance[bucket] = bucket / 100
    })
    for (let second = 0; second < 100; second++) ReuseAges.inserted(ages, 0, 100, 3200, second * 1000)
    // 3 200 tokens at 100 a second: 32 s, bucket 6 (32 to 64 s).
    expect(ReuseAges.lossChance(ages, 0, 100_000)).toBe(0.06)
    ReuseAges.reset(ages, 0)
    expect(ReuseAges.lossChance(ages, 0, 100_000)).toBe(0)
  })

  it("learns that blocks used every ten seconds are lost when younger than that and safe when older", () => {
    const ages = ReuseAges.make(1)
    for (let t = 0; t < 20; t++) ReuseAges.used(ages, sampled(1, 32), 32, t * 10_000)
    expect(ages.chance[1]).toBeGreaterThan(0.9)
    expect(ages.chance[6]).toBe(0)
  })

  it("learns that blocks never used again cost nothing", () => {
    const ages = ReuseAges.make(1)
    for (let t = 0; t < 200; t++) ReuseAges.used(ages, sampled(t * 32, 32), 32, t * 1000)
    expect(Math.max(...ages.chance)).toBe(0)
  })

  it("keeps chances between 0 and 1 over a long run", () => {
    const ages = ReuseAges.make(1)
    for (let t = 0; t < 3000; t++) ReuseAges.used(ages, sampled((t * 7) % 500, 20), 20, t * 300)
    expect([...ages.chance].every((chance) => chance >= 0 && chance <= 1)).toBe(true)
    expect(Math.max(...ages.chance)).toBeGreaterThan(0.3)
  })
})
