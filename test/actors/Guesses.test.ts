import { describe, expect, it } from "vitest"
import * as Guesses from "../../actors/Guesses.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { GUESS } from "../../src/domain/Tier.ts"
import type { EventBus } from "../../src/ports/EventBus.ts"

const chain = (name: number, count: number) => Int32Array.from({ length: 2 * count }, (_, i) => name * 1_000 + i)
const nothing = { reportedBlocks: null, outputBlocks: null }

/** Guesses, and what an index that takes everything (or nothing, while `full`) holds of them. */
const setUp = () => {
  const held = new Map<number, Set<number>>()
  const state = { full: false }
  const publish = (delta: KvDelta): boolean => {
    if (delta._tag === "Deepened") throw new Error("guesses have no tiers")
    if (delta._tag === "Cleared") {
      expect(delta.guess).toBe(true)
      return held.delete(delta.worker) || true
    }
    if (state.full) return false
    expect(delta.layer).toBe(GUESS)
    const set = held.get(delta.worker) ?? new Set()
    held.set(delta.worker, set)
    for (let i = 0; i < delta.keys.length; i += 2) {
      if (delta._tag === "Stored") set.add(delta.keys[i]!)
      else set.delete(delta.keys[i]!)
    }
    return true
  }
  const guesses = Guesses.make({ publish } as unknown as EventBus["Service"])
  return { guesses, state, size: (slot: number) => held.get(slot)?.size ?? 0 }
}

describe("Guesses", () => {
  it("holds what was computed, as much as the engine told it has room for", () => {
    const { guesses, size } = setUp()
    guesses.told(3, 100)
    for (let i = 0; i < 20; i++) guesses.computed(3, [chain(i, 10)])(nothing)
    expect(size(3)).toBeGreaterThan(80)
    expect(size(3)).toBeLessThanOrEqual(100)
    expect(size(4)).toBe(0)
    expect(guesses.of(3)).toMatchObject({ toldBlocks: 100 })
    expect(guesses.of(4)).toBeNull()
  })

  it("learns from reports that the room is less than was told", () => {
    const { guesses, size } = setUp()
    guesses.told(0, 400)
    // Ten prompts in turn, of which the engine never finds any: it has room for fewer.
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 10; i++) guesses.computed(0, [chain(i, 10)])({ reportedBlocks: 0, outputBlocks: 1 })
    }
    expect(guesses.of(0)!.capacityBlocks).toBeLessThan(110)
    expect(size(0)).toBeLessThan(110)
  })

  it("begins again when the index had no room, and settles nothing of before", () => {
    const { guesses, size, state } = setUp()
    const before = guesses.computed(0, [chain(1, 10)])
    state.full = true
    const refused = guesses.computed(0, [chain(2, 10)])
    expect([size(0), guesses.of(0)!.blocks]).toEqual([0, 0])
    state.full = false
    before(nothing)
    refused(nothing)
    expect([size(0), guesses.of(0)!.blocks]).toEqual([0, 0])
    guesses.computed(0, [chain(3, 5)])(nothing)
    expect(size(0)).toBe(5)
  })

  it("takes no report for one of several prompts", () => {
    const { guesses } = setUp()
    for (let i = 0; i < 20; i++)
      guesses.computed(0, [chain(1, 10), chain(2, 10)])({ reportedBlocks: 0, outputBlocks: 4 })
    expect(guesses.of(0)!.reports).toBe(0)
  })

  it("forgets a slot that stands for nobody any more, and all that was learned of it", () => {
    const { guesses, size } = setUp()
    guesses.told(0, 50)
    guesses.computed(0, [chain(1, 10)])
    guesses.leave(0)
    expect([size(0), guesses.of(0)]).toEqual([0, null])
    guesses.computed(0, [chain(1, 10)])
    expect(guesses.of(0)!.toldBlocks).toBeNull()
  })
})
