import { assert, describe, it } from "vitest"
import type { KeyLanes } from "../../src/domain/Block.ts"
import { anyChain } from "../../src/domain/KvEvent.ts"
import * as PrefixTable from "../../src/hot/PrefixTable.ts"
import { RUN_TOP } from "../../src/hot/TableMemory.ts"
import { extend, forest, random } from "../support/Chains.ts"
import { NaivePrefixIndex } from "../support/NaivePrefixIndex.ts"
import { checkInvariants } from "../support/PrefixInvariants.ts"

const none = new Int32Array(0)
const chain = (count: number, seed = 1): KeyLanes => extend(none, 0, count, random(seed))
const part = (keys: KeyLanes, from: number, to: number): KeyLanes => keys.subarray(from * 2, to * 2)
const small = (holdersMax = 4) => PrefixTable.make({ holdersMax, blocksMax: 4_096 })

const depths = (table: PrefixTable.PrefixTable, keys: KeyLanes): Array<number> => {
  const out = new Uint32Array(table.holdersMax)
  PrefixTable.overlap(table, keys, keys.length / 2, PrefixTable.makeLevels(table), out)
  return [...out]
}

const drain = (table: PrefixTable.PrefixTable): void => {
  while (PrefixTable.sweep(table, 64)) checkInvariants(table)
}

