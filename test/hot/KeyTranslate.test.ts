import { beforeEach, describe, expect, it } from "vitest"
import type { BlockStored, EngineEvent, KvDelta } from "../../src/domain/KvEvent.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as HolderMerge from "../../src/hot/HolderMerge.ts"
import * as KeyTranslate from "../../src/hot/KeyTranslate.ts"

const hasher = BlockHash.make()
const options: KeyTranslate.Options = {
  worker: 3,
  model: "m",
  blockSize: null,
  hasher,
  repeats: "copy",
  copiesMax: 255,
  parkedMax: 4,
  parkedBatches: 10,
  hashesMax: 1_000
}

const lanes = (...hashes: ReadonlyArray<number>) => Int32Array.from(hashes.flatMap((hash) => [hash, 0]))
const tokensFor = (hashes: ReadonlyArray<number>, blockSize = 4) =>
  Uint32Array.from(hashes.flatMap((hash) => Array.from({ length: blockSize }, (_, i) => hash * 100 + i)))

const stored = (
  hashes: ReadonlyArray<number>,
  parent: number | null,
  rest: Partial<BlockStored> = {}
): BlockStored => ({
  _tag: "BlockStored",
  hashes: lanes(...hashes),
  parent: parent === null ? null : lanes(parent),
  tokenIds: tokensFor(hashes, rest.blockSize),
  blockSize: 4,
  loraId: null,
  medium: "GPU",
  loraName: null,
  extraKeys: null,
  groupIdx: null,
  specKind: null,
  slidingWindow: null,
  locality: null,
  ownership: null,
  sessionId: null,
  ...rest
})

const removed = (hashes: ReadonlyArray<number>, rest: { medium?: string; groupIdx?: number } = {}): EngineEvent => ({
  _tag: "BlockRemoved",
  hashes: lanes(...hashes),
  medium: rest.medium ?? "GPU",
  groupIdx: rest.groupIdx ?? null,
  locality: null,
  ownership: null
})

