import { describe, expect, it } from "vitest"
import * as Random from "../../loadtest/Random.ts"
import { GUESS, layersMax } from "../../src/domain/Tier.ts"
import * as Overlap from "../../src/hot/Overlap.ts"

const blockSize = 10

/** Tokens held and tokens worth for one slot of two whose layers reach these depths, in blocks. */
const of = (depths: ReadonlyArray<number>, most = 100) => {
  const all = new Uint32Array(layersMax * 2)
  for (const [layer, depth] of depths.entries()) all[layer * 2 + 1] = depth
  const held = new Uint32Array(2)
  const cached = new Uint32Array(2)
  Overlap.add(all, 2, 1, depths.length > 1, most, blockSize, held, cached)
  expect([held[0], cached[0]]).toEqual([0, 0])
  return [held[1], cached[1]]
}

describe("Overlap", () => {
  it("counts blocks on the device whole", () => {
    expect(of([7])).toEqual([70, 70])
  })

  it("counts blocks that must be loaded for what they save", () => {
    expect(of([4, 9, 9, 9, 0])).toEqual([90, 80])
    expect(of([0, 0, 10, 10, 0])).toEqual([100, 25])
    expect(of([1, 2, 3, 4, 0])).toEqual([40, 26])
  })

  it("takes a guess only for what no tier is known to hold", () => {
    expect(of([4, 4, 4, 4, 9])).toEqual([90, 90])
    expect(of([4, 9, 9, 9, 6])).toEqual([90, 80])
  })

  it("never counts the block that holds the last token", () => {
    expect(of([7, 9, 9, 9, 0], 5)).toEqual([50, 50])
  })

  it("adds up over the prompts of a request", () => {
    const held = Uint32Array.of(5)
    const cached = Uint32Array.of(3)
    Overlap.add(Uint32Array.of(2, 0, 0, 0, 0), 1, 0, false, 9, blockSize, held, cached)
    expect([held[0], cached[0]]).toEqual([25, 23])
  })

  it("adds for all workers with blocks of one size what it adds for each alone, and nothing for others", () => {
    const random = Random.make(5)
    const below = (limit: number) => Math.floor(random() * limit)
    for (let round = 0; round < 300; round++) {
      const slots = 1 + below(12)
      const layered = random() < 0.7
      const depths = new Uint32Array(layersMax * 12)
      for (let slot = 0; slot < 12; slot++) {
        let depth = below(6)
        for (let layer = 0; layer < GUESS; layer++) {
          depths[layer * 12 + slot] = depth
          if (random() < 0.4) depth += below(6)
        }
        depths[GUESS * 12 + slot] = below(16)
      }
      const most = below(16)
      const sizes = Uint32Array.from({ length: 12 }, () => [0, blockSize, 16][below(3)]!)
      const [held, cached, heldAlone, cachedAlone] = [0, 1, 2, 3].map(() => new Uint32Array(12))
      Overlap.addAll(depths, 12, slots, sizes, layered, most, blockSize, held!, cached!)
      for (let slot = 0; slot < slots; slot++) {
        if (sizes[slot] !== blockSize) continue
        Overlap.add(depths, 12, slot, layered, most, blockSize, heldAlone!, cachedAlone!)
      }
      expect([held, cached]).toEqual([heldAlone, cachedAlone])
    }
  })
})
