import { assert, describe, it } from "vitest"
import type { KeyLanes } from "../../src/domain/Block.ts"
import * as PieceHolders from "../../src/hot/PieceHolders.ts"
import * as PiecePaths from "../../src/hot/PiecePaths.ts"
import * as PrefixTable from "../../src/hot/PrefixTable.ts"
import { extend, forest, random } from "../support/Chains.ts"
import { checkInvariants } from "../support/PrefixInvariants.ts"

const none = new Int32Array(0)
const part = (keys: KeyLanes, from: number, to: number): KeyLanes => keys.subarray(from * 2, to * 2)
const nameAt = (keys: KeyLanes, i: number): string => `${keys[i * 2]},${keys[i * 2 + 1]}`

interface Told {
  readonly piece: number
  readonly path: ReadonlyArray<string>
  readonly before: string
  readonly from: number
  readonly places: ReadonlyArray<number>
}

const copyOf = (path: PiecePaths.PiecePath): Told => ({
  piece: path.piece,
  path: Array.from({ length: path.count }, (_, i) => nameAt(path.lanes, i + 1)),
  before: nameAt(path.lanes, 0),
  from: path.from,
  places: Array.from({ length: 32 }, (_, place) => place).filter((place) => ((path.told >>> place) & 1) === 1)
})

const piecesOf = (table: PrefixTable.PrefixTable, keys: KeyLanes, stride: number) => {
  const path = PiecePaths.make()
  const told: Array<Told> = []
  PiecePaths.pieces(table, keys, stride, path, () => told.push(copyOf(path)))
  return { told, missing: path.missing, unplaced: path.unplaced }
}

/** Where each block of a forest truly is: the whole chain up to it. */
const truthOf = (pool: ReadonlyArray<KeyLanes>) => {
  const chains = new Map<string, readonly [KeyLanes, number]>()
  for (const keys of pool) for (let i = 0; i < keys.length / 2; i++) chains.set(nameAt(keys, i), [keys, i])
  return chains
}

/** Throws unless the path is that of its last key, cut at the beginning of its piece. Returns the keys spoken of. */
const check = (chains: ReturnType<typeof truthOf>, told: Told, stride: number): ReadonlyArray<string> => {
  const [keys, place] = chains.get(told.path.at(-1)!)!
  const first = told.piece * stride
  assert.strictEqual(told.piece, Math.floor(place / stride))
  assert.deepEqual(
    told.path,
    Array.from({ length: place - first + 1 }, (_, i) => nameAt(keys, first + i))
  )
  assert.strictEqual(told.before, first === 0 ? "0,0" : nameAt(keys, first - 1))
  assert.strictEqual(told.places.at(-1), place - first)
  assert.isAtMost(told.from, told.places[0]!)
  return told.places.map((i) => told.path[i]!)
}

