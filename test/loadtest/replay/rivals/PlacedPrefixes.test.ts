import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { PlacedPrefixes } from "../../../../loadtest/replay/rivals/PlacedPrefixes.ts"
import { keysOf, range } from "../../../support/RivalRig.ts"

const matched = (prefixes: PlacedPrefixes, workers: number, blocks: ReadonlyArray<number>): ReadonlyArray<number> => {
  const out = new Uint32Array(workers)
  prefixes.match(keysOf(blocks), blocks.length, out)
  return Array.from(out)
}

describe("PlacedPrefixes", () => {
  it("forgets a prompt from its end, the one used longest ago first", () => {
    const prefixes = new PlacedPrefixes(1, 4)
    prefixes.add(0, keysOf([1, 2]), 2, 0)
    prefixes.add(0, keysOf([5, 6]), 2, 1)
    prefixes.add(0, keysOf([7]), 1, 2)
    expect(matched(prefixes, 1, [1, 2])).toEqual([1])
    expect(matched(prefixes, 1, [5, 6])).toEqual([2])
    expect(prefixes.size(0)).toBe(4)
  })

  it("counts how many of the oldest blocks were used of late", () => {
    const prefixes = new PlacedPrefixes(1, 10)
    prefixes.add(0, keysOf([1, 2, 3]), 3, 0)
    prefixes.add(0, keysOf([4, 5]), 2, 100)
    expect(prefixes.usedSince(0, 3, 50)).toBe(0)
    expect(prefixes.usedSince(0, 4, 50)).toBe(1)
    expect(prefixes.usedSince(0, 10, 0)).toBe(5)
  })

  it("agrees with lists kept by hand, for more workers than a word has bits", () => {
    const workers = 40
    const step = fc.record({
      slot: fc.constantFrom(0, 1, 31, 32, 39),
      stem: fc.integer({ min: 0, max: 2 }),
      blocks: fc.integer({ min: 0, max: 6 })
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const prefixes = new PlacedPrefixes(workers, 8)
        const lists = Array.from({ length: workers }, () => [] as Array<string>)
        for (const { blocks, slot, stem } of steps) {
          const prompt = range(stem * 3, blocks)
          prefixes.add(slot, keysOf(prompt), blocks, 0)
          for (let end = blocks; end > 0; end--) {
            const name = prompt.slice(0, end).join()
            lists[slot] = [...lists[slot]!.filter((each) => each !== name), name].slice(-8)
          }
        }
        for (const stem of [0, 1, 2]) {
          const prompt = range(stem * 3, 6)
          const depth = (list: ReadonlyArray<string>): number => {
            const missing = prompt.findIndex((_, i) => !list.includes(prompt.slice(0, i + 1).join()))
            return missing === -1 ? prompt.length : missing
          }
          expect(matched(prefixes, workers, prompt)).toEqual(lists.map(depth))
        }
      })
    )
  })
})
