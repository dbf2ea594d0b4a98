import { describe, expect, it } from "vitest"
import type { BlockStored, EngineEvent, KvDelta } from "../../src/domain/KvEvent.ts"
import { type Tier, tiers } from "../../src/domain/Tier.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as KeyTranslate from "../../src/hot/KeyTranslate.ts"
import { NaiveKeyTranslate } from "../support/NaiveKeyTranslate.ts"

const hasher = BlockHash.make()
const blockSize = 4
const blocks = 60
const copiesMax = 3
const parkedBatches = 6

const random = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    return Math.floor(((state >>> 8) * below) / 2 ** 24)
  }
}

const lanes = (...hashes: ReadonlyArray<number>) => Int32Array.from(hashes.flatMap((hash) => [hash, 0]))
const tokensOf = (hashes: ReadonlyArray<number>) =>
  Uint32Array.from(hashes.flatMap((hash) => Array.from({ length: blockSize }, (_, i) => hash * 10 + i)))

/** A tree of blocks: hash 0 and a few others begin sequences, the rest continue an earlier one. */
const grow = (next: (below: number) => number) => {
  const parents = Array.from({ length: blocks }, (_, hash) => (hash < 3 ? -1 : Math.max(0, hash - 1 - next(4))))
  const pathTo = (hash: number): Array<number> => (hash < 0 ? [] : [...pathTo(parents[hash]!), hash])
  const root = hasher.root({ model: "m", lora: null, salt: null, blockSize })
  const keys = parents.map((_, hash) => [...hasher.chain(tokensOf(pathTo(hash)), blockSize, root)].slice(-2).join(":"))
  return { pathTo, keys }
}

/** `moved`: now and then its state goes on in another translator. */
const run = (seed: number, mainGroups: ReadonlyArray<number | null>, batches: number, moved = false) => {
  const next = random(seed)
  const { keys, pathTo } = grow(next)
  const pick = <A>(from: ReadonlyArray<A>): A => from[next(from.length)]!
  const group = () => pick(mainGroups)
  const tier = (): Tier => pick(["device", "device", "device", ...tiers])
  const lower = (): Tier => pick(["host", "host", "disk", "external"])
  const some = () => Array.from({ length: 1 + next(4) }, () => next(blocks))
  const stored = (rest: Partial<BlockStored> = {}): BlockStored => {
    const path = pathTo(next(blocks))
    const from = next(2) === 0 ? 0 : next(path.length)
    const hashes = path.slice(from)
    return {
      _tag: "BlockStored",
      hashes: lanes(...hashes),
      parent: from === 0 ? null : lanes(path[from - 1]!),
      tokenIds: tokensOf(hashes),
      blockSize,
      loraId: null,
      tier: tier(),
      loraName: null,
      extraKeys: null,
      groupIdx: group(),
      specKind: pick([null, "full_attention"]),
      slidingWindow: null,
      locality: null,
      ownership: null,
      sessionId: null,
      salt: null,
      ...rest
    }
  }
  const event = (): EngineEvent => {
    const what = next(1_000)
    const none = new Uint32Array(0)
    if (what < 330) return stored()
    if (what < 450) {
      const hashes = lanes(...some())
      return stored({
        hashes,
        parent: null,
        tokenIds: none,
        blockSize: 0,
        tier: lower(),
        groupIdx: pick([null, 7, group()])
      })
    }
    if (what < 500)
      return stored({ hashes: lanes(...some()), tokenIds: tokensOf(some().concat(some())), blockSize: 64 })
    if (what < 530) return stored({ specKind: "sliding_window", groupIdx: 9 })
    if (what < 550) return stored({ groupIdx: 9, specKind: null })
    if (what < 570) return stored({ tier: null })
    if (what < 998) {
      const groupIdx = next(12) === 0 ? 9 : group()
      return { _tag: "BlockRemoved", hashes: lanes(...some()), tier: tier(), groupIdx, locality: null, ownership: null }
    }
    return what === 998 ? { _tag: "AllBlocksCleared" } : { _tag: "Unknown", type: "New" }
  }

  const options: KeyTranslate.Options = {
    worker: 1,
    model: "m",
    blockSize,
    blockCount: null,
    hasher,
    copiesMax,
    parkedMax: 1_000,
    parkedBatches,
    hashesMax: 1_000
  }
  let translator = KeyTranslate.make(options)
  const move = () => {
    const pieces = [...translator.pieces(1 + next(20))]
    const saved = structuredClone(translator.saved())
    translator = KeyTranslate.make(options)
    expect(translator.restore(saved)).toBe(true)
    for (const piece of pieces) expect(translator.restorePiece(piece)).toBe(true)
    expect(translator.saved()).toEqual(saved)
  }
  const twin = new NaiveKeyTranslate(blockSize, copiesMax, parkedBatches)
  let layers: Array<Set<string> | null> = [new Set(), null, null, null]
  const layer = (number: number): Set<string> => layers[number] ?? layer(number - 1)
  const emit = (delta: KvDelta) => {
    if (delta._tag === "Cleared") layers = [new Set(), null, null, null]
    else if (delta._tag === "Deepened") {
      expect(layers[delta.layer]).toBe(null)
      layers[delta.layer] = new Set(layer(delta.layer))
    } else {
      expect(delta.keys.length).toBeGreaterThan(0)
      for (let i = 0; i < delta.keys.length; i += 2) {
        const key = `${delta.keys[i]}:${delta.keys[i + 1]}`
        delta._tag === "Stored" ? layers[delta.layer]!.add(key) : layers[delta.layer]!.delete(key)
      }
    }
    for (let i = 1; i < 4; i++)
      for (const key of layer(i - 1)) if (!layer(i).has(key)) expect.fail("a layer has a hole")
  }
  const deepest = [0, 0, 0, 0]
  for (let batch = 0; batch < batches; batch++) {
    if (moved && next(30) === 0) move()
    if (next(50) === 0) twin.repeats = translator.repeats = pick(["copy", "refresh"])
    const events = Array.from({ length: 1 + next(4) }, event)
    translator.apply(events, emit)
    twin.apply(events)
    for (let number = 0; number < 4; number++) {
      const wanted = [...twin.reach].filter(([, reach]) => reach <= number).map(([hash]) => keys[hash]!)
      const got = [...layer(number)]
      if (got.length !== wanted.length || !wanted.every((key) => layer(number).has(key))) {
        expect(got.sort(), `seed ${seed}, batch ${batch}, layer ${number}`).toEqual(wanted.sort())
      }
      deepest[number] = Math.max(deepest[number]!, got.length)
    }
    const { copies, heldCount, parkedCount, size } = twin
    expect(translator).toMatchObject({ copies, heldCount, parkedCount, size })
  }
  return deepest
}

describe("KeyTranslate, fuzzed", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])("tells every layer as a naive twin does, one group, seed %i", (seed) => {
    const deepest = run(seed, [seed % 2 === 0 ? 0 : null], 2_000)
    for (const most of deepest) expect(most).toBeGreaterThan(10)
  })

  it.each([21, 22, 23, 24])("does so when its state moves to another translator now and then, seed %i", (seed) => {
    run(seed, seed % 2 === 0 ? [0] : [0, 1, 2], 2_000, true)
  })

  it.each([11, 12, 13])("does so with several groups, seed %i", (seed) => {
    run(seed, [0, 1, 2], 2_000)
  })
})
