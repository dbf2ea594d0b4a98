import { describe, expect, it } from "vitest"
import { BlockRows, lengthened } from "../../../../loadtest/replay/rivals/BlockRows.ts"
import * as Chains from "../../../support/Chains.ts"

describe("BlockRows", () => {
  it("gives each block a row of its own below its capacity and finds it until it is removed, like a Map", () => {
    const next = Chains.random(11)
    const rows = new BlockRows()
    const naive = new Map<number, number>()
    // Lanes from a small range: many collide in one of them.
    const keys = Int32Array.from({ length: 2 * 4_000 }, (_, i) => (i % 2 === 0 ? i >> 8 : (i >> 1) << 20))
    for (let i = 0; i < 60_000; i++) {
      const block = next(4_000)
      if (next(100) < (i < 30_000 ? 60 : 35)) {
        const row = rows.add(keys, block)
        expect(naive.get(block) ?? row).toBe(row)
        naive.set(block, row)
      } else if (naive.has(block)) {
        rows.remove(naive.get(block)!)
        naive.delete(block)
      }
      expect(rows.size).toBe(naive.size)
      if (i % 1_000 !== 0) continue
      expect(new Set(naive.values()).size).toBe(naive.size)
      for (const row of naive.values()) expect(row).toBeLessThan(rows.capacity)
      for (let one = 0; one < 4_000; one++) expect(rows.find(keys, one)).toBe(naive.get(one) ?? -1)
    }
  })

  it("keeps what a column had when it is lengthened", () => {
    expect([...lengthened(Int32Array.of(1, 2), 4)]).toEqual([1, 2, 0, 0])
    expect([...lengthened(Int32Array.of(1, 2), 1)]).toEqual([1, 2])
  })
})
