import { beforeEach, describe, expect, it } from "vitest"
import type { BlockStored, EngineEvent, KvDelta } from "../../src/domain/KvEvent.ts"
import type { Tier } from "../../src/domain/Tier.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as KeyOffloads from "../../src/hot/KeyOffloads.ts"
import * as KeyTranslate from "../../src/hot/KeyTranslate.ts"
import { unsaid } from "../support/Unsaid.ts"

const hasher = BlockHash.make()
const options: KeyTranslate.Options = {
  worker: 3,
  model: "m",
  blockSize: null,
  blockCount: null,
  hasher,
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
  ...unsaid,
  ...rest
})

const removed = (hashes: ReadonlyArray<number>, rest: { tier?: Tier | null; groupIdx?: number } = {}): EngineEvent => ({
  _tag: "BlockRemoved",
  hashes: lanes(...hashes),
  tier: rest.tier === undefined ? "device" : rest.tier,
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

/** An offload event: hashes alone. */
const offloaded = (hashes: ReadonlyArray<number>, rest: Partial<BlockStored> = {}): BlockStored => ({
  ...stored(hashes, null),
  tokenIds: new Uint32Array(0),
  blockSize: 0,
  tier: "host",
  ...rest
})

/** Layers as an index keeps them: those not told apart are as the deepest one below. */
let layers: Array<Set<string> | null>
let deltas: Array<KvDelta>
let translator: KeyTranslate.Translator
/** The device's layer. */
let held: Set<string>

const layer = (number: number): Set<string> => layers[number] ?? layer(number - 1)

const emit = (delta: KvDelta) => {
  deltas.push(delta)
  expect(delta.worker).toBe(3)
  if (delta._tag === "Cleared") {
    expect(delta.guess).toBe(false)
    held.clear()
    layers = [held, null, null, null]
  } else if (delta._tag === "Deepened") {
    expect(layers[delta.layer]).toBe(null)
    layers[delta.layer] = new Set(layer(delta.layer))
  } else {
    const set = layers[delta.layer]!
    for (const name of names(delta.keys)) delta._tag === "Stored" ? set.add(name) : set.delete(name)
  }
  for (let i = 1; i < 4; i++) expect([...layer(i - 1)].filter((name) => !layer(i).has(name))).toEqual([])
}
const apply = (...events: ReadonlyArray<EngineEvent>) => translator.apply(events, emit)
const start = (given: Partial<KeyTranslate.Options> = {}) => {
  held = new Set()
  layers = [held, null, null, null]
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

  it("counts what leaves a tier, and all that is forgotten", () => {
    apply(stored([1, 2, 3], null), stored([3], 2), removed([3]))
    expect(translator.counters.evicted).toBe(0)
    apply(removed([3]), removed([9]))
    expect(translator.counters.evicted).toBe(1)
    translator.clear(emit)
    expect(translator.counters.evicted).toBe(3)
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

  it("takes what waited for its parent, and was reported meanwhile, for the copy it is", () => {
    translator.repeats = "refresh"
    apply(stored([2], 1), stored([1, 2, 3], null), removed([2]))
    expect(held).toEqual(new Set(wanted([1, 2, 3]).filter((_, i) => i !== 1)))
  })

  it("takes a sequence told again from its start for copies, or for a refresh when told so", () => {
    apply(stored([1, 2], null), stored([1, 2], null), removed([1, 2]))
    expect([held.size, translator.copies]).toEqual([2, 2])
    start()
    translator.repeats = "refresh"
    apply(stored([1, 2], null), stored([1, 2], null), removed([1, 2]))
    expect(held.size).toBe(0)
  })

  it("adds of a full report only what was not known on that tier", () => {
    translator.repeats = "refresh"
    apply(stored([1, 2], null), stored([1, 2, 3], null))
    expect(held).toEqual(new Set(wanted([1, 2, 3])))
    expect(translator.copies).toBe(3)
    apply(stored([1, 2, 3], null, { tier: "host" }), stored([1, 2, 3], null, { tier: "host" }), removed([1, 2, 3]))
    expect(held.size).toBe(0)
    expect(layer(1)).toEqual(new Set(wanted([1, 2, 3])))
    apply(removed([1, 2, 3], { tier: "host" }))
    expect(layer(1).size).toBe(0)
    // Stores that continue a sequence are no reports: engines do hold their blocks twice.
    apply(stored([1], null), stored([2], 1), stored([2], 1), removed([2]))
    expect(held).toEqual(new Set(wanted([1, 2])))
  })

  it("notices that it counted more copies than the device has blocks", () => {
    start({ blockCount: 4 })
    apply(stored([1, 2], null), stored([1, 2], null), stored([1, 2], null, { tier: "host" }))
    expect([translator.copies, translator.overcounted]).toEqual([4, false])
    apply(stored([1], null))
    expect(translator.overcounted).toBe(true)
    translator.clear(emit)
    expect([translator.copies, translator.overcounted]).toEqual([0, false])
    start()
    for (let i = 0; i < 100; i++) apply(stored([1], null))
    expect(translator.overcounted).toBe(false)
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

  it("folds every form of multimodal key alike for equal inputs, and never as a plain prompt", () => {
    const forms: ReadonlyArray<ReadonlyArray<unknown>> = [
      [["image", 3]],
      [["image", 4]],
      ["bare identifier"],
      [Uint8Array.of(1, 2, 3)],
      [Uint8Array.of(1, 2, 4)],
      [{ type: "mm_key", hash: "ab12", start_offset: 0 }],
      [{ type: "mm_key", hash: "ab12", start_offset: 5 }],
      [
        ["image", 3],
        ["sound", 9]
      ]
    ]
    const keysWith = (keys: ReadonlyArray<unknown>) => {
      start()
      apply(stored([1], null, { extraKeys: [keys] }))
      return [...held][0]
    }
    const keys = forms.map(keysWith)
    expect(new Set([...keys, ...wanted([1])]).size).toBe(forms.length + 1)
    expect(forms.map((form) => keysWith(structuredClone(form)))).toEqual(keys)
  })

  it("takes a salt that has a field of its own at the root, and inherits it through parents after that", () => {
    apply(stored([1, 2], null, { salt: "s" }), stored([3], 2, { salt: "s" }), stored([4], 3))
    expect(held).toEqual(new Set(wanted([1, 2, 3, 4], { salt: "s" })))
    start()
    apply(stored([1], null, { salt: "s", extraKeys: [["s"]] }), stored([11], null, { salt: "s", loraName: "a" }))
    expect(held).toEqual(new Set([...wanted([1], { salt: "s" }), ...wanted([11], { salt: "s", lora: "a" })]))
  })

  it("ignores sliding-window groups and tiers it does not know, stores and removals alike", () => {
    apply(
      stored([1], null, { groupIdx: 0, specKind: "full_attention" }),
      stored([1], null, { groupIdx: 1, specKind: "sliding_window", slidingWindow: 128 }),
      stored([1], null, { tier: null }),
      removed([1], { groupIdx: 1 }),
      removed([1], { tier: null, groupIdx: 0 }),
      // Offloaded blocks name their group, but not its kind.
      offloaded([1], { groupIdx: 1 })
    )
    expect(held).toEqual(new Set(wanted([1])))
    expect(translator.counters).toMatchObject({ ignored: 5, unknownRemovals: 0, heldOffloads: 0 })
    apply(removed([1], { groupIdx: 0 }))
    expect(held.size).toBe(0)
  })

  it.each(["full_attention", "mla_attention", "sink_full_attention", null])("counts groups of kind %s", (specKind) => {
    apply(stored([1], null, { groupIdx: 2, specKind }))
    expect(held.size).toBe(1)
  })

  it("lets the last change of any of several groups decide", () => {
    const both = (event: (group: number) => EngineEvent) => apply(event(0), event(1))
    both((groupIdx) => stored([1, 2], null, { groupIdx }))
    apply(removed([2], { groupIdx: 1 }))
    expect(held).toEqual(new Set(wanted([1])))
    apply(stored([2], 1, { groupIdx: 1 }), offloaded([2], { groupIdx: 0 }), removed([2], { groupIdx: 1 }))
    expect(held).toEqual(new Set(wanted([1])))
    expect(layer(1)).toEqual(new Set(wanted([1])))
    apply(stored([2], 1, { groupIdx: 1 }))
    expect(held).toEqual(new Set(wanted([1, 2])))
  })

  it("keeps a block within reach until the last tier has lost it", () => {
    apply(stored([1, 2], null))
    expect(deltas.map(({ _tag }) => _tag)).toEqual(["Stored"])
    apply(stored([1, 2], null, { tier: "host" }), removed([1, 2]))
    expect(held.size).toBe(0)
    expect(layer(1)).toEqual(new Set(wanted([1, 2])))
    apply(stored([2], 1), removed([2], { tier: "host" }))
    expect(held).toEqual(new Set(wanted([1, 2]).slice(1)))
    apply(removed([2]), removed([1], { tier: "host" }))
    expect(layer(3).size).toBe(0)
    expect(translator.size).toBe(0)
  })

  it("counts the copies of each tier for itself", () => {
    apply(stored([1], null), offloaded([1]), offloaded([1]), removed([1]), removed([1], { tier: "host" }))
    expect([held.size, layer(1).size]).toEqual([0, 1])
    apply(removed([1], { tier: "host" }), removed([1], { tier: "host" }))
    expect(layer(1).size).toBe(0)
    expect(translator.counters.unknownRemovals).toBe(1)
  })

  it("tells a layer apart from the first block on its tier, also between two that are", () => {
    apply(stored([1, 2, 3], null), offloaded([3], { tier: "external" }), removed([3]))
    expect(deltas.map((delta) => [delta._tag, "layer" in delta ? delta.layer : null])).toEqual([
      ["Stored", 0],
      ["Deepened", 3],
      ["Removed", 0]
    ])
    // What the layers in between, not told apart yet, lose with the device, they lose without a word.
    expect([layer(0).size, layer(1).size, layer(2).size, layer(3).size]).toEqual([2, 2, 2, 3])
    deltas = []
    apply(offloaded([2, 3], { tier: "host" }), removed([1, 2]))
    expect(deltas.map((delta) => [delta._tag, "layer" in delta ? delta.layer : null])).toEqual([
      ["Deepened", 1],
      ["Stored", 1],
      ["Removed", 0],
      ["Removed", 1],
      ["Removed", 3]
    ])
    expect([layer(0).size, layer(1).size, layer(2).size, layer(3).size]).toEqual([0, 2, 2, 2])
  })

  it("forgets every tier when the engine says it emptied its cache, and tells layers apart anew", () => {
    apply(stored([1, 2], null), offloaded([1, 2]), offloaded([9]), { _tag: "AllBlocksCleared" })
    expect([layer(0).size, layer(1).size, translator.heldCount]).toEqual([0, 0, 0])
    deltas = []
    apply(stored([1], null))
    expect(deltas.length).toBe(1)
    apply(offloaded([1]))
    expect(deltas.at(-1)).toEqual({ _tag: "Deepened", worker: 3, layer: 1 })
  })

  it("finds offloaded blocks by hash in any group, whatever group their event names", () => {
    apply(
      stored([1, 2, 3], null, { groupIdx: 4 }),
      offloaded([1]),
      offloaded([2], { groupIdx: 0 }),
      offloaded([3], { groupIdx: 4 }),
      removed([1, 2, 3], { groupIdx: 4 })
    )
    expect(held.size).toBe(0)
    expect(layer(1)).toEqual(new Set(wanted([1, 2, 3])))
    apply(removed([1, 2], { tier: "host" }), removed([3], { tier: "host", groupIdx: 9 }))
    expect(layer(1).size).toBe(0)
    expect(translator.counters.unknownRemovals).toBe(0)
  })

  it("holds what was offloaded before it was described, until it is", () => {
    apply(offloaded([1, 2]), offloaded([2], { tier: "disk" }), offloaded([3]), removed([3], { tier: "host" }))
    expect([deltas.length, translator.heldCount, translator.counters.heldOffloads]).toEqual([0, 2, 4])
    apply(stored([1, 2, 3], null), removed([1, 2, 3]))
    expect([held.size, translator.heldCount]).toEqual([0, 0])
    expect(layer(1)).toEqual(new Set(wanted([1, 2])))
    apply(removed([1, 2], { tier: "host" }))
    expect([...layer(2)]).toEqual([wanted([1, 2])[1]])
  })

  it("brings a block nearer that was held for a nearer tier than the one it is described on", () => {
    apply(stored([1], null), offloaded([2]), stored([2], 1, { tier: "disk" }))
    expect([layer(0).size, layer(1).size, layer(2).size]).toEqual([1, 2, 2])
  })

  it("holds a bounded number of undescribed blocks, and gives up the oldest", () => {
    for (let first = 10; first < KeyOffloads.offloadsMax + 12; first += 1_000) {
      const end = Math.min(first + 1_000, KeyOffloads.offloadsMax + 12)
      apply(offloaded(Array.from({ length: end - first }, (_, i) => first + i)))
    }
    expect(translator.heldCount).toBe(KeyOffloads.offloadsMax)
    expect(translator.counters.offloadsDropped).toBe(2)
    apply(stored([10, 11, 12], null), removed([10, 11, 12]))
    expect([...layer(1)]).toEqual([wanted([10, 11, 12])[2]])
  })

  it("takes offloaded chunks that describe themselves, with or without the block before them", () => {
    apply(
      stored([1], null, { groupIdx: 0 }),
      stored([2, 3], 1, { tier: "host" }),
      // Nothing says what lies before these, so they wait for a description.
      stored([8, 9], 7, { tier: "host" })
    )
    expect(held).toEqual(new Set(wanted([1])))
    expect(layer(1)).toEqual(new Set(wanted([1, 2, 3])))
    expect([translator.heldCount, translator.parkedCount]).toEqual([2, 0])
    // The key known from the device outranks a chunk that does not say where it stands.
    apply(stored([4], 3), stored([4, 5], null, { tier: "host" }), removed([4]))
    expect(layer(1)).toEqual(new Set(wanted([1, 2, 3, 4])))
    expect([translator.counters.mismatched, translator.heldCount]).toEqual([0, 3])
  })

  it("learns the size of a block from the device alone", () => {
    apply(stored([1, 2], null, { tier: "host", blockSize: 2 }), stored([1, 2], null), removed([1, 2]))
    expect(translator.blockSize).toBe(4)
    expect(layer(1)).toEqual(new Set(wanted([1, 2])))
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

  it("counts the copies of masked blocks it knows", () => {
    apply(stored([1, 2, 3], null), stored([3], null, { tokenIds: tokensFor([1, 2, 3]) }), removed([3]))
    expect(held).toEqual(new Set(wanted([1, 2, 3])))
    apply(stored([2, 4], null, { tokenIds: tokensFor([1, 2, 3]), tier: "host" }), removed([2]))
    expect(layer(1)).toEqual(new Set(wanted([1, 2, 3])))
    expect([translator.counters.skipped, translator.heldCount]).toEqual([0, 1])
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

  it("corrects a hash that comes back with other tokens, on every tier", () => {
    apply(stored([1], null), offloaded([1]), stored([1], null, { tokenIds: tokensFor([7]) }))
    expect(held).toEqual(new Set(wanted([7])))
    expect(layer(1)).toEqual(new Set(wanted([7])))
    expect(translator.counters.mismatched).toBe(1)
    apply(removed([1]))
    expect(layer(1).size).toBe(0)
    // Twice in one event, the last word counts.
    apply(stored([1, 1], null, { tokenIds: tokensFor([1, 2]) }))
    expect([...held]).toEqual([wanted([1, 2])[1]])
  })

  it("learns the size of a block anew after it forgot everything", () => {
    apply(stored([1], null), { _tag: "AllBlocksCleared" }, stored([2], null, { blockSize: 8 }))
    expect(translator.blockSize).toBe(8)
    expect(held.size).toBe(1)
  })

  it("works through long sequences in changes of bounded size", () => {
    const long = Array.from({ length: 2_500 }, (_, i) => i + 1)
    apply(stored(long, null), offloaded(long))
    expect(held).toEqual(new Set(wanted(long)))
    expect(Math.max(...deltas.map((delta) => ("keys" in delta ? delta.keys.length / 2 : 0)))).toBe(1_024)
    expect(names((deltas[1] as { parent: Int32Array }).parent)).toEqual([wanted(long)[1_023]])
    apply(removed(long))
    expect(held.size).toBe(0)
    expect(layer(1).size).toBe(2_500)
    apply(removed(long.toReversed(), { tier: "host" }))
    expect(layer(1).size).toBe(0)
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
