import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer as Layers } from "effect"
import * as Actor from "../../actors/PrefixIndex.ts"
import { DEVICE, DISK, EXTERNAL, GUESS, HOST, type Layer, layersMax } from "../../src/domain/Tier.ts"
import { EventBus } from "../../src/ports/EventBus.ts"

const { PrefixIndex } = Actor

const keys = (chain: number, count: number, from = 0) =>
  Int32Array.from({ length: count * 2 }, (_, i) => (i % 2 === 0 ? from + (i >> 1) + 1 : chain * 7_919))

const stored = (worker: number, chain: number, count: number, layer: Layer = DEVICE) =>
  ({ _tag: "Stored", worker, layer, parent: null, keys: keys(chain, count) }) as const

const removed = (worker: number, chain: number, from: number, to: number, layer: Layer) =>
  ({ _tag: "Removed", worker, layer, keys: keys(chain, to - from, from) }) as const

const deepened = (worker: number, layer: Layer) => ({ _tag: "Deepened", worker, layer }) as const

const options = { workersMax: 8, blocksMax: 100_000 }

/** The actor on turns that the test takes by hand. */
const byHand = (given: Partial<Actor.Options> = {}) => {
  const { workersMax = options.workersMax } = given
  const turns: Array<() => void> = []
  const defects: Array<unknown> = []
  const index = Actor.make(
    { ...options, workersMax, ...given },
    (turn) => turns.push(turn),
    (error) => defects.push(error)
  )
  const overlap = (chain: number, count: number) => {
    const out = new Uint32Array(layersMax * workersMax)
    index.depths(keys(chain, count), count, out)
    return [...out.subarray(0, workersMax)]
  }
  /** The five rows of a chain's depths, one per layer, for the first `workers` slots; null when `depths` answered false. */
  const rows = (chain: number, count: number, workers = 2) => {
    const out = new Uint32Array(layersMax * workersMax).fill(77)
    const deeper = index.depths(keys(chain, count), count, out)
    const row = (layer: number) => [...out.subarray(layer * workersMax, layer * workersMax + workers)]
    return deeper ? [0, 1, 2, 3, 4].map(row) : null
  }
  const runAll = () => {
    let taken = 0
    while (turns.length > 0) {
      turns.shift()!()
      taken++
    }
    return taken
  }
  return { index, turns, defects, overlap, rows, runAll }
}

