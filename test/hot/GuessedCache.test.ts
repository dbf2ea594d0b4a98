import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { GuessedCache } from "../../src/hot/GuessedCache.ts"

/** A chain: its first `count` keys. Lanes of every sign. */
const chain = (name: number, count: number): Int32Array =>
  Int32Array.from({ length: count * 2 }, (_, i) =>
    Math.imul(name * 1_000 + (i >> 1) + 1, i % 2 === 0 ? 0x9e37_79b1 : 0x85eb_ca6b)
  )

const pairs = (keys: Int32Array): Array<string> =>
  Array.from({ length: keys.length / 2 }, (_, i) => `${keys[2 * i]} ${keys[2 * i + 1]}`)

describe("GuessedCache", () => {
  it("lets the least recently used prompt go first, from its end", () => {
    const cache = new GuessedCache(8)
    expect(pairs(cache.add(chain(1, 4)))).toEqual([])
    expect(pairs(cache.add(chain(2, 4)))).toEqual([])
    cache.add(chain(1, 2))
    expect(pairs(cache.add(chain(3, 3)))).toEqual(
      pairs(chain(1, 4))
        .slice(2)
        .reverse()
        .concat(pairs(chain(2, 4))[3]!)
    )
  })
  it("keeps the beginning of a prompt that is longer than the cache", () => {
    const cache = new GuessedCache(5)
    expect(pairs(cache.add(chain(1, 9))).sort()).toEqual(pairs(chain(1, 9)).slice(5).sort())
  })
  it("holds exactly what was added and not given back, never more than its room", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 12 }))), (steps) => {
        const cache = new GuessedCache(20)
        const held = new Set<string>()
        for (const [name, count] of steps) {
          for (const key of pairs(chain(name, count))) held.add(key)
          for (const key of pairs(cache.add(chain(name, count)))) expect(held.delete(key)).toBe(true)
          expect(cache.size).toBe(held.size)
          expect(held.size).toBeLessThanOrEqual(20)
        }
      })
    )
  })
})
