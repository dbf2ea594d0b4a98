import { describe, expect, it } from "vitest"
import { SentOwners } from "../../../../loadtest/replay/rivals/SentOwners.ts"
import { keysOf, range } from "../../../support/RivalRig.ts"

const workers = 40
const all = new Uint8Array(workers).fill(1)
const keys = keysOf(range(0, 10))

const depthsOf = (table: SentOwners, of: Int32Array, nowMs = 0, candidates = all) => {
  const out = new Uint32Array(workers)
  table.depths(of, of.length / 2, candidates, nowMs, out)
  return out
}

describe("SentOwners", () => {
  it("counts leading blocks by worker, of candidates only", () => {
    const table = new SentOwners(workers, 100, 1_000)
    table.add(1, keys, 4, 0)
    table.add(31, keys, 10, 0)
    table.add(39, keys, 7, 0)
    const expected = (depths: Record<number, number>) =>
      expect(Object.fromEntries([...depthsOf(table, keys).entries()].filter(([, depth]) => depth > 0))).toEqual(depths)
    expected({ 1: 4, 31: 10, 39: 7 })
    const others = all.map((_, slot) => (slot === 31 ? 0 : 1))
    expect(depthsOf(table, keys, 0, others)[31]).toBe(0)
    expect(depthsOf(table, keys, 0, others)[39]).toBe(7)
    expect([...depthsOf(table, keysOf([5, ...range(1, 9)]))].every((depth) => depth === 0)).toBe(true)
  })

  it("holds no more blocks than it is told; what was sent longest ago goes first", () => {
    const table = new SentOwners(workers, 15, 1_000)
    table.add(0, keys, 10, 0)
    table.add(1, keysOf(range(100, 8)), 8, 0)
    expect(table.size).toBe(15)
    expect(depthsOf(table, keys)[0]).toBe(0)
    expect(depthsOf(table, keysOf(range(100, 8)))[1]).toBe(8)
  })

  it("forgets a block that was not sent to anybody for the expiry, with all its owners", () => {
    const table = new SentOwners(workers, 100, 1_000)
    table.add(0, keys, 10, 0)
    table.add(1, keys, 3, 900)
    expect(depthsOf(table, keys, 1_000)[0]).toBe(10)
    expect(depthsOf(table, keys, 1_001)[0]).toBe(3)
    expect(depthsOf(table, keys, 1_900)[1]).toBe(3)
    expect(depthsOf(table, keys, 1_901)[1]).toBe(0)
  })
})