describe("PrefixTable", () => {
  it("credits a holder with the leading blocks it stored, and nobody else", () => {
    const table = small()
    const keys = chain(100)
    assert.strictEqual(PrefixTable.store(table, 2, null, part(keys, 0, 60)), PrefixTable.STORED)
    assert.deepEqual(depths(table, keys), [0, 0, 60, 0])
    assert.deepEqual(depths(table, part(keys, 0, 10)), [0, 0, 10, 0])
    assert.deepEqual(depths(table, chain(20, 9)), [0, 0, 0, 0])
  })

  it("answers each holder once: those that end with a run as sets, shallowest first, those within one by themselves", () => {
    const table = small(70)
    const keys = chain(300)
    PrefixTable.store(table, 69, null, keys)
    PrefixTable.store(table, 3, null, part(keys, 0, 40))
    PrefixTable.store(table, 40, null, part(keys, 0, 280))
    PrefixTable.store(table, 5, null, part(keys, 0, 40))
    PrefixTable.store(table, 66, null, part(keys, 0, 256))
    PrefixTable.store(table, 34, null, part(keys, 0, 256))
    const levels = PrefixTable.makeLevels(table)
    assert.strictEqual(PrefixTable.levels(table, keys, 300, levels), 300)
    assert.deepEqual([...levels.depths.subarray(0, levels.count)], [256, 300])
    const masks = [...levels.masks.subarray(0, levels.count * levels.words)]
    assert.deepEqual(masks, [0, 1 << 2, 1 << 2, 0, 0, 1 << 5])
    const stops = [...levels.stopHolders.subarray(0, levels.stops)].map((holder, i) => [holder, levels.stopDepths[i]])
    assert.sameDeepMembers(stops, [
      [3, 40],
      [5, 40],
      [40, 280]
    ])
  })

  it("follows a conversation turn by turn through the parent it names", () => {
    const table = small()
    const keys = chain(64)
    for (let turn = 0; turn < 64; turn += 16) {
      PrefixTable.store(table, 1, turn === 0 ? null : part(keys, turn - 1, turn), part(keys, turn, turn + 16))
    }
    assert.deepEqual(depths(table, keys), [0, 64, 0, 0])
    assert.strictEqual(PrefixTable.stats(table).runs, 1)
  })

  it("keeps two conversations apart after the prompt they share", () => {
    const table = small()
    const first = extend(none, 0, 50, random(1))
    const second = extend(first, 20, 30, random(2))
    PrefixTable.store(table, 0, null, first)
    PrefixTable.store(table, 1, null, second)
    assert.deepEqual(depths(table, first), [50, 20, 0, 0])
    assert.deepEqual(depths(table, second), [20, 50, 0, 0])
    assert.strictEqual(PrefixTable.stats(table).blocks, 80)
  })

  it("stops at a hole and credits the whole prefix again when the hole is filled", () => {
    const table = small()
    const keys = chain(100)
    PrefixTable.store(table, 0, null, keys)
    PrefixTable.store(table, 1, null, keys)
    assert.strictEqual(PrefixTable.remove(table, 0, part(keys, 30, 32)), 2)
    assert.deepEqual(depths(table, keys), [30, 100, 0, 0])
    checkInvariants(table)
    PrefixTable.store(table, 0, part(keys, 29, 30), part(keys, 30, 32))
    assert.deepEqual(depths(table, keys), [100, 100, 0, 0])
    assert.strictEqual(PrefixTable.stats(table).spans, 0)
  })

  it("gives an orphaned suffix no credit until its head is stored, and never holds it twice", () => {
    const table = small()
    const keys = chain(80)
    assert.strictEqual(PrefixTable.store(table, 0, part(keys, 29, 30), part(keys, 30, 80)), PrefixTable.ORPHANED)
    assert.deepEqual(depths(table, keys), [0, 0, 0, 0])
    PrefixTable.store(table, 0, null, part(keys, 0, 50))
    assert.deepEqual(depths(table, keys), [80, 0, 0, 0])
    assert.strictEqual(PrefixTable.stats(table).blocks, 80)
    checkInvariants(table)
  })

  it("does not take a parent that was there lately for one that is there", () => {
    const table = small()
    const keys = chain(60)
    PrefixTable.store(table, 0, null, part(keys, 0, 20))
    PrefixTable.remove(table, 0, part(keys, 10, 20))
    assert.strictEqual(PrefixTable.store(table, 0, part(keys, 19, 20), part(keys, 20, 30)), PrefixTable.ORPHANED)
    PrefixTable.remove(table, 0, keys)
    // Another chain now lies where the first one lay, in runs and cells.
    const other = chain(60, 2)
    PrefixTable.store(table, 0, null, part(other, 0, 30))
    assert.strictEqual(PrefixTable.store(table, 0, part(keys, 29, 30), part(keys, 30, 40)), PrefixTable.ORPHANED)
    assert.strictEqual(PrefixTable.store(table, 0, part(other, 29, 30), part(other, 30, 40)), PrefixTable.STORED)
    assert.deepEqual([depths(table, keys)[0], depths(table, other)[0]], [0, 40])
    checkInvariants(table)
  })

  it("does nothing when a known block is stored or an unknown one removed, but counts it", () => {
    const table = small()
    const keys = chain(40)
    PrefixTable.store(table, 0, null, keys)
    PrefixTable.store(table, 0, null, keys)
    assert.strictEqual(PrefixTable.remove(table, 1, keys), 0)
    assert.strictEqual(PrefixTable.remove(table, 0, chain(5, 7)), 0)
    const stats = PrefixTable.stats(table)
    assert.deepInclude(stats, { blocks: 40, memberships: 40, known: 40, unknown: 45 })
    assert.deepEqual(depths(table, keys), [40, 0, 0, 0])
  })

  it("removes a batch in any order, however the engine lists it", () => {
    const keys = chain(600)
    const next = random(3)
    for (const order of ["forward", "backward", "shuffled"] as const) {
      const table = small()
      PrefixTable.store(table, 0, null, keys)
      PrefixTable.store(table, 1, null, part(keys, 0, 450))
      const picked = Array.from({ length: 500 }, (_, i) => i + 100)
      if (order === "backward") picked.reverse()
      if (order === "shuffled") picked.sort(() => next(3) - 1)
      const batch = new Int32Array(picked.flatMap((i) => [keys[i * 2]!, keys[i * 2 + 1]!]))
      assert.strictEqual(PrefixTable.remove(table, 0, batch), 500)
      assert.deepEqual(depths(table, keys), [100, 450, 0, 0])
      assert.strictEqual(PrefixTable.stats(table).blocks, 450)
      checkInvariants(table)
    }
  })

  it("forgets a cleared holder at once, and takes it back when the sweep is done", () => {
    const table = small()
    const keys = chain(500)
    PrefixTable.store(table, 0, null, keys)
    PrefixTable.store(table, 1, null, part(keys, 0, 300))
    PrefixTable.clear(table, 0)
    assert.deepEqual(depths(table, keys), [0, 300, 0, 0])
    assert.isFalse(PrefixTable.free(table, 0))
    assert.strictEqual(PrefixTable.store(table, 0, null, keys), PrefixTable.CLOSED)
    drain(table)
    assert.isTrue(PrefixTable.free(table, 0))
    assert.strictEqual(PrefixTable.stats(table).blocks, 300)
    PrefixTable.store(table, 0, null, part(keys, 0, 10))
    assert.deepEqual(depths(table, keys), [10, 300, 0, 0])
  })

  it("sweeps in slices that end no more blocks than asked, give or take one run", () => {
    const table = PrefixTable.make({ holdersMax: 4, blocksMax: 60_000 })
    for (const keys of forest(300, 250, random(5))) PrefixTable.store(table, 0, null, keys)
    PrefixTable.clear(table, 0)
    let slices = 0
    for (let more = true; more; slices++) {
      const before = PrefixTable.stats(table).blocks
      more = PrefixTable.sweep(table, 200)
      assert.isAtMost(before - PrefixTable.stats(table).blocks, 200 + 256)
    }
    assert.isAbove(slices, 50)
    assert.deepInclude(PrefixTable.stats(table), { blocks: 0, runs: 0, memberships: 0, spans: 0 })
  })

  it("revives blocks that nobody held any more when somebody stores them before they are swept", () => {
    const table = small()
    const keys = chain(300)
    PrefixTable.store(table, 0, null, keys)
    PrefixTable.clear(table, 0)
    for (let i = 0; !PrefixTable.free(table, 0); i++) assert.isTrue(PrefixTable.sweep(table, 1) && i < 100)
    PrefixTable.store(table, 1, null, keys)
    drain(table)
    assert.deepEqual(depths(table, keys), [0, 300, 0, 0])
    checkInvariants(table)
  })

  it("lies in a SharedArrayBuffer when asked, within the bytes it was given", () => {
    const table = PrefixTable.make({ holdersMax: 8, bytesMax: 1 << 20, shared: true })
    assert.instanceOf(table.buffer, SharedArrayBuffer)
    assert.isAtMost(table.buffer.byteLength, 1 << 20)
    const keys = chain(700)
    PrefixTable.store(table, 0, null, keys)
    assert.strictEqual(depths(table, keys)[0], 700)
    assert.isAtMost(PrefixTable.stats(table).bytes, 1 << 20)
  })

  it("refuses sizes that make no sense, and says which", () => {
    assert.throws(() => PrefixTable.make({ holdersMax: 0, blocksMax: 4_096 }), /holdersMax is 0/)
    assert.throws(() => PrefixTable.make({ holdersMax: 4, bytesMax: 1_000 }), /set blocksMax from 1024/)
  })

  it("refuses a holder beyond its own without touching anything", () => {
    const table = small()
    assert.strictEqual(PrefixTable.store(table, 4, null, chain(3)), PrefixTable.CLOSED)
    assert.strictEqual(PrefixTable.store(table, -1, null, chain(3)), PrefixTable.CLOSED)
    assert.deepInclude(PrefixTable.stats(table), { blocks: 0, refused: 2 })
  })

  it("stays exact with keys that differ in one lane only", () => {
    const table = small()
    const low = Int32Array.from({ length: 400 }, (_, i) => (i & 1 ? 7 : i))
    const high = Int32Array.from({ length: 400 }, (_, i) => (i & 1 ? i + 9_000 : 7))
    PrefixTable.store(table, 0, null, low)
    PrefixTable.store(table, 1, null, high)
    assert.deepEqual(depths(table, low), [200, 0, 0, 0])
    assert.deepEqual(depths(table, high), [0, 200, 0, 0])
    checkInvariants(table)
  })

  it("stays exact with run ids that fill the sign bit of a reference", () => {
    const table = PrefixTable.make({ holdersMax: 4, blocksMax: 18_000_000, blocksPerRun: 2 })
    table.head[RUN_TOP] = 2 ** 23 - 1
    const chains = [chain(300, 1), chain(300, 2), chain(300, 3)]
    for (const keys of chains) {
      PrefixTable.store(table, 0, null, keys)
      PrefixTable.store(table, 1, null, keys)
      assert.strictEqual(PrefixTable.remove(table, 1, part(keys, 250, 260)), 10)
      assert.strictEqual(PrefixTable.remove(table, 0, part(keys, 200, 300)), 100)
      assert.deepEqual(depths(table, keys), [200, 250, 0, 0])
    }
    assert.isAbove(table.head[RUN_TOP]!, 2 ** 23)
  })

  it("says so when skewed keys overfill one sub-table, and keeps what it has", () => {
    const table = PrefixTable.make({ holdersMax: 2, blocksMax: 200_000 })
    // Keys whose tags share their top bits: the inverse of the tag's multiplier undoes the mixing.
    const keys = new Int32Array(80_000 * 2)
    for (let i = 0; i < 80_000; i++) keys[i * 2 + 1] = Math.imul(i << 4, 0xe8b2f51)
    assert.strictEqual(PrefixTable.store(table, 0, null, keys), PrefixTable.FULL_TABLE)
    const stats = PrefixTable.stats(table)
    assert.isAbove(stats.blocks, 10_000)
    assert.isBelow(stats.blocks, 80_000)
    assert.strictEqual(depths(table, keys)[0], stats.blocks)
  })
})