const names = (keys: Int32Array) =>
  Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`)

/** What the request side would ask for. */
const wanted = (hashes: ReadonlyArray<number>, namespace: { lora?: string; salt?: string } = {}) =>
  names(
    hasher.chain(
      tokensFor(hashes),
      4,
      hasher.root({ model: "m", lora: namespace.lora ?? null, salt: namespace.salt ?? null, blockSize: 4 })
    )
  )

let held: Set<string>
let deltas: Array<KvDelta>
let translator: KeyTranslate.Translator

const emit = (delta: KvDelta) => {
  deltas.push(delta)
  expect(delta.worker).toBe(3)
  if (delta._tag === "Cleared") held.clear()
  else for (const name of names(delta.keys)) delta._tag === "Stored" ? held.add(name) : held.delete(name)
}
const apply = (...events: ReadonlyArray<EngineEvent>) => translator.apply(events, emit)
const start = (given: Partial<KeyTranslate.Options> = {}) => {
  held = new Set()
  deltas = []
  translator = KeyTranslate.make({ ...options, ...given })
}

describe("KeyTranslate", () => {
  beforeEach(() => start())

  it("gives the keys that a request with the same tokens asks for", () => {
    apply(stored([1, 2], null), stored([3], 2))
    expect(held).toEqual(new Set(wanted([1, 2, 3])))
    expect(deltas[1]).toMatchObject({ _tag: "Stored" })
    expect(names((deltas[1] as { parent: Int32Array }).parent)).toEqual([wanted([1, 2])[1]])
    expect(translator.blockSize).toBe(4)
  })

  it("forgets a block with its last copy only", () => {
    apply(stored([1, 2], null), stored([2], 1))
    expect(deltas.length).toBe(1)
    apply(removed([2]))
    expect(held).toEqual(new Set(wanted([1, 2])))
    apply(removed([2]), removed([2]))
    expect(held).toEqual(new Set(wanted([1])))
    expect(translator.counters.unknownRemovals).toBe(1)
  })

  it("takes a sequence told again from its start for copies, or for a refresh when so configured", () => {
    apply(stored([1, 2], null), stored([1, 2], null), removed([1, 2]))
    expect(held.size).toBe(2)
    start({ repeats: "refresh" })
    apply(stored([1, 2], null), stored([1, 2], null), removed([1, 2]))
    expect(held.size).toBe(0)
    apply(stored([1, 2], null), stored([1, 2, 3], null))
    expect(held).toEqual(new Set(wanted([1, 2, 3])))
  })

  it("publishes only what is new in a chain, each stretch with the block before it", () => {
    apply(stored([1, 2, 3, 4, 5], null), removed([2]), removed([4]))
    deltas = []
    apply(stored([1, 2, 3, 4, 5], null))
    const all = wanted([1, 2, 3, 4, 5])
    expect(
      deltas.map((delta) =>
        delta._tag === "Stored" ? [names(delta.parent ?? new Int32Array(0)), names(delta.keys)] : delta
      )
    ).toEqual([
      [[all[0]], [all[1]]],
      [[all[2]], [all[3]]]
    ])
  })

  it("keeps adapters and salts apart, and finds the salt behind the adapter's name", () => {
    apply(stored([1], null, { loraName: "a", extraKeys: [["a", "salty"]] }))
    expect(held).toEqual(new Set(wanted([1], { lora: "a", salt: "salty" })))
    start()
    apply(
      stored([1, 2], null, { extraKeys: [["salty"], null] }),
      stored([3], 2, { extraKeys: [null] }),
      stored([11], null, { loraName: "a", extraKeys: [["a"]] })
    )
    expect(held).toEqual(new Set([...wanted([1, 2, 3], { salt: "salty" }), ...wanted([11], { lora: "a" })]))
    start()
    apply(stored([1], null, { loraId: 7 }))
    expect(wanted([1])).not.toEqual([...held])
  })

  it("folds images into the blocks they touch, in every block and beside a salt", () => {
    const keys = (extraKeys: BlockStored["extraKeys"]) => {
      start()
      apply(stored([1, 2], null, { extraKeys }))
      return [...held]
    }
    const plain = keys(null)
    const first = keys([[["image", -1]], null])
    const second = keys([null, [["image", 2]]])
    expect(new Set([...plain, ...first, ...second]).size).toBe(5)
    expect(second[0]).toBe(plain[0])
    expect(keys([[["image", -1], "salt"], null])).not.toEqual(first)
    expect(keys([["salt"], null])).toEqual(wanted([1, 2], { salt: "salt" }))
  })

  it("ignores other tiers and sliding-window groups, stores and removals alike", () => {
    apply(
      stored([1], null, { groupIdx: 0, specKind: "full_attention" }),
      stored([1], null, { groupIdx: 1, specKind: "sliding_window", slidingWindow: 128 }),
      stored([1], null, { medium: "CPU" }),
      removed([1], { groupIdx: 1 }),
      removed([1], { medium: "CPU", groupIdx: 0 })
    )
    expect(held).toEqual(new Set(wanted([1])))
    expect(translator.counters.ignored).toBe(4)
    apply(removed([1], { groupIdx: 0 }))
    expect(held.size).toBe(0)
  })

  it("indexes nothing from tokens that cannot be assigned to their hashes", () => {
    apply(
      stored([1, 2], null, { tokenIds: tokensFor([1, 2, 3]) }),
      stored([5], null, { tokenIds: new Uint32Array(0), blockSize: 0 }),
      stored([6], null, { tokenIds: new Uint32Array(0) })
    )
    expect(held.size).toBe(0)
    expect(translator.counters.skipped).toBe(3)
  })

  it("believes the first event about the block size, and skips others after it", () => {
    start({ blockSize: 16 })
    apply(stored([1], null), stored([2], null, { blockSize: 2 }))
    expect(translator.blockSize).toBe(4)
    expect(held).toEqual(new Set(wanted([1])))
    expect(translator.counters.skipped).toBe(1)
  })

  it("parks a child until its parent comes", () => {
    apply(stored([3, 4], 2), stored([5], 4))
    expect(held.size).toBe(0)
    expect(translator.parkedCount).toBe(2)
    apply(stored([1, 2], null))
    expect(held).toEqual(new Set(wanted([1, 2, 3, 4, 5])))
    expect(translator.parkedCount).toBe(0)
  })

  it("lets go of parked blocks that are removed before they were known", () => {
    apply(stored([3, 4, 5], 2), stored([9], 8), removed([4]), removed([9]))
    apply(stored([1, 2], null))
    expect(held).toEqual(new Set(wanted([1, 2, 3])))
    expect(translator.parkedCount).toBe(0)
  })

  it("parks a bounded number, for a bounded time", () => {
    apply(...[10, 20, 30, 40, 50, 60].map((parent) => stored([parent + 1], parent)))
    expect(translator.parkedCount).toBe(4)
    expect(translator.counters).toMatchObject({ unknownParents: 6, orphansDropped: 2 })
    for (let i = 0; i < 10; i++) apply()
    expect(translator.parkedCount).toBe(0)
    expect(translator.counters.orphansDropped).toBe(6)
  })

  it("says when the engine emptied its cache, and forgets all", () => {
    apply(stored([1], null), stored([5], 4))
    expect(apply({ _tag: "AllBlocksCleared" }, { _tag: "Unknown", type: "New" })).toBe(true)
    expect(held.size).toBe(0)
    expect(deltas.at(-1)?._tag).toBe("Cleared")
    expect([translator.size, translator.parkedCount]).toEqual([0, 0])
    expect(translator.counters.unknownEvents).toBe(1)
  })

  it("corrects a hash that comes back with other tokens", () => {
    apply(stored([1], null), stored([1], null, { tokenIds: tokensFor([7]) }))
    expect(held).toEqual(new Set(wanted([7])))
    expect(translator.counters.mismatched).toBe(1)
  })

  it("says when it holds more than it may", () => {
    start({ hashesMax: 2 })
    apply(stored([1, 2], null))
    expect(translator.overflow).toBe(false)
    apply(stored([3], 2))
    expect(translator.overflow).toBe(true)
    translator.clear(emit)
    expect(translator.overflow).toBe(false)
  })
})

describe("HolderMerge", () => {
  beforeEach(() => start())

  it("keeps a block until the last rank has lost it", () => {
    const merge = HolderMerge.make()
    const other = KeyTranslate.make(options)
    const through = (delta: KvDelta) => merge(delta, emit)
    translator.apply([stored([1, 2, 3], null)], through, true)
    other.apply([stored([1, 2], null), stored([4], 2)], through, true)
    translator.apply([removed([2, 3])], through, true)
    expect(held).toEqual(new Set([...wanted([1, 2]), wanted([1, 2, 4])[2]!]))
    translator.apply([stored([2, 3], 1)], through, true)
    expect(names((deltas.at(-1) as { keys: Int32Array }).keys)).toEqual([wanted([1, 2, 3])[2]])
    other.clear(through, true)
    expect(held).toEqual(new Set(wanted([1, 2, 3])))
    translator.apply([{ _tag: "AllBlocksCleared" }], through, true)
    expect(held.size).toBe(0)
  })
})
