import { describe, expect, it } from "vitest"
import * as HashRing from "../../../../loadtest/replay/rivals/HashRing.ts"

const workers = 16
const ring = HashRing.make(workers, 160)
const all = new Uint8Array(workers).fill(1)

describe("HashRing", () => {
  it("gives each worker a fair share of keys, though they be numbered in a row", () => {
    for (const from of [0, 1e9]) {
      const counts = new Array<number>(workers).fill(0)
      for (let key = from; key < from + 1_600; key++) counts[HashRing.find(ring, key, all)]!++
      for (const count of counts) expect(Math.abs(count - 100)).toBeLessThan(50)
    }
  })

  it("moves a worker's keys to many others when it may not be chosen, and no other's", () => {
    const without = all.map((_, slot) => (slot === 5 ? 0 : 1))
    const heirs = new Set<number>()
    for (let key = 0; key < 4_000; key++) {
      const home = HashRing.find(ring, key, all)
      const now = HashRing.find(ring, key, without)
      if (home === 5) heirs.add(now)
      else expect(now).toBe(home)
    }
    expect(heirs.has(5)).toBe(false)
    expect(heirs.size).toBeGreaterThan(8)
  })

  it("has nobody to name when nobody may be chosen", () => {
    expect(HashRing.find(ring, 1, new Uint8Array(workers))).toBe(-1)
  })
})