describe("PrefixTable holders of one worker", () => {
  /** Whole runs, runs with holes and tails, of holder 0; holder 3 has some of the same. */
  const ragged = (options: Partial<PrefixTable.Options> = {}) => {
    const table = PrefixTable.make({ holdersMax: 8, blocksMax: 20_000, ...options })
    const chains = forest(60, 200, random(71))
    for (const [i, keys] of chains.entries()) {
      PrefixTable.store(table, 0, null, keys)
      if (i % 3 === 0) PrefixTable.store(table, 3, null, part(keys, 0, 20))
      if (i % 2 === 0) PrefixTable.remove(table, 0, part(keys, 5, 8))
    }
    return { table, chains }
  }
  const namesOf = (table: PrefixTable.PrefixTable, holder: number) => {
    const keys = PrefixTable.keysOf(table, holder)
    return Array.from({ length: keys.length / 2 }, (_, i) => part(keys, i, i + 1).join()).sort()
  }
  const copyAll = (table: PrefixTable.PrefixTable, from: number, to: number, budget: number): number => {
    let slices = 0
    for (let cursor = 0; slices === 0 || cursor !== 0; slices++) {
      cursor = PrefixTable.copy(table, from, to, cursor, budget)
      checkInvariants(table)
    }
    return slices
  }

  it("copies one holder to another exactly, holes and all, in slices of any size", () => {
    for (const budget of [1, 7, 10_000]) {
      const { table, chains } = ragged()
      const slices = copyAll(table, 0, 5, budget)
      if (budget === 1) assert.isAbove(slices, 30)
      assert.deepEqual(namesOf(table, 5), namesOf(table, 0))
      assert.strictEqual(PrefixTable.heldBy(table, 5), PrefixTable.heldBy(table, 0))
      for (const keys of chains) assert.strictEqual(depths(table, keys)[5], depths(table, keys)[0])
      PrefixTable.clear(table, 0)
      drain(table)
      assert.isAbove(PrefixTable.heldBy(table, 5), 0)
    }
  })

  it("counts a copy whose number is higher than any that ever stored", () => {
    const table = small(70)
    const keys = chain(10)
    PrefixTable.store(table, 0, null, keys)
    assert.strictEqual(PrefixTable.copy(table, 0, 69, 0, 100), 0)
    assert.strictEqual(depths(table, keys)[69], 10)
    checkInvariants(table)
  })

  it("is done at once where there is nothing to copy, or nobody to copy to", () => {
    const { table } = ragged()
    assert.strictEqual(PrefixTable.copy(table, 6, 5, 0, 1), 0)
    PrefixTable.clear(table, 3)
    assert.strictEqual(PrefixTable.copy(table, 0, 3, 0, 1_000), 0)
    assert.strictEqual(PrefixTable.copy(table, 3, 5, 0, 1_000), 0)
    assert.strictEqual(PrefixTable.heldBy(table, 5), 0)
  })

  it("copies less, and counts it, when spans run out", () => {
    // As few spans as the holes take already, and a few more.
    const spans = PrefixTable.stats(ragged().table).spans
    const { table, chains } = ragged({ blocksPerSpan: 20_000 / (spans + 10 - 64) })
    const before = PrefixTable.stats(table).dropped
    copyAll(table, 0, 5, 50)
    const { dropped } = PrefixTable.stats(table)
    assert.isAbove(dropped, before)
    assert.strictEqual(PrefixTable.heldBy(table, 5), PrefixTable.heldBy(table, 0) - (dropped - before))
    for (const keys of chains) assert.isAtMost(depths(table, keys)[5]!, depths(table, keys)[0]!)
  })

  it("goes on with a run that only holders of one ring have, and begins another where a stranger has it too", () => {
    const grow = (holders: ReadonlyArray<number>) => {
      const table = small(8)
      PrefixTable.join(table, 1, 0)
      PrefixTable.join(table, 2, 0)
      const keys = chain(40)
      for (let i = 0; i < 40; i++) {
        const parent = i === 0 ? null : part(keys, i - 1, i)
        for (const holder of holders) PrefixTable.store(table, holder, parent, part(keys, i, i + 1))
        checkInvariants(table)
      }
      assert.isTrue(holders.every((holder) => depths(table, keys)[holder] === 40))
      return PrefixTable.stats(table).runs
    }
    assert.strictEqual(grow([0, 1]), 1)
    assert.strictEqual(grow([2, 0, 1]), 1)
    assert.strictEqual(grow([0, 5]), 40)
  })

  it("leaves the others of a ring with what they had when one of them stores more", () => {
    const table = small(8)
    PrefixTable.join(table, 1, 0)
    const keys = chain(40)
    for (const holder of [0, 1]) PrefixTable.store(table, holder, null, part(keys, 0, 20))
    PrefixTable.store(table, 1, part(keys, 19, 20), part(keys, 20, 40))
    assert.deepEqual(depths(table, keys).slice(0, 2), [20, 40])
    assert.strictEqual(PrefixTable.stats(table).runs, 1)
    PrefixTable.clear(table, 1)
    drain(table)
    assert.deepEqual(depths(table, keys).slice(0, 2), [20, 0])
    assert.deepInclude(PrefixTable.stats(table), { blocks: 20, spans: 0 })
    // Cleared, it belongs to nobody: another's run is not gone on with.
    PrefixTable.store(table, 1, null, part(keys, 0, 20))
    PrefixTable.store(table, 1, part(keys, 19, 20), part(keys, 20, 30))
    assert.deepInclude(PrefixTable.stats(table), { runs: 2, spans: 0 })
  })
})

