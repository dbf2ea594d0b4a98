import { describe, expect, it } from "vitest"
import { BlockCache } from "../../../loadtest/fleet/BlockCache.ts"
import * as Random from "../../../loadtest/Random.ts"
import { NaiveBlockCache } from "../../support/NaiveBlockCache.ts"

const take = (cache: BlockCache<string>, count: number) => Array.from({ length: count }, () => cache.allocate())

describe("BlockCache", () => {
  it("evicts the tail of a released sequence before its head", () => {
    const evicted: Array<string> = []
    const cache = new BlockCache<string>(3, (key) => evicted.push(key))
    const blocks = take(cache, 3)
    for (const [i, key] of ["a", "ab", "abc"].entries()) cache.commit(blocks[i]!, key)
    cache.release(blocks)
    take(cache, 3)
    expect(evicted).toEqual(["abc", "ab", "a"])
  })

  it("keeps a freed block hittable until it is reused, and takes it out of the queue when it is hit", () => {
    const evicted: Array<string> = []
    const cache = new BlockCache<string>(2, (key) => evicted.push(key))
    const [first, second] = take(cache, 2) as [number, number]
    cache.commit(first, "a")
    cache.commit(second, "b")
    cache.release([first])
    cache.release([second])
    cache.touch(cache.find("a"))
    expect(cache.allocate()).toBe(second)
    expect(evicted).toEqual(["b"])
    expect(cache.allocate()).toBe(-1)
    expect(cache.find("a")).toBe(first)
  })

  it("serves hits while any copy of a key is left, and evicts each copy on its own", () => {
    const evicted: Array<string> = []
    const cache = new BlockCache<string>(2, (key) => evicted.push(key))
    const [first, second] = take(cache, 2) as [number, number]
    cache.commit(first, "a")
    cache.commit(second, "a")
    expect(cache.copies("a")).toBe(2)
    cache.release([first])
    expect(cache.allocate()).toBe(first)
    expect([cache.copies("a"), cache.find("a")]).toEqual([1, second])
    cache.release([second])
    cache.allocate()
    expect(evicted).toEqual(["a", "a"])
    expect(cache.find("a")).toBe(-1)
  })

  it("refuses a reset while a block is held, and forgets everything without one", () => {
    const cache = new BlockCache<string>(2, () => undefined)
    const [block] = take(cache, 1) as [number]
    cache.commit(block, "a")
    expect(cache.reset()).toBe(false)
    cache.release([block])
    expect(cache.reset()).toBe(true)
    expect([cache.find("a"), cache.cached, cache.free]).toEqual([-1, 0, 2])
  })

  it("does what its naive twin does, over 60 000 seeded steps", () => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = Random.make(seed)
      const size = 4 + Math.floor(random() * 40)
      const evicted: Array<string> = []
      const cache = new BlockCache<string>(size, (key) => evicted.push(key))
      const naive = new NaiveBlockCache(size)
      const held: Array<Array<number>> = []
      for (let step = 0; step < 10_000; step++) {
        const dice = random()
        if (dice < 0.5) {
          // A sequence: hits on its leading keys, fresh blocks for the rest.
          const family = Math.floor(random() * 6)
          const length = 1 + Math.floor(random() * 6)
          const blocks: Array<number> = []
          for (let i = 0; i < length; i++) {
            const key = `${family}.${i}`
            const found = cache.find(key)
            expect(found).toBe(naive.holders(key)[0] ?? -1)
            if (found >= 0 && i === blocks.length && random() < 0.9) {
              cache.touch(found)
              naive.touch(found)
              blocks.push(found)
              continue
            }
            const block = cache.allocate()
            expect(block).toBe(naive.allocate())
            if (block < 0) break
            if (random() < 0.9) {
              cache.commit(block, key)
              naive.commit(block, key)
            }
            blocks.push(block)
          }
          held.push(blocks)
        } else if (held.length > 0) {
          const [blocks] = held.splice(Math.floor(random() * held.length), 1)
          cache.release(blocks!)
          naive.release(blocks!)
        }
        if (step % 50 !== 0) continue
        expect(evicted).toEqual(naive.evicted)
        expect(cache.free).toBe(naive.free.length)
        expect(cache.cached).toBe(naive.age.length)
        expect(cache.keys).toBe(new Set(naive.age.map((block) => naive.keys[block])).size)
      }
      expect(evicted.length).toBeGreaterThan(100)
    }
  })
})