describe("PrefixIndex", () => {
  it("applies what it is told on a later turn, in order", () => {
    const { index, overlap, runAll } = byHand()
    index.tell(stored(1, 1, 10))
    index.tell({ _tag: "Removed", worker: 1, layer: DEVICE, keys: keys(1, 4, 6) })
    assert.deepStrictEqual(overlap(1, 10), [0, 0, 0, 0, 0, 0, 0, 0])
    runAll()
    assert.deepStrictEqual(overlap(1, 10), [0, 6, 0, 0, 0, 0, 0, 0])
    assert.strictEqual(index.heldBy(1), 6)
    assert.deepStrictEqual(index.dump(1), keys(1, 6))
  })

  it("works in slices, so that a burst takes many turns and none is long", () => {
    const { index, overlap, runAll } = byHand({ blocksPerTurn: 100 })
    for (let chain = 0; chain < 50; chain++) index.tell(stored(0, chain, 50))
    assert.isAtLeast(runAll(), 25)
    assert.strictEqual(overlap(49, 50)[0], 50)
    assert.deepInclude(index.stats(), { queuedChanges: 0, queuedKeys: 0, applied: 50 })
  })

  it("does the work of its turns when it is told faster than they come, so that nothing is refused", () => {
    const { index, overlap } = byHand({ changesMax: 10 })
    for (let chain = 0; chain < 1_000; chain++) assert.isTrue(index.tell(stored(0, chain, 4)))
    assert.isAtMost(index.stats().queuedChanges, 6)
    assert.strictEqual(overlap(900, 4)[0], 4)
  })

  it("answers false when its mailbox is full, by changes or by keys, or the slot is none of its own", () => {
    // Nothing can be applied until the only holder is swept.
    const stuck = (given: Parameters<typeof byHand>[0]) => {
      const made = byHand({ blocksPerTurn: 8, workersMax: 1, holdersMax: 1, ...given })
      for (let chain = 0; chain < 400; chain++) {
        made.index.tell(stored(0, chain, 4))
        made.runAll()
      }
      made.index.tell({ _tag: "Cleared", worker: 0, guess: false })
      return made
    }
    const small = stuck({ changesMax: 2 })
    assert.deepStrictEqual(
      [1, 2, 3].map((chain) => small.index.tell(stored(0, chain, 1))),
      [true, true, false]
    )
    small.runAll()
    assert.isTrue(small.index.tell(stored(0, 3, 1)))
    const narrow = stuck({ keysMax: 10 })
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
    assert.isTrue(index.tell({ _tag: "Cleared", worker: 0, guess: false }))
    assert.deepStrictEqual(overlap(1, 5).slice(0, 2), [0, 5])
    assert.isFalse(index.reusable(0))
    runAll()
    assert.deepStrictEqual(overlap(2, 5).slice(0, 2), [0, 5])
    assert.isTrue(index.reusable(0))
    assert.strictEqual(index.heldBy(0), 0)
  })

  it("takes what follows a clear at once, and nothing of what was before it", () => {
    const { index, overlap, runAll, turns } = byHand({ blocksPerTurn: 8 })
    for (let chain = 0; chain < 200; chain++) index.tell(stored(0, chain, 4))
    runAll()
    index.tell({ _tag: "Cleared", worker: 0, guess: false })
    index.tell(stored(0, 5, 4))
    index.tell(stored(1, 6, 4))
    for (let i = 0; i < 3; i++) turns.shift()!()
    assert.deepStrictEqual(overlap(5, 4).slice(0, 2), [4, 0])
    assert.deepStrictEqual(overlap(6, 4).slice(0, 2), [0, 4])
    assert.isAbove(runAll(), 1)
    assert.strictEqual(overlap(7, 4)[0], 0)
    assert.strictEqual(index.heldBy(0), 4)
  })

  it("sweeps what was cleared even while changes keep coming", () => {
    const { index, runAll, turns } = byHand({ blocksPerTurn: 64 })
    for (let chain = 0; chain < 100; chain++) index.tell(stored(0, chain, 4))
    runAll()
    index.drop(0)
    assert.strictEqual(index.stats().blocks, 400)
    for (let i = 0; i < 100; i++) {
      for (let more = 0; more < 3; more++) index.tell(stored(1, 1_000, 40))
      turns.shift()!()
      assert.isAbove(index.stats().queuedChanges, 0)
    }
    assert.deepInclude(index.stats(), { blocks: 40, holders: 1 })
  })

  it("waits for the sweep where no holder is left for a device, and loses nothing told meanwhile", () => {
    const { index, overlap, runAll, turns } = byHand({ blocksPerTurn: 8, workersMax: 2, holdersMax: 2 })
    for (let chain = 0; chain < 200; chain++) index.tell(stored(0, chain, 4))
    index.tell(stored(1, 300, 4))
    runAll()
    index.tell({ _tag: "Cleared", worker: 0, guess: false })
    index.tell(stored(0, 5, 4))
    index.tell(stored(1, 6, 4))
    turns.shift()!()
    assert.deepStrictEqual(overlap(5, 4).slice(0, 2), [0, 0])
    assert.isAbove(runAll(), 1)
    assert.deepStrictEqual(overlap(5, 4).slice(0, 2), [4, 0])
    assert.deepStrictEqual(overlap(6, 4).slice(0, 2), [0, 4])
    assert.strictEqual(overlap(7, 4)[0], 0)
    assert.deepInclude(index.stats(), { holders: 2, holdersMax: 2, queuedChanges: 0 })
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

  it("says that it was lost on a turn of its own, not to someone in the middle of telling", () => {
    const { index, runAll } = byHand({ changesMax: 4 })
    let telling = false
    const heard: Array<boolean> = []
    index.onReset(() => heard.push(telling))
    const torn = Object.defineProperty({ ...stored(0, 2, 5) }, "parent", {
      get: () => {
        throw new Error("torn")
      }
    })
    telling = true
    index.tell(torn)
    // From half of the mailbox on who tells applies.
    for (let i = 0; i < 3; i++) index.tell(stored(0, 1, 5))
    telling = false
    assert.strictEqual(index.stats().resets, 1)
    runAll()
    assert.deepStrictEqual(heard, [false])
  })

  it("counts the stores that came without their parent, and has none refused while a slot is swept", () => {
    const { index, overlap, runAll } = byHand()
    index.tell({ ...stored(1, 1, 4), parent: Int32Array.of(9, 9) })
    runAll()
    index.drop(1)
    index.tell(stored(1, 3, 4))
    runAll()
    assert.deepInclude(index.stats(), { storesOrphaned: 1, storesFull: 0, queuedChanges: 0 })
    assert.strictEqual(overlap(3, 4)[1], 4)
  })

  it("tells the tiers of a worker apart from when it is told to, and no holder before", () => {
    const { index, rows, runAll } = byHand()
    index.tell(stored(0, 1, 10))
    index.tell(stored(1, 1, 3))
    runAll()
    assert.isNull(rows(1, 10))
    assert.strictEqual(index.stats().holders, 2)
    index.tell(deepened(0, HOST))
    index.tell(removed(0, 1, 4, 10, DEVICE))
    runAll()
    assert.deepStrictEqual(rows(1, 10), [
      [4, 3],
      [10, 3],
      [10, 3],
      [10, 3],
      [0, 0]
    ])
    index.tell(deepened(0, EXTERNAL))
    index.tell(removed(0, 1, 8, 10, HOST))
    runAll()
    assert.deepStrictEqual(rows(1, 10), [
      [4, 3],
      [8, 3],
      [8, 3],
      [10, 3],
      [0, 0]
    ])
    assert.deepStrictEqual(
      [DEVICE, HOST, DISK, EXTERNAL, GUESS].map((layer) => index.heldBy(0, layer as Layer)),
      [4, 8, 8, 10, 0]
    )
    assert.deepStrictEqual(index.dump(0, EXTERNAL), keys(1, 10))
    assert.deepStrictEqual(index.dump(0, DISK), index.dump(0, HOST))
    assert.strictEqual(index.stats().holders, 4)
  })

  it("answers only for devices where no deeper layer holds even the first block", () => {
    const { index, overlap, rows, runAll } = byHand()
    for (const delta of [stored(0, 1, 10), deepened(0, HOST), stored(1, 2, 5)]) index.tell(delta)
    runAll()
    assert.isNull(rows(2, 5))
    assert.deepStrictEqual(overlap(2, 5).slice(0, 2), [0, 5])
  })

  it("keeps guesses apart from tiers: what one forgets, the other still has", () => {
    const { index, rows, runAll } = byHand()
    index.tell(stored(0, 1, 6))
    index.tell(stored(0, 1, 9, GUESS))
    index.tell(stored(1, 1, 4, GUESS))
    runAll()
    const guessed = [
      [6, 0],
      [6, 0],
      [6, 0],
      [6, 0],
      [9, 4]
    ]
    assert.deepStrictEqual(rows(1, 9), guessed)
    index.tell(stored(0, 1, 8))
    index.tell(stored(0, 2, 8, GUESS))
    index.tell({ _tag: "Cleared", worker: 0, guess: true })
    assert.strictEqual(rows(1, 9)![GUESS]![0], 0)
    runAll()
    assert.deepStrictEqual(rows(1, 9)!, [
      [8, 0],
      [8, 0],
      [8, 0],
      [8, 0],
      [0, 4]
    ])
    assert.strictEqual(index.heldBy(0, GUESS), 0)
    index.tell(stored(1, 3, 2))
    index.tell(stored(1, 3, 5, GUESS))
    index.tell({ _tag: "Cleared", worker: 1, guess: false })
    runAll()
    assert.deepStrictEqual([index.heldBy(1), index.heldBy(1, GUESS)], [0, 9])
  })

  it("copies a layer in slices, while what was told after it waits", () => {
    const { index, overlap, runAll, turns } = byHand({ blocksPerTurn: 50 })
    for (let chain = 0; chain < 200; chain++) index.tell(stored(0, chain, 8))
    runAll()
    index.tell(deepened(0, HOST))
    index.tell(stored(1, 900, 3))
    turns.shift()!()
    assert.isAbove(index.heldBy(0, HOST), 0)
    assert.isBelow(index.heldBy(0, HOST), 1_600)
    assert.strictEqual(overlap(900, 3)[1], 0)
    assert.isAbove(runAll(), 2)
    assert.strictEqual(overlap(900, 3)[1], 3)
    assert.deepStrictEqual(index.dump(0, HOST), index.dump(0))
  })

  it("gives a copy up when its worker is cleared meanwhile, and begins a later one afresh", () => {
    for (const how of ["cleared", "left"]) {
      const { index, runAll, turns } = byHand({ blocksPerTurn: 50 })
      for (let chain = 0; chain < 200; chain++) index.tell(stored(0, chain, 8))
      runAll()
      index.tell(deepened(0, HOST))
      index.tell(stored(0, 7, 5, HOST))
      turns.shift()!()
      if (how === "left") index.drop(0)
      else index.tell({ _tag: "Cleared", worker: 0, guess: false })
      assert.deepStrictEqual([index.heldBy(0), index.heldBy(0, HOST)], [0, 0])
      for (const delta of [stored(0, 3, 4), deepened(0, DISK), stored(0, 3, 6, DISK)]) index.tell(delta)
      runAll()
      assert.deepStrictEqual(index.dump(0), keys(3, 4))
      assert.deepStrictEqual(index.dump(0, DISK), keys(3, 6))
      assert.strictEqual(index.heldBy(0, HOST), 4)
      assert.strictEqual(index.stats().holders, 2)
      for (let chain = 300; chain < 500; chain++) index.tell(stored(1, chain, 8))
      index.tell(deepened(1, HOST))
      runAll()
      assert.strictEqual(index.heldBy(1, HOST), 1_600)
    }
  })

  it("goes on with a copy when only guesses are cleared", () => {
    const { index, runAll, turns } = byHand({ blocksPerTurn: 50 })
    for (let chain = 0; chain < 200; chain++) index.tell(stored(0, chain, 8))
    index.tell(stored(0, 1, 8, GUESS))
    runAll()
    index.tell(deepened(0, HOST))
    turns.shift()!()
    index.tell({ _tag: "Cleared", worker: 0, guess: true })
    runAll()
    assert.strictEqual(index.heldBy(0, HOST), 1_600)
  })

  it("ignores and counts changes to a tier nobody announced", () => {
    const { index, rows, runAll } = byHand()
    index.tell(stored(0, 1, 4, HOST))
    index.tell(removed(0, 1, 0, 2, DISK))
    index.tell(removed(0, 1, 0, 2, GUESS))
    index.tell(deepened(0, GUESS))
    runAll()
    assert.isNull(rows(1, 4))
    assert.deepInclude(index.stats(), { changesIgnored: 4, layersRefused: 0, holders: 0, queuedKeys: 0 })
  })

  it("refuses deeper layers before it would lack one for a device, and frees what a worker that left had", () => {
    const { index, overlap, rows, runAll } = byHand({ workersMax: 4, holdersMax: 5 })
    for (const delta of [stored(0, 1, 4), deepened(0, HOST), deepened(0, DISK)]) index.tell(delta)
    index.tell(stored(1, 1, 2, GUESS))
    runAll()
    assert.deepInclude(index.stats(), { layersRefused: 2, changesIgnored: 1, holders: 2 })
    assert.deepStrictEqual(
      [1, 2, 3].map((worker) => index.tell(stored(worker, 1, worker))),
      [true, true, true]
    )
    runAll()
    assert.deepStrictEqual(overlap(1, 4), [4, 1, 2, 3])
    index.drop(0)
    index.tell(stored(1, 1, 3, GUESS))
    runAll()
    assert.deepStrictEqual(rows(1, 4, 4)![GUESS], [0, 3, 0, 0])
    assert.throws(() => byHand({ workersMax: 4, holdersMax: 3 }), /holdersMax is 3; it must be at least the 4/)
  })

  it("keeps a chain that grows block by block on two tiers in one run", () => {
    const { index, runAll, rows } = byHand()
    index.tell(deepened(0, HOST))
    for (let i = 0; i < 200; i++) {
      const parent = i === 0 ? null : keys(1, 1, i - 1)
      for (const layer of [DEVICE, HOST] as const) {
        index.tell({ _tag: "Stored", worker: 0, layer, parent, keys: keys(1, 1, i) })
      }
    }
    runAll()
    assert.deepInclude(index.stats(), { blocks: 200, memberships: 400, runs: 1, spans: 0 })
    assert.deepStrictEqual(rows(1, 200, 1)!.slice(0, 2), [[200], [200]])
  })

  it.effect("follows the bus while its scope is open, and settles", () =>
    Effect.gen(function* () {
      const bus = yield* EventBus
      const index = yield* PrefixIndex
      for (let chain = 0; chain < 100; chain++) bus.publish(stored(3, chain, 100))
      yield* index.settled
      assert.strictEqual(index.heldBy(3), 10_000)
      yield* index.settled
      bus.publish({ _tag: "Cleared", worker: 3, guess: false })
      assert.strictEqual(index.dump(3).length, 0)
      yield* index.settled
      assert.isTrue(index.reusable(3))
    }).pipe(Effect.provide(PrefixIndex.layer(options).pipe(Layers.provideMerge(EventBus.layerMemory))))
  )
})