describe("PrefixTable eviction", () => {
  it("drops the least recently used ends of chains and keeps what is matched", () => {
    const table = PrefixTable.make({ holdersMax: 2, blocksMax: 4_096 })
    const next = random(11)
    const system = extend(none, 0, 64, next)
    const hot = extend(system, 64, 100, next)
    PrefixTable.store(table, 0, null, hot)
    for (let i = 0; i < 400; i++) {
      const cold = extend(system, 64, 100, next)
      PrefixTable.store(table, 1, null, cold)
      assert.strictEqual(depths(table, hot)[0], 164)
      assert.strictEqual(depths(table, cold)[1], 164)
    }
    const stats = PrefixTable.stats(table)
    assert.isAtMost(stats.blocks, 4_096)
    assert.isAbove(stats.evictedBlocks, 30_000)
    checkInvariants(table)
  })

  it("takes a chain longer than the table as far as it goes", () => {
    const table = PrefixTable.make({ holdersMax: 2, blocksMax: 1_024 })
    PrefixTable.store(table, 0, null, chain(5_000))
    checkInvariants(table)
    assert.isAtMost(PrefixTable.stats(table).blocks, 1_024)
  })
})

describe("PrefixTable.hasEvicted", () => {
  it("is true of the first block that each request lacks of what was evicted, and seldom of one that was never there", () => {
    const table = small()
    const chains = forest(130, 100, random(5))
    const isCut = chains.map((keys) => PrefixTable.store(table, 0, null, keys) === PrefixTable.FULL_TABLE)
    assert.isAbove(PrefixTable.stats(table).evictedBlocks, 1_000)
    assert.isBelow(PrefixTable.stats(table).evictedBlocks, 4_096)
    let cut = 0
    let taken = 0
    for (const [i, keys] of chains.entries()) {
      if (isCut[i]) continue
      const depth = depths(table, keys)[0]!
      const isThere = (place: number) => PrefixTable.hasEvicted(table, keys[2 * place]!, keys[2 * place + 1]!)
      if (depth < keys.length / 2) {
        cut++
        assert.isTrue(isThere(depth))
      }
      const other = extend(keys, keys.length / 2, 1, random(cut))
      if (PrefixTable.hasEvicted(table, other.at(-2)!, other.at(-1)!)) taken++
    }
    assert.isAbove(cut, 20)
    assert.isBelow(taken, 30)
  })
})

