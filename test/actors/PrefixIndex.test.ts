import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Actor from "../../actors/PrefixIndex.ts"
import { EventBus } from "../../src/ports/EventBus.ts"

const { PrefixIndex } = Actor

const keys = (chain: number, count: number, from = 0) =>
  Int32Array.from({ length: count * 2 }, (_, i) => (i % 2 === 0 ? from + (i >> 1) + 1 : chain * 7_919))

const stored = (worker: number, chain: number, count: number) =>
  ({ _tag: "Stored", worker, parent: null, keys: keys(chain, count) }) as const

const options = { workersMax: 8, blocksMax: 100_000 }

/** The actor on turns that the test takes by hand. */
const byHand = (given: Partial<Actor.Options> = {}) => {
  const turns: Array<() => void> = []
  const defects: Array<unknown> = []
  const index = Actor.make(
    { ...options, ...given },
    (turn) => turns.push(turn),
    (error) => defects.push(error)
  )
  const overlap = (chain: number, count: number) => {
    const out = new Uint32Array(options.workersMax)
    index.overlap(keys(chain, count), count, out)
    return [...out]
  }
  const runAll = () => {
    let taken = 0
    while (turns.length > 0) {
      turns.shift()!()
      taken++
    }
    return taken
  }
  return { index, turns, defects, overlap, runAll }
}

describe("PrefixIndex", () => {
  it("applies what it is told on a later turn, in order", () => {
    const { index, overlap, runAll } = byHand()
    index.tell(stored(1, 1, 10))
    index.tell({ _tag: "Removed", worker: 1, keys: keys(1, 4, 6) })
    assert.deepStrictEqual(overlap(1, 10), [0, 0, 0, 0, 0, 0, 0, 0])
    runAll()
    assert.deepStrictEqual(overlap(1, 10), [0, 6, 0, 0, 0, 0, 0, 0])
    assert.strictEqual(index.heldBy(1), 6)
    assert.deepStrictEqual(index.dump(1), keys(1, 6))
    const levels = index.makeLevels()
    assert.strictEqual(index.levels(keys(1, 10), 10, levels), 6)
    assert.strictEqual(levels.count, 1)
  })

  it("works in slices, so that a burst takes many turns and none is long", () => {
    const { index, overlap, runAll } = byHand({ blocksPerTurn: 100 })
    for (let chain = 0; chain < 50; chain++) index.tell(stored(0, chain, 50))
    assert.isAtLeast(runAll(), 25)
    assert.strictEqual(overlap(49, 50)[0], 50)
    assert.deepInclude(index.stats(), { queuedChanges: 0, queuedKeys: 0, applied: 50 })
  })

  it("answers false when its mailbox is full, by changes or by keys, or the slot is none of its own", () => {
    const small = byHand({ changesMax: 2 })
    assert.deepStrictEqual(
      [1, 2, 3].map((chain) => small.index.tell(stored(0, chain, 1))),
      [true, true, false]
    )
    small.runAll()
    assert.isTrue(small.index.tell(stored(0, 3, 1)))
    const narrow = byHand({ keysMax: 10 })
    assert.isTrue(narrow.index.tell(stored(0, 1, 8)))
    assert.isFalse(narrow.index.tell(stored(0, 2, 8)))
    assert.isFalse(narrow.index.tell(stored(8, 1, 1)))
    assert.isFalse(narrow.index.tell(stored(-1, 1, 1)))
    assert.strictEqual(narrow.index.stats().overflowed, 3)
  })

  it("forgets a cleared worker at once, with all it still had queued, even when full", () => {
    const { index, overlap, runAll } = byHand({ changesMax: 2 })
    index.tell(stored(0, 1, 5))
    index.tell(stored(1, 1, 5))
    runAll()
    index.tell(stored(0, 2, 5))
    index.tell(stored(1, 2, 5))
    assert.isTrue(index.tell({ _tag: "Cleared", worker: 0 }))
    assert.deepStrictEqual(overlap(1, 5).slice(0, 2), [0, 5])
    assert.isFalse(index.reusable(0))
    runAll()
    assert.deepStrictEqual(overlap(2, 5).slice(0, 2), [0, 5])
    assert.isTrue(index.reusable(0))
    assert.strictEqual(index.heldBy(0), 0)
  })

  it("stores what follows a clear only once the slot is swept, and loses none of it", () => {
    const { index, overlap, runAll, turns } = byHand({ blocksPerTurn: 8 })
    for (let chain = 0; chain < 200; chain++) index.tell(stored(0, chain, 4))
    runAll()
    index.tell({ _tag: "Cleared", worker: 0 })
    index.tell(stored(0, 5, 4))
    index.tell(stored(1, 6, 4))
    turns.shift()!()
    assert.deepStrictEqual(overlap(5, 4).slice(0, 2), [0, 0])
    assert.isAbove(runAll(), 1)
    assert.deepStrictEqual(overlap(5, 4).slice(0, 2), [4, 0])
    assert.deepStrictEqual(overlap(6, 4).slice(0, 2), [0, 4])
    assert.strictEqual(overlap(7, 4)[0], 0)
  })

  it("gives a left worker's slot to the next with nothing of the old one", () => {
    const { index, overlap, runAll } = byHand()
    index.tell(stored(2, 1, 5))
    runAll()
    index.drop(2)
    assert.strictEqual(overlap(1, 5)[2], 0)
    runAll()
    assert.isTrue(index.reusable(2))
    index.tell(stored(2, 9, 3))
    runAll()
    assert.deepStrictEqual(index.dump(2), keys(9, 3))
  })

  it("starts empty after a defect, and says so", () => {
    const { defects, index, overlap, runAll } = byHand()
    let resets = 0
    index.onReset(() => resets++)
    index.tell(stored(0, 1, 5))
    runAll()
    // A change whose keys cannot be read, as a defect would leave it.
    index.tell(
      Object.defineProperty({ ...stored(0, 2, 5) }, "parent", {
        get: () => {
          throw new Error("torn")
        }
      })
    )
    runAll()
    assert.deepStrictEqual([defects.length, resets, index.stats().resets], [1, 1, 1])
    assert.strictEqual(overlap(1, 5)[0], 0)
    index.tell(stored(0, 1, 5))
    runAll()
    assert.strictEqual(overlap(1, 5)[0], 5)
  })

  it("counts the stores that came without their parent, and has none refused while a slot is swept", () => {
    const { index, overlap, runAll } = byHand()
    index.tell({ ...stored(1, 1, 4), parent: Int32Array.of(9, 9) })
    runAll()
    index.drop(1)
    index.tell(stored(1, 3, 4))
    runAll()
    assert.deepInclude(index.stats(), { storesOrphaned: 1, storesFull: 0, storesClosed: 0, queuedChanges: 0 })
    assert.strictEqual(overlap(3, 4)[1], 4)
  })

  it.effect("follows the bus while its scope is open, and settles", () =>
    Effect.gen(function* () {
      const bus = yield* EventBus
      const index = yield* PrefixIndex
      for (let chain = 0; chain < 100; chain++) bus.publish(stored(3, chain, 100))
      yield* index.settled
      assert.strictEqual(index.heldBy(3), 10_000)
      yield* index.settled
      bus.publish({ _tag: "Cleared", worker: 3 })
      assert.strictEqual(index.dump(3).length, 0)
      yield* index.settled
      assert.isTrue(index.reusable(3))
    }).pipe(Effect.provide(PrefixIndex.layer(options).pipe(Layer.provideMerge(EventBus.layerMemory))))
  )
})
