import { describe, expect, it } from "vitest"
import * as KeyAlias from "../../src/hot/KeyAlias.ts"

const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
  return seed >>> 8
}

describe("KeyAlias", () => {
  it("counts the copies of a hash and lets go with the last", () => {
    const alias = KeyAlias.make()
    expect(alias.add(1, -1, 10, 20)).toBe(1)
    expect(alias.add(1, -1, 10, 20)).toBe(2)
    expect(alias.remove(1, -1)).toBe(1)
    expect(alias.find(1, -1)).toBe(true)
    expect([alias.keyLo, alias.keyHi]).toEqual([10, 20])
    expect(alias.remove(1, -1)).toBe(0)
    expect([alias.keyLo, alias.keyHi]).toEqual([10, 20])
    expect(alias.find(1, -1)).toBe(false)
    expect(alias.remove(1, -1)).toBe(-1)
  })

  it("stops counting at the cap, so repeats cannot pin a block", () => {
    const alias = KeyAlias.make(3)
    for (let i = 0; i < 10; i++) alias.add(5, 5, 1, 1)
    expect([alias.remove(5, 5), alias.remove(5, 5), alias.remove(5, 5), alias.remove(5, 5)]).toEqual([2, 1, 0, -1])
  })

  it.each([1, 2, 3])("agrees with a Map over 200 000 random operations, seed %i", (seed) => {
    const next = random(seed)
    const alias = KeyAlias.make(4)
    const twin = new Map<string, { count: number; lo: number; hi: number }>()
    for (let i = 0; i < 200_000; i++) {
      // Few distinct values, so that chains of collisions form and holes open in their middle.
      const lo = (next() % 700) | 0
      const hi = (next() % 5) - 2
      const name = `${lo},${hi}`
      const known = twin.get(name)
      const what = next() % 100
      if (what < 50) {
        const count = alias.add(lo, hi, i, -i)
        if (known === undefined) twin.set(name, { count: 1, lo: i, hi: -i })
        else known.count = Math.min(4, known.count + 1)
        expect(count).toBe(twin.get(name)!.count)
        expect(alias.keyLo).toBe(twin.get(name)!.lo)
      } else if (what < 99) {
        const left = alias.remove(lo, hi)
        expect(left).toBe(known === undefined ? -1 : known.count - 1)
        if (known !== undefined) {
          expect(alias.keyLo).toBe(known.lo)
          if (--known.count === 0) twin.delete(name)
        }
      } else if (next() % 50 === 0) {
        alias.clear()
        twin.clear()
      }
      if (alias.size !== twin.size) expect(alias.size).toBe(twin.size)
    }
    for (const [name, entry] of twin) {
      const [lo, hi] = name.split(",").map(Number)
      expect(alias.find(lo!, hi!)).toBe(true)
      expect([alias.keyLo, alias.keyHi]).toEqual([entry.lo, entry.hi])
    }
    const keys = alias.keys()
    expect(keys.length).toBe(twin.size * 2)
    const expected = [...twin.values()].map(({ lo }) => lo).sort((a, b) => a - b)
    expect([...keys].filter((_, i) => i % 2 === 0).sort((a, b) => a - b)).toEqual(expected)
  })
})