describe("PrefixTable snapshot", () => {
  const fill = (table: PrefixTable.PrefixTable, seed: number) => {
    const next = random(seed)
    const chains = forest(60, 120, next)
    for (const keys of chains) {
      const count = keys.length / 2
      for (let i = 0; i < 3; i++) PrefixTable.store(table, next(table.holdersMax), null, part(keys, 0, 1 + next(count)))
      const hole = next(count)
      PrefixTable.remove(table, next(table.holdersMax), part(keys, hole, Math.min(count, hole + 3)))
    }
    return chains
  }
  const asTheyAre = (holder: number) => holder
  const chunks = (
    table: PrefixTable.PrefixTable,
    wordsMax: number,
    name: (holder: number) => number = asTheyAre
  ): Array<Int32Array> => {
    const names = Int32Array.from({ length: table.holdersMax }, (_, holder) => name(holder))
    const all: Array<Int32Array> = []
    for (let from = 0; ; ) {
      const { next, words } = PrefixTable.snapshot(table, from, names, wordsMax)
      assert.isAtMost(words.length, wordsMax)
      all.push(words)
      if (next === 0) return all
      from = next
    }
  }
  const install = (table: PrefixTable.PrefixTable, words: Int32Array): boolean =>
    PrefixTable.stored(words, (name, parent, keys) => PrefixTable.store(table, name, parent, keys) < PrefixTable.CLOSED)

  it("installs into an empty table as the same view, once or twice", () => {
    const table = PrefixTable.make({ holdersMax: 40, blocksMax: 40_000 })
    const chains = fill(table, 21)
    const copy = PrefixTable.make({ holdersMax: 40, blocksMax: 40_000 })
    const bytes = chunks(table, 1_000)
    assert.isAbove(bytes.length, 3)
    for (let round = 0; round < 2; round++) {
      for (const chunk of bytes) assert.isTrue(install(copy, chunk))
      for (const keys of chains) assert.deepEqual(depths(copy, keys), depths(table, keys))
      assert.strictEqual(PrefixTable.stats(copy).memberships, PrefixTable.stats(table).memberships)
      checkInvariants(copy)
    }
  })

  it("renames holders, and leaves out those without a new number", () => {
    const table = small()
    const keys = chain(30)
    PrefixTable.store(table, 0, null, keys)
    PrefixTable.store(table, 3, null, part(keys, 0, 20))
    const copy = small()
    for (const chunk of chunks(table, 1_000, (slot) => (slot === 0 ? 2 : -1))) assert.isTrue(install(copy, chunk))
    assert.deepEqual(depths(copy, keys), [0, 0, 30, 0])
    assert.strictEqual(PrefixTable.heldBy(copy, 2), 30)
  })

  it("does not make the start of a chain of blocks that may be anywhere in one", () => {
    const table = small()
    const keys = chain(30)
    PrefixTable.store(table, 0, anyChain, part(keys, 10, 12))
    const parents: Array<KeyLanes | null> = []
    for (const words of chunks(table, 1_000)) {
      PrefixTable.stored(words, (_, parent) => parents.push(parent) > 0)
    }
    assert.lengthOf(parents, 2)
    for (const parent of parents) assert.isNotNull(parent)
  })

  it("leaves out what of a run does not fit, and goes on", () => {
    const table = PrefixTable.make({ holdersMax: 64, blocksMax: 4_000, blocksPerSpan: 0.1 })
    const keys = chain(200)
    for (let holder = 0; holder < 64; holder++) {
      PrefixTable.store(table, holder, null, keys)
      for (let i = 1; i < 200; i += 2) PrefixTable.remove(table, holder, part(keys, i, i + 1))
    }
    const copy = PrefixTable.make({ holdersMax: 64, blocksMax: 4_000, blocksPerSpan: 0.1 })
    for (const chunk of chunks(table, 1_000)) assert.isTrue(install(copy, chunk))
    const { memberships } = PrefixTable.stats(copy)
    assert.isAbove(memberships, 200)
    assert.isBelow(memberships, PrefixTable.stats(table).memberships)
    checkInvariants(copy)
  })

  it("leaves the table alone when the bytes are cut or damaged", () => {
    const table = small()
    fill(table, 5)
    const [words] = chunks(table, 100_000)
    const copy = small()
    for (const length of [0, 1, 3, 4, 10, words!.length - 1]) {
      assert.isFalse(install(copy, words!.subarray(0, length)))
    }
    for (const at of [0, 1, 2, 3, 4]) {
      const damaged = words!.slice()
      damaged[at]! ^= 0x4000_0000
      assert.isFalse(install(copy, damaged))
    }
    assert.strictEqual(PrefixTable.stats(copy).blocks, 0)
  })

  it("lists exactly the keys a holder has", () => {
    const table = small()
    const keys = chain(50)
    PrefixTable.store(table, 0, null, keys)
    PrefixTable.store(table, 1, null, keys)
    PrefixTable.remove(table, 1, part(keys, 10, 20))
    assert.deepEqual([...PrefixTable.keysOf(table, 0)], [...keys])
    assert.strictEqual(PrefixTable.keysOf(table, 1).length, 80)
    assert.isTrue(PrefixTable.holds(table, 1, keys[18]!, keys[19]!))
    assert.isFalse(PrefixTable.holds(table, 1, keys[20]!, keys[21]!))
  })
})