describe("PiecePaths", () => {
  it("cuts a chain into its pieces, each with the path to its last block and the block before", () => {
    const table = PrefixTable.make({ holdersMax: 2, blocksMax: 4_096 })
    const keys = extend(none, 0, 70, random(1))
    PrefixTable.store(table, 0, null, keys)
    const { told } = piecesOf(table, part(keys, 10, 70), 32)
    assert.deepEqual(
      told.map(({ path, piece, places }) => [piece, path.length, places.length]),
      [
        [0, 32, 22],
        [1, 32, 32],
        [2, 6, 6]
      ]
    )
    for (const one of told) check(truthOf([keys]), one, 32)
  })

  it("follows a conversation back over its turns, and a branch to the chain it left", () => {
    const table = PrefixTable.make({ holdersMax: 2, blocksMax: 4_096 })
    const trunk = extend(none, 0, 30, random(1))
    const branch = extend(trunk, 5, 60, random(2))
    PrefixTable.store(table, 0, null, trunk)
    PrefixTable.store(table, 1, part(branch, 4, 5), part(branch, 5, 20))
    PrefixTable.store(table, 0, part(branch, 19, 20), part(branch, 20, 65))
    const { told } = piecesOf(table, part(branch, 20, 22), 32)
    assert.lengthOf(told, 1)
    assert.deepEqual(check(truthOf([trunk, branch]), told[0]!, 32), [nameAt(branch, 20), nameAt(branch, 21)])
    assert.strictEqual(told[0]!.from, 20)
  })

  it("says that it does not know where an orphan belongs, until its parent is stored", () => {
    const table = PrefixTable.make({ holdersMax: 2, blocksMax: 4_096 })
    const keys = extend(none, 0, 100, random(1))
    PrefixTable.store(table, 0, part(keys, 59, 60), part(keys, 60, 80))
    PrefixTable.store(table, 1, part(keys, 79, 80), part(keys, 80, 100))
    assert.deepInclude(piecesOf(table, part(keys, 60, 100), 32), { told: [], unplaced: 40 })
    PrefixTable.store(table, 1, null, part(keys, 0, 60))
    const { told, unplaced } = piecesOf(table, part(keys, 60, 100), 32)
    assert.strictEqual(unplaced, 0)
    assert.lengthOf(
      told.flatMap((one) => check(truthOf([keys]), one, 32)),
      40
    )
  })

  it("does not take the chain for its own that grew where its parent was", () => {
    const table = PrefixTable.make({ holdersMax: 2, blocksMax: 4_096 })
    const first = extend(none, 0, 60, random(1))
    const other = extend(first, 10, 40, random(2))
    PrefixTable.store(table, 0, null, part(first, 0, 20))
    PrefixTable.store(table, 1, null, part(first, 0, 20))
    PrefixTable.store(table, 1, part(first, 19, 20), part(first, 20, 60))
    PrefixTable.remove(table, 1, part(first, 0, 20))
    PrefixTable.remove(table, 0, part(first, 10, 20))
    PrefixTable.store(table, 0, part(other, 9, 10), part(other, 10, 40))
    const { told, unplaced } = piecesOf(table, part(first, 20, 60), 32)
    assert.strictEqual(unplaced, 12)
    assert.deepEqual(
      told.flatMap((one) => check(truthOf([first]), one, 32)),
      Array.from({ length: 28 }, (_, i) => nameAt(first, 32 + i))
    )
  })

  for (const { evicts, seed, stride, tidy } of [
    { seed: 1, stride: 32, tidy: true, evicts: false },
    { seed: 2, stride: 8, tidy: true, evicts: false },
    { seed: 3, stride: 32, tidy: false, evicts: false },
    { seed: 4, stride: 8, tidy: false, evicts: true },
    { seed: 5, stride: 32, tidy: false, evicts: true },
    { seed: 6, stride: 1, tidy: false, evicts: false }
  ]) {
    const what = tidy ? "whose chains are whole" : evicts ? "that evicts" : "with orphans and holes"
    it(`agrees with what is plain to see of a table ${what}, in pieces of ${stride}`, () => {
      const next = random(seed)
      const holdersMax = 6
      const pool = forest(25, 200, next)
      const chains = truthOf(pool)
      const table = PrefixTable.make({ holdersMax, blocksMax: evicts ? 1_100 : 40_000 })
      const scratch = PiecePaths.make()
      let checked = 0
      let unknown = 0
      for (let step = 0; step < 1_200; step++) {
        const keys = pool[next(pool.length)]!
        const count = keys.length / 2
        const holder = next(holdersMax)
        const from = next(count)
        const to = from + 1 + next(count - from)
        if (next(3) > 0) {
          const start = tidy || evicts ? 0 : from
          const parent = start === 0 ? null : part(keys, start - 1, start)
          PrefixTable.store(table, holder, parent, part(keys, start, to))
        } else if (tidy) {
          // Tail first, as engines do: nothing is left behind that hangs on nothing.
          for (const chain of pool) if (next(9) === 0) PrefixTable.remove(table, holder, cutOf(chain, keys, from))
        } else if (next(20) === 0) {
          PrefixTable.clear(table, holder)
          while (PrefixTable.sweep(table, 500)) {}
        } else PrefixTable.remove(table, holder, part(keys, from, to))
        if (step % 40 > 0) continue
        const batch = shuffled(pool, next)
        const { missing, told, unplaced } = piecesOf(table, batch, stride)
        const seen = told.flatMap((one) => [...check(chains, one, stride)])
        assert.lengthOf(seen, batch.length / 2 - missing - unplaced)
        const given = new Set(Array.from({ length: batch.length / 2 }, (_, i) => nameAt(batch, i)))
        assert.isTrue(seen.every((name) => given.delete(name)))
        if (tidy) assert.strictEqual(unplaced, 0)
        unknown += unplaced
        checked += seen.length
        // What each of them holds of a path, and of everything.
        const all = new Set<string>()
        for (let at = 0; ; ) {
          at = PieceHolders.walk(table, at, Int32Array.of(0, 1, 2, -1, 3, 4), stride, 50, scratch, (name, path) => {
            const who = name < 3 ? name : name + 1
            for (const key of check(chains, copyOf(path), stride)) all.add(`${who} ${key}`)
            assert.strictEqual(PieceHolders.heldOf(table, who, path.lanes, path.told), path.told)
          })
          unknown += scratch.unplaced
          if (tidy) assert.strictEqual(scratch.unplaced, 0)
          if (at === 0) break
        }
        for (const one of all) {
          const [who, lo, hi] = one.split(/[ ,]/).map(Number)
          assert.isTrue(PrefixTable.holds(table, who!, lo!, hi!))
        }
        if (tidy) {
          let held = 0
          for (let who = 0; who < holdersMax; who++) if (who !== 3) held += PrefixTable.heldBy(table, who)
          assert.strictEqual(all.size, held)
        }
        const lanes = new Int32Array(66)
        const start = next(Math.max(1, count - 32))
        const size = Math.min(32, count - start)
        lanes.set(part(keys, start, start + size), 2)
        const asked = next(0x7fffffff) & (size === 32 ? -1 : (1 << size) - 1)
        let expected = 0
        for (let i = 0; i < size; i++) {
          const isHeld = PrefixTable.holds(table, holder, keys[(start + i) * 2]!, keys[(start + i) * 2 + 1]!)
          if (isHeld) expected |= 1 << i
        }
        assert.strictEqual(PieceHolders.heldOf(table, holder, lanes, asked), expected & asked)
      }
      checkInvariants(table)
      assert.isAbove(checked, 300)
      if (!tidy && !evicts) assert.isAbove(unknown, 0)
    })
  }
})

/** What of a chain lies beyond the first `keep` blocks, or beyond what it shares with `keys`. */
const cutOf = (chain: KeyLanes, keys: KeyLanes, keep: number): KeyLanes => {
  let shared = 0
  while (shared < keep && shared * 2 < chain.length && nameAt(chain, shared) === nameAt(keys, shared)) shared++
  return shared === keep ? part(chain, shared, chain.length / 2) : none
}

/** Stretches of several chains, forwards, backwards and scattered, with strangers among them. */
const shuffled = (pool: ReadonlyArray<KeyLanes>, next: (below: number) => number): KeyLanes => {
  const words: Array<number> = []
  const known = new Set<string>()
  for (let i = 0; i < 4; i++) {
    const keys = pool[next(pool.length)]!
    const count = keys.length / 2
    const from = next(count)
    const picked = Array.from({ length: 1 + next(count - from) }, (_, at) => from + at)
    if (next(3) === 0) picked.reverse()
    if (next(3) === 0) picked.sort(() => next(3) - 1)
    for (const at of picked) {
      if (known.has(nameAt(keys, at))) continue
      known.add(nameAt(keys, at))
      words.push(keys[at * 2]!, keys[at * 2 + 1]!)
    }
  }
  return Int32Array.from(words)
}
