import { describe, expect, it } from "vitest"
import * as KeyAlias from "../../src/hot/KeyAlias.ts"

const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
  return seed >>> 8
}

describe("KeyAlias", () => {
  it("counts the copies of a hash and lets go with the last", () => {
    const alias = KeyAlias.make()
    expect(alias.add(1, -1, 0, 10, 20)).toBe(KeyAlias.NOWHERE)
    expect(alias.add(1, -1, 0, 10, 20)).toBe(0)
    expect([alias.size, alias.copies]).toEqual([1, 2])
    expect(alias.remove(1, -1, 0)).toBe(0)
    expect(alias.find(1, -1)).toBe(1)
    expect([alias.keyLo, alias.keyHi]).toEqual([10, 20])
    expect(alias.remove(1, -1, 0)).toBe(KeyAlias.NOWHERE)
    expect([alias.keyLo, alias.keyHi]).toEqual([10, 20])
    expect(alias.find(1, -1)).toBe(0)
    expect(alias.remove(1, -1, 0)).toBe(-1)
    expect([alias.size, alias.copies]).toEqual([0, 0])
  })

  it("reaches a hash on its nearest tier, and counts each tier for itself", () => {
    const alias = KeyAlias.make()
    expect(alias.add(1, 2, 3, 10, 20)).toBe(KeyAlias.NOWHERE)
    expect(alias.join(1, 2, 1)).toBe(3)
    expect(alias.join(1, 2, 0)).toBe(1)
    expect(alias.join(1, 2, 2)).toBe(0)
    expect(alias.remove(1, 2, 1)).toBe(0)
    expect(alias.remove(1, 2, 1)).toBe(-1)
    expect(alias.remove(1, 2, 0)).toBe(2)
    expect(alias.remove(1, 2, 2)).toBe(3)
    expect(alias.remove(1, 2, 3)).toBe(KeyAlias.NOWHERE)
    expect(alias.join(1, 2, 0)).toBe(KeyAlias.NOWHERE)
    expect(alias.size).toBe(0)
  })

  it("stops counting at the cap of each tier, so repeats cannot pin a block", () => {
    const alias = KeyAlias.make(3)
    for (let i = 0; i < 10; i++) alias.add(5, 5, 1, 1, 1)
    alias.add(5, 5, 2, 1, 1)
    const left = [1, 1, 1, 1].map((tier) => alias.remove(5, 5, tier))
    expect(left).toEqual([1, 1, 2, -1])
    const full = KeyAlias.make(1_000)
    for (let tier = 0; tier < 4; tier++) for (let i = 0; i < 300; i++) full.add(5, 5, tier, 1, 1)
    expect([full.find(5, 5), full.copies]).toEqual([-1, 255])
  })

  it("forgets a hash with all its copies", () => {
    const alias = KeyAlias.make()
    for (let i = 0; i < 3; i++) alias.add(5, 5, 0, 7, 8)
    alias.join(5, 5, 1)
    expect(alias.drop(5, 5)).toBe(0x103)
    expect([alias.keyLo, alias.keyHi, alias.size, alias.copies]).toEqual([7, 8, 0, 0])
    expect(alias.drop(5, 5)).toBe(0)
  })

  it.each([1, 2, 3])("agrees with a Map over 200 000 random operations, seed %i", (seed) => {
    const next = random(seed)
    const alias = KeyAlias.make(4)
    const twin = new Map<string, { copies: Array<number>; lo: number; hi: number }>()
    const reachOf = (copies: ReadonlyArray<number>) => {
      const nearest = copies.findIndex((count) => count > 0)
      return nearest < 0 ? KeyAlias.NOWHERE : nearest
    }
    for (let i = 0; i < 200_000; i++) {
      // Few distinct values, so that chains of collisions form and holes open in their middle.
      const lo = (next() % 700) | 0
      const hi = (next() % 5) - 2
      const tier = next() % 4
      const name = `${lo},${hi}`
      const known = twin.get(name)
      const what = next() % 100
      if (what < 45) {
        expect(alias.add(lo, hi, tier, i, -i)).toBe(known === undefined ? KeyAlias.NOWHERE : reachOf(known.copies))
        const entry = known ?? { copies: [0, 0, 0, 0], lo: i, hi: -i }
        twin.set(name, entry)
        entry.copies[tier] = Math.min(4, entry.copies[tier]! + 1)
        expect(alias.keyLo).toBe(entry.lo)
      } else if (what < 98) {
        const reach = alias.remove(lo, hi, tier)
        if (known === undefined || known.copies[tier] === 0) expect(reach).toBe(-1)
        else {
          known.copies[tier]!--
          expect(reach).toBe(reachOf(known.copies))
          expect(alias.keyLo).toBe(known.lo)
          if (reach === KeyAlias.NOWHERE) twin.delete(name)
        }
      } else if (what < 99) {
        expect(alias.drop(lo, hi) !== 0).toBe(twin.delete(name))
      } else if (next() % 50 === 0) {
        alias.clear()
        twin.clear()
      }
      if (alias.size !== twin.size) expect(alias.size).toBe(twin.size)
    }
    let copies = 0
    for (const [name, entry] of twin) {
      const [lo, hi] = name.split(",").map(Number)
      const word = entry.copies.reduce((sum, count, tier) => sum + count * 256 ** tier, 0)
      expect(alias.find(lo!, hi!) >>> 0).toBe(word)
      expect([alias.keyLo, alias.keyHi]).toEqual([entry.lo, entry.hi])
      copies += entry.copies[0]!
    }
    expect(alias.copies).toBe(copies)
  })
})