interface Fuzz {
  readonly seed: number
  readonly holdersMax: number
  readonly chains: number
  readonly lengthMax: number
  readonly steps: number
  readonly table?: Partial<PrefixTable.Options>
  /** The table is too small for the chains: it may know less than the twin, never more. */
  readonly evicts?: boolean
  /** Holders per ring: layers of one worker. Most stores then go to all of a ring, one after the other. */
  readonly ring?: number
}

/** Runs the table and its naive twin through the same random life. Returns how many depths were compared. */
const fuzz = ({
  seed,
  holdersMax,
  chains,
  lengthMax,
  steps,
  table: options,
  evicts = false,
  ring = 1
}: Fuzz): number => {
  const next = random(seed)
  const table = PrefixTable.make({ holdersMax, blocksMax: chains * lengthMax + 1_024, blocksPerSpan: 0.1, ...options })
  const twin = new NaivePrefixIndex()
  const pool = forest(chains, lengthMax, next)
  const scratch = PrefixTable.makeLevels(table)
  const actual = new Uint32Array(holdersMax)
  const expected = new Uint32Array(holdersMax)
  let checks = 0
  let copying: { readonly from: number; readonly to: number; cursor: number } | null = null
  /** Holders that a clear took out of their rings. */
  const parted = new Set<number>()
  const first = (holder: number) => holder - (holder % ring)
  const mates = (holder: number) =>
    Array.from({ length: ring }, (_, i) => first(holder) + i).filter((h) => h < holdersMax)
  for (let holder = 0; holder < holdersMax; holder++) {
    if (holder !== first(holder)) PrefixTable.join(table, holder, first(holder))
  }
  const clear = (holder: number) => {
    PrefixTable.clear(table, holder)
    twin.clear(holder)
    if (ring > 1) parted.add(holder)
  }
  const copySlice = (budget: number) => {
    if (copying === null) return
    const { from, to, cursor } = copying
    copying.cursor = PrefixTable.copy(table, from, to, cursor, budget)
    if (copying.cursor !== 0) return
    twin.copy(from, to)
    if (!evicts) assert.strictEqual(PrefixTable.heldBy(table, to), PrefixTable.heldBy(table, from))
    copying = null
  }
  for (let step = 0; step < steps; step++) {
    if (next(3) === 0) copySlice(1 + next(20))
    const keys = pool[next(pool.length)]!
    const count = keys.length / 2
    const holder = next(holdersMax)
    const isBusy = copying !== null && (holder === copying.from || holder === copying.to)
    const from = next(3) === 0 ? next(count) : 0
    const to = from + 1 + next(count - from)
    const dice = next(100)
    if (parted.has(holder) && PrefixTable.free(table, holder) && next(4) === 0) {
      const mate = mates(holder).find((h) => h !== holder && !parted.has(h))
      if (mate !== undefined) PrefixTable.join(table, holder, mate)
      parted.delete(holder)
    }
    if (copying === null && dice === 99 && PrefixTable.free(table, holder)) {
      const mate = mates(holder).find((h) => h !== holder) ?? (holder + 1) % holdersMax
      clear(mate)
      while (!PrefixTable.free(table, mate)) PrefixTable.sweep(table, 1_000)
      copying = { from: holder, to: mate, cursor: 0 }
    }
    if (dice < 40 && !isBusy) {
      const known = from === 0 ? null : part(keys, from - 1, from)
      const parent = next(9) > 0 ? known : next(2) === 0 ? anyChain : Int32Array.of(1, 0)
      for (const each of next(5) > 0 ? mates(holder) : [holder]) {
        if (copying !== null && (each === copying.from || each === copying.to)) continue
        const status = PrefixTable.store(table, each, parent, part(keys, from, to))
        if (status !== PrefixTable.CLOSED) twin.store(each, part(keys, from, to))
      }
    } else if (dice < 60 && !isBusy) {
      // A tail, a middle or a scatter, tail first or head first.
      const size = dice < 50 ? 1 + next(4) : to - from
      const start = next(2) === 0 ? Math.max(0, count - size) : Math.min(from, count - size)
      const picked = Array.from({ length: size }, (_, i) => start + i).filter(() => dice < 55 || next(3) > 0)
      if (next(2) === 0) picked.reverse()
      const batch = new Int32Array(picked.flatMap((i) => [keys[i * 2]!, keys[i * 2 + 1]!]))
      const removed = PrefixTable.remove(table, holder, batch)
      if (PrefixTable.free(table, holder)) {
        const known = twin.remove(holder, batch)
        if (evicts) assert.isAtMost(removed, known)
        else assert.strictEqual(removed, known, `seed ${seed}, step ${step}: removed`)
      }
    } else if (dice < 62 && next(4) === 0) {
      clear(holder)
      // A copy without its source is worth nothing.
      if (isBusy && copying !== null) {
        clear(copying.from)
        clear(copying.to)
        copying = null
      }
    } else if (dice < 70) {
      PrefixTable.sweep(table, 1 + next(300))
    }
    if (dice >= 50) {
      const asked = 1 + next(count)
      PrefixTable.overlap(table, keys, asked, scratch, actual)
      twin.overlap(keys, asked, expected)
      for (let w = 0; w < holdersMax; w++) {
        // What is being copied may be there in part: no more of it than in the source.
        const most = copying !== null && w === copying.to ? expected[copying.from]! : expected[w]!
        const agree = evicts || most !== expected[w] ? actual[w]! <= most : actual[w] === most
        if (!agree) assert.fail(`seed ${seed}, step ${step}: holder ${w} has ${expected[w]}, table says ${actual[w]}`)
      }
      for (let i = 1; i < scratch.count; i++) assert.isAbove(scratch.depths[i]!, scratch.depths[i - 1]!)
      checks += holdersMax
    }
    if (step % 1_000 === 999) checkInvariants(table)
  }
  while (copying !== null) copySlice(100)
  const stats = PrefixTable.stats(table)
  if (evicts) assert.isAbove(stats.evictedBlocks, 0)
  else assert.strictEqual(stats.dropped, 0)
  for (const run of PrefixTable.dump(table)) {
    for (let i = 0; i < run.keys.length / 2; i++) {
      const key = (BigInt(run.keys[i * 2 + 1]!) << 32n) | BigInt(run.keys[i * 2]! >>> 0)
      const holders = run.parts.filter((p) => p.from <= i && i < p.to).map((p) => p.holder)
      for (const w of [...run.holders, ...holders]) {
        if (!twin.holders.get(key)?.has(w)) assert.fail(`seed ${seed}: holder ${w} was invented as holder of ${key}`)
        checks++
      }
    }
  }
  for (let holder = 0; holder < holdersMax; holder++) PrefixTable.clear(table, holder)
  while (PrefixTable.sweep(table, 500)) checks++
  checkInvariants(table)
  assert.deepInclude(PrefixTable.stats(table), { blocks: 0, runs: 0, spans: 0, memberships: 0 })
  return checks
}

