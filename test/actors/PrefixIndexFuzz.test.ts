import { assert, describe, it } from "vitest"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { DEVICE, EXTERNAL, GUESS, HOST, type Layer, layersMax } from "../../src/domain/Tier.ts"
import { forest, random } from "../support/Chains.ts"
import { NaiveLayers } from "../support/NaivePrefixIndex.ts"

interface Fuzz {
  readonly seed: number
  readonly workersMax: number
  readonly chains: number
  readonly lengthMax: number
  readonly steps: number
  readonly index?: Partial<PrefixIndex.Options>
  /** The index may know less than the twin, never more: it evicts, drops parts, or refuses layers. */
  readonly less?: boolean
}

const all: ReadonlyArray<Layer> = [0, 1, 2, 3, 4]

const namesOf = (keys: Int32Array): Array<string> =>
  Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]},${keys[i * 2 + 1]}`)

/** Runs the index and its naive twin through the same random life. Returns how many answers were compared. */
const fuzz = ({ seed, workersMax, chains, lengthMax, steps, index: options, less = false }: Fuzz): number => {
  const next = random(seed)
  const turns: Array<() => void> = []
  const index = PrefixIndex.make(
    { workersMax, holdersMax: 6 * workersMax, blocksMax: 200_000, blocksPerSpan: 0.1, blocksPerTurn: 8, ...options },
    (turn) => turns.push(turn),
    (error) => {
      throw error
    }
  )
  const twin = new NaiveLayers(workersMax)
  const pool = forest(chains, lengthMax, next)
  /** Told and not yet in the twin; the index may have applied some. A clear overtakes its own. */
  let told: Array<Exclude<KvDelta, { _tag: "Cleared" }>> = []
  /** Tiers announced, per worker: those that a sender speaks of. */
  const announced = Array.from({ length: workersMax }, () => new Set<Layer>([DEVICE]))
  const actual = new Uint32Array(layersMax * workersMax)
  const expected = new Uint32Array(layersMax * workersMax)
  let checks = 0
  const tell = (delta: Exclude<KvDelta, { _tag: "Cleared" }>) => {
    assert.isTrue(index.tell(delta))
    told.push(delta)
  }
  const clear = (worker: number, isGuess: boolean) => {
    told = told.filter((delta) => delta.worker !== worker || (delta.layer === GUESS) !== isGuess)
    twin.clear(worker, isGuess)
    if (!isGuess) announced[worker] = new Set([DEVICE])
  }
  const compare = (keys: Int32Array, count: number, step: number) => {
    actual.fill(12_345)
    const deeper = index.depths(keys, count, actual)
    twin.depths(keys, count, expected)
    for (const layer of all) {
      for (let worker = 0; worker < workersMax; worker++) {
        const at = layer * workersMax + worker
        // Answering false is to say: tiers as the device, and no guess.
        const mine = deeper ? actual[at]! : layer === GUESS ? 0 : actual[worker]!
        if (less ? mine <= expected[at]! : mine === expected[at]) continue
        assert.fail(`seed ${seed}, step ${step}: layer ${layer} of ${worker} has ${expected[at]}, index says ${mine}`)
      }
    }
    checks += layersMax * workersMax
  }
  const settle = (step: number) => {
    while (turns.length > 0) turns.shift()!()
    for (const delta of told) twin.apply(delta)
    told = []
    for (let i = 0; i < 5; i++) {
      const keys = pool[next(pool.length)]!
      compare(keys, 1 + next(keys.length / 2), step)
    }
    const worker = next(workersMax)
    for (const layer of all) {
      const held = namesOf(index.dump(worker, layer))
      const known = new Set(namesOf(twin.dump(worker, layer)))
      assert.isTrue(held.every((name) => known.has(name)))
      if (!less) assert.strictEqual(held.length, known.size)
      assert.strictEqual(held.length, index.heldBy(worker, layer))
      checks += held.length
    }
  }
  for (let step = 0; step < steps; step++) {
    const worker = next(workersMax)
    const keys = pool[next(pool.length)]!
    const count = keys.length / 2
    const from = next(3) === 0 ? next(count) : 0
    const part = keys.subarray(from * 2, (from + 1 + next(count - from)) * 2)
    const tiers = [...announced[worker]!].sort()
    const dice = next(100)
    if (dice < 40) {
      // Within reach of a tier is within reach of those behind it.
      const parent = from === 0 ? null : keys.subarray(from * 2 - 2, from * 2)
      const nearest = tiers[next(tiers.length)]!
      for (const layer of tiers.filter((tier) => tier >= nearest)) {
        tell({ _tag: "Stored", worker, layer, parent, keys: part })
      }
    } else if (dice < 60) {
      const farthest = tiers[next(tiers.length)]!
      for (const layer of tiers.filter((tier) => tier <= farthest)) tell({ _tag: "Removed", worker, layer, keys: part })
    } else if (dice < 68) tell({ _tag: "Stored", worker, layer: GUESS, parent: null, keys: part })
    else if (dice < 71) tell({ _tag: "Removed", worker, layer: GUESS, keys: part })
    else if (dice < 75) {
      const layer = (HOST + next(EXTERNAL)) as Layer
      // Only now and then a tier nobody announced, or one that was.
      announced[worker]!.add(layer)
      tell({ _tag: "Deepened", worker, layer })
    } else if (dice < 76 && !less) tell({ _tag: "Removed", worker, layer: next(5) as Layer, keys: part })
    else if (dice < 78) {
      const isGuess = next(2) === 0
      clear(worker, isGuess)
      index.tell({ _tag: "Cleared", worker, guess: isGuess })
    } else if (dice < 79) {
      clear(worker, true)
      clear(worker, false)
      index.drop(worker)
      assert.strictEqual(all.map((layer) => index.heldBy(worker, layer)).join(), "0,0,0,0,0")
    } else if (dice < 95) for (let i = next(4); i > 0 && turns.length > 0; i--) turns.shift()!()
    else if (dice < 97) settle(step)
  }
  settle(steps)
  const stats = index.stats()
  assert.strictEqual(stats.resets + stats.overflowed, 0)
  if (!less) assert.strictEqual(stats.layersRefused + stats.dropped + stats.storesFull, 0)
  for (let worker = 0; worker < workersMax; worker++) index.drop(worker)
  while (turns.length > 0) turns.shift()!()
  assert.deepInclude(index.stats(), { blocks: 0, runs: 0, spans: 0, memberships: 0, holders: 0, queuedKeys: 0 })
  return checks
}

describe("PrefixIndex against its naive twin", () => {
  it("agrees on tiers and guesses of few workers, deepened in slices and cleared in the middle of it", () => {
    let checks = 0
    for (let seed = 1; seed <= 4; seed++) {
      checks += fuzz({ seed, workersMax: 4, chains: 40, lengthMax: 150, steps: 4_000 })
    }
    assert.isAbove(checks, 100_000)
  })

  it("agrees on a larger fleet, of which some have deeper tiers", () => {
    let checks = 0
    for (let seed = 11; seed <= 12; seed++) {
      checks += fuzz({ seed, workersMax: 40, chains: 30, lengthMax: 60, steps: 6_000 })
    }
    assert.isAbove(checks, 100_000)
  })

  it("agrees when holders are so few that cleared ones are waited for", () => {
    assert.isAbove(
      fuzz({ seed: 21, workersMax: 4, chains: 40, lengthMax: 100, steps: 6_000, index: { holdersMax: 20 } }),
      10_000
    )
  })

  it("knows less, never more, when holders, blocks or spans run out", () => {
    for (const [seed, index] of [
      [31, { holdersMax: 7 }],
      [32, { blocksMax: 1_500 }],
      [33, { blocksMax: 3_000, blocksPerSpan: 20 }],
      [34, { blocksMax: 1_500, holdersMax: 9, blocksPerRun: 64 }]
    ] as const) {
      fuzz({ seed, workersMax: 5, chains: 60, lengthMax: 120, steps: 5_000, index, less: true })
    }
  })
})
