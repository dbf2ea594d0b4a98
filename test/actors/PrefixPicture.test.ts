import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { DEVICE, DISK, EXTERNAL, GUESS, HOST, type Layer } from "../../src/domain/Tier.ts"
import * as PrefixTable from "../../src/hot/PrefixTable.ts"
import { forest, random } from "../support/Chains.ts"

const tiers: ReadonlyArray<Layer> = [DEVICE, HOST, DISK, EXTERNAL]

/** An index whose turns are taken by hand. */
const index = (workersMax: number) => {
  const turns: Array<() => void> = []
  const made = PrefixIndex.make(
    { workersMax, holdersMax: 6 * workersMax, blocksMax: 100_000, blocksPerSpan: 0.1, blocksPerTurn: 16 },
    (turn) => turns.push(turn),
    (error) => {
      throw error
    }
  )
  const turn = () => turns.shift()?.()
  const settle = () => {
    while (turns.length > 0) turn()
  }
  return { ...made, turn, settle }
}
type Index = ReturnType<typeof index>

const namesOf = (keys: Int32Array): Array<string> =>
  Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]},${keys[i * 2 + 1]}`).sort()

/** What a history tells next of one of some workers: whole chains, parts without what is before them, holes. */
const teller = (workersMax: number, next: (below: number) => number) => {
  const pool = forest(60, 160, next)
  const announced = Array.from({ length: workersMax }, () => new Set<Layer>([DEVICE]))
  const one = (): ReadonlyArray<KvDelta> => {
    const worker = next(workersMax)
    const keys = pool[next(pool.length)]!
    const count = keys.length / 2
    const from = next(3) === 0 ? next(count) : 0
    const part = keys.subarray(from * 2, (from + 1 + next(count - from)) * 2)
    const parent = from === 0 || next(2) === 0 ? null : keys.subarray(from * 2 - 2, from * 2)
    const known = [...announced[worker]!].sort()
    const tier = known[next(known.length)]!
    const dice = next(1_000)
    if (dice < 500) {
      const layers = known.filter((layer) => layer >= tier)
      return layers.map((layer) => ({ _tag: "Stored", worker, layer, parent, keys: part }))
    }
    if (dice < 900) {
      const layers = known.filter((layer) => layer <= tier)
      return layers.map((layer) => ({ _tag: "Removed", worker, layer, keys: part }))
    }
    if (dice < 920) return [{ _tag: "Stored", worker, layer: GUESS, parent: null, keys: part }]
    if (dice < 990) {
      const layer = (HOST + next(3)) as Layer
      if (known.includes(layer)) return []
      announced[worker]!.add(layer)
      return [{ _tag: "Deepened", worker, layer }]
    }
    announced[worker] = new Set([DEVICE])
    return [{ _tag: "Cleared", worker, guess: false }]
  }
  return { pool, one }
}

const dumps = (from: Index, worker: number) => tiers.map((tier) => namesOf(from.dump(worker, tier)))

/** Takes the picture of all workers of one index to another, while it goes on. Returns chunks taken, and pictures that were void. */
const move = (seed: number, steps: number) => {
  const next = random(seed)
  const workersMax = 5
  const first = index(workersMax)
  const { one, pool } = teller(workersMax, next)
  const count = { chunks: 0, voided: 0, held: 0 }
  const go = (told: Array<KvDelta>) => {
    for (const delta of one()) {
      assert.isTrue(first.tell(delta))
      told.push(delta)
    }
    for (let turns = next(3); turns > 0; turns--) first.turn()
  }
  for (let step = 0; step < steps; step++) go([])
  const second = index(workersMax)
  // The same workers have other slots there.
  const slotOf = (worker: number) => (worker + 2) % workersMax
  let left = Array.from({ length: workersMax }, (_, worker) => worker)
  while (left.length > 0) {
    const workers = left
    const versions = workers.map(first.version)
    const tail: Array<KvDelta> = []
    // What was told before this moment is applied; what comes after it is the tail.
    first.settle()
    for (let i = next(40); i > 0; i--) go(tail)
    const picture = first.picture(workers)
    for (const [i, bits] of picture.layers.entries()) {
      for (const layer of tiers) {
        if (layer > DEVICE && (bits & (1 << layer)) !== 0) {
          second.tell({ _tag: "Deepened", worker: slotOf(workers[i]!), layer })
        }
      }
    }
    for (let words = picture.next(1_500); words !== null; words = picture.next(1_500)) {
      count.chunks++
      const isWhole = PrefixTable.stored(words, (name, parent, keys) =>
        second.tell({
          _tag: "Stored",
          worker: slotOf(workers[name >> 2]!),
          layer: (name & 3) as Layer,
          parent,
          keys
        })
      )
      assert.isTrue(isWhole)
      for (let i = next(16); i > 0; i--) go(tail)
      second.turn()
    }
    left = workers.filter((worker, i) => first.version(worker) !== versions[i])
    count.voided += left.length
    for (const worker of left) second.tell({ _tag: "Cleared", worker: slotOf(worker), guess: false })
    // Both go on; what was void is taken again.
    for (let i = 0; i < 10; i++) go(tail)
    for (const delta of tail) {
      const isGuess = "layer" in delta && delta.layer === GUESS
      if (!left.includes(delta.worker) && !isGuess) second.tell({ ...delta, worker: slotOf(delta.worker) })
    }
  }
  first.settle()
  second.settle()
  for (let worker = 0; worker < workersMax; worker++) {
    const expected = dumps(first, worker)
    assert.deepStrictEqual(dumps(second, slotOf(worker)), expected, `seed ${seed}, worker ${worker}`)
    count.held += expected[EXTERNAL]!.length
  }
  const out = [first, second].map(() => new Uint32Array(5 * workersMax))
  for (const keys of pool) {
    const deeper = [first, second].map((each, i) => each.depths(keys, keys.length / 2, out[i]!))
    for (let worker = 0; worker < workersMax; worker++) {
      for (const tier of tiers) {
        const [here, there] = [worker, slotOf(worker)].map(
          (slot, i) => out[i]![(deeper[i] ? tier * workersMax : 0) + slot]
        )
        assert.strictEqual(there, here, `seed ${seed}, depth of worker ${worker} on layer ${tier}`)
      }
    }
  }
  return count
}

describe("PrefixIndex.picture", () => {
  it("comes out the same elsewhere, with holes and tiers and what hangs on nothing, though its index goes on", () => {
    const sum = { chunks: 0, voided: 0, held: 0 }
    for (let seed = 1; seed <= 60; seed++) {
      const { chunks, held, voided } = move(seed, 150 + seed * 3)
      sum.chunks += chunks
      sum.voided += voided
      sum.held += held
    }
    assert.isAbove(sum.chunks, 300)
    assert.isAbove(sum.voided, 20)
    assert.isAbove(sum.held, 50_000)
  })

  it.effect("is taken once what was told before is applied, however much is told after it", () =>
    Effect.gen(function* () {
      const busy = index(2)
      const [keys] = forest(1, 50, random(3))
      const store = () => busy.tell({ _tag: "Stored", worker: 0, layer: DEVICE, parent: null, keys: keys! })
      store()
      const waiting = yield* Effect.forkChild(busy.caughtUp, { startImmediately: true })
      store()
      busy.turn()
      assert.isAbove(busy.stats().queuedChanges, 0)
      yield* Fiber.join(waiting)
      assert.strictEqual(busy.heldBy(0), keys!.length / 2)
    })
  )
})