describe("PrefixTable against its naive twin", () => {
  let total = 0
  it("agrees on few holders with long chains, holes, twins, clears and orphans", () => {
    for (let seed = 1; seed <= 4; seed++) {
      total += fuzz({ seed, holdersMax: 5, chains: 40, lengthMax: 400, steps: 6_000 })
    }
  })

  it("agrees on chains of thousands of blocks, where a match reads ahead", () => {
    for (let seed = 61; seed <= 62; seed++) {
      total += fuzz({ seed, holdersMax: 4, chains: 12, lengthMax: 2_000, steps: 2_500 })
    }
  })

  it("agrees on many holders that share chains", () => {
    for (let seed = 11; seed <= 13; seed++) {
      total += fuzz({ seed, holdersMax: 64, chains: 30, lengthMax: 100, steps: 10_000 })
    }
  })

  it("agrees on more holders than one word per level, in shared memory", () => {
    total += fuzz({ seed: 21, holdersMax: 150, chains: 20, lengthMax: 60, steps: 8_000, table: { shared: true } })
  })

  it("agrees on holders in rings, whose chains grow together and apart, and that are copied in slices", () => {
    for (let seed = 51; seed <= 53; seed++) {
      total += fuzz({ seed, holdersMax: 30, chains: 30, lengthMax: 200, steps: 8_000, ring: 3 })
    }
    total += fuzz({ seed: 54, holdersMax: 70, chains: 300, lengthMax: 40, steps: 8_000, ring: 2 })
  })

  it("agrees while sub-tables grow under many short chains", () => {
    for (let seed = 31; seed <= 32; seed++) {
      total += fuzz({ seed, holdersMax: 16, chains: 3_000, lengthMax: 30, steps: 15_000 })
    }
  })

  it("knows less, never more, when blocks, run ids, cells or spans run out", () => {
    for (const [seed, table] of [
      [41, { blocksMax: 1_500 }],
      [42, { blocksMax: 3_000 }],
      [43, { blocksMax: 3_000, blocksPerRun: 200 }],
      [44, { blocksMax: 1_024, blocksPerRun: 64 }],
      [45, { blocksMax: 3_000, blocksPerSpan: 20 }]
    ] as const) {
      for (const ring of [1, 3]) {
        total += fuzz({ seed, holdersMax: 24, chains: 60, lengthMax: 150, steps: 8_000, table, evicts: true, ring })
      }
    }
  })

  it("was compared at least a million times", () => {
    console.log(`PrefixTable fuzz: ${total.toLocaleString("en")} depths and memberships compared`)
    assert.isAtLeast(total, 1_000_000)
  })
})
