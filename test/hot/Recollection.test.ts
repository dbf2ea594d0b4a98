import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { Recollection } from "../../src/hot/Recollection.ts"

/** Key of a block by its name. */
const key = (name: number): Int32Array => Int32Array.of(Math.imul(name, 0x9e37_79b1), name)

interface Given {
  readonly parent: number | null
  readonly names: ReadonlyArray<number>
  readonly depth: number
  readonly touched: number
}

const recollect = (given: ReadonlyArray<Given>) => {
  const all = new Recollection()
  for (const { depth, names, parent, touched } of given) {
    const keys = Int32Array.from(names.flatMap((name) => [...key(name)]))
    all.add(parent === null ? null : key(parent), keys, 0, names.length, depth, touched)
  }
  const sorting = all.order(1)
  let step = sorting.next()
  while (step.done !== true) step = sorting.next()
  return { all, order: [...step.value] }
}

describe("Recollection", () => {
  it("tells what was used last first, and a beginning of a chain before its end", () => {
    const { order } = recollect([
      { parent: 2, names: [3, 4], depth: 2, touched: 70 },
      { parent: null, names: [7, 8], depth: 0, touched: 60 },
      { parent: null, names: [1, 2], depth: 0, touched: 10 },
      { parent: null, names: [5, 6], depth: 0, touched: 70 }
    ])
    // The second beginning was written long ago, and used when what hangs on it was written.
    expect(order).toEqual([2, 3, 0, 1])
  })

  it("never tells a stretch before the one it hangs on, and none later than one that was used earlier", () => {
    const chains = fc.array(
      fc.record({ on: fc.nat(200), count: fc.integer({ min: 1, max: 5 }), touched: fc.integer({ min: 1, max: 40 }) }),
      { minLength: 1, maxLength: 120 }
    )
    fc.assert(
      fc.property(chains, fc.nat(1_000), (made, seed) => {
        let name = 1
        const blocks: Array<{ readonly name: number; readonly depth: number; readonly of: number }> = []
        const parents: Array<number> = []
        const given = made.map(({ count, on, touched }, i): Given => {
          const parent = blocks.length === 0 || on % 4 === 0 ? null : blocks[on % blocks.length]!
          const depth = parent === null ? 0 : parent.depth + 1
          const names = Array.from({ length: count }, (_, place) => {
            blocks.push({ name, depth: depth + place, of: i })
            return name++
          })
          parents.push(parent?.of ?? -1)
          return { parent: parent?.name ?? null, names, depth, touched }
        })
        // Told in another order than it was made in.
        const shuffled = given.map((_, i) => i).sort((a, b) => ((a * 7_919 + seed) % 101) - ((b * 7_919 + seed) % 101))
        const { all, order } = recollect(shuffled.map((i) => given[i]!))
        expect(order.map((i) => shuffled[i]!).sort((a, b) => a - b)).toEqual(given.map((_, i) => i))
        const ages = given.map(({ touched }) => touched)
        for (let i = given.length - 1; i >= 0; i--) {
          if (parents[i]! >= 0) ages[parents[i]!] = Math.max(ages[parents[i]!]!, ages[i]!)
        }
        const told = order.map((i) => shuffled[i]!)
        const seen = new Set([-1])
        for (const [at, i] of told.entries()) {
          expect(seen.has(parents[i]!)).toBe(true)
          seen.add(i)
          if (at > 0) expect(ages[i]!).toBeLessThanOrEqual(ages[told[at - 1]!]!)
        }
        for (const [i, at] of shuffled.entries()) {
          expect([...all.keysOf(i)]).toEqual(given[at]!.names.flatMap((each) => [...key(each)]))
        }
        expect([all.blocks, all.oldest]).toEqual([name - 1, Math.min(...given.map(({ touched }) => touched))])
      }),
      { numRuns: 60 }
    )
  })
})
