import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { BlockCache } from "../../loadtest/fleet/BlockCache.ts"
import * as Random from "../../loadtest/Random.ts"
import { CacheModel, type Claim, untoldDefault } from "../../src/hot/CacheModel.ts"

/** A chain: its first `count` keys. Lanes of every sign. */
const chain = (name: number, count: number): Int32Array =>
  Int32Array.from({ length: count * 2 }, (_, i) =>
    Math.imul(name * 1_000 + (i >> 1) + 1, i % 2 === 0 ? 0x9e37_79b1 : 0x85eb_ca6b)
  )

const pairs = (keys: Int32Array): Array<string> =>
  Array.from({ length: keys.length / 2 }, (_, i) => `${keys[2 * i]} ${keys[2 * i + 1]}`)

/** A model, and the set of keys it says are held. */
const followed = (toldBlocks: number | null) => {
  const held = new Set<string>()
  const model = new CacheModel({
    toldBlocks,
    stored: (parent, keys) => {
      expect(keys.length).toBeGreaterThan(0)
      if (parent !== null) expect(held.has(pairs(parent)[0]!)).toBe(true)
      for (const key of pairs(keys)) {
        expect(held.has(key)).toBe(false)
        held.add(key)
      }
    },
    removed: (keys) => {
      for (const key of pairs(keys)) expect(held.delete(key)).toBe(true)
    }
  })
  return { held, model }
}

const silent = { reportedBlocks: null, outputBlocks: null }
const serve = (model: CacheModel, keys: Int32Array, reportedBlocks: number | null = null): Claim => {
  const claim = model.computed(keys)
  model.settled(claim, { reportedBlocks, outputBlocks: null })
  return claim
}

describe("CacheModel", () => {
  it("lets the least recently used prompt go first, from its end", () => {
    const { held, model } = followed(18)
    serve(model, chain(1, 8))
    serve(model, chain(2, 8))
    serve(model, chain(1, 4))
    serve(model, chain(3, 5))
    // 16, and the last two answers took a block each.
    expect(held).toEqual(new Set(pairs(chain(1, 4)).concat(pairs(chain(2, 7)), pairs(chain(3, 5)))))
  })

  it("keeps what running requests hold, however much comes meanwhile", () => {
    const { held, model } = followed(20)
    const claim = model.computed(chain(1, 10))
    for (let name = 2; name < 9; name++) serve(model, chain(name, 6))
    for (const key of pairs(chain(1, 10))) expect(held.has(key)).toBe(true)
    model.settled(claim, silent)
    for (let name = 2; name < 9; name++) serve(model, chain(name, 6))
    for (const key of pairs(chain(1, 10))) expect(held.has(key)).toBe(false)
  })

  it("makes room for answers", () => {
    const { held, model } = followed(20)
    serve(model, chain(1, 8))
    model.settled(model.computed(chain(2, 4)), { reportedBlocks: 0, outputBlocks: 10 })
    expect(held).toEqual(new Set(pairs(chain(1, 6)).concat(pairs(chain(2, 4)))))
  })

  it("says that a prompt is held once it was computed, whatever was believed before", () => {
    const { held, model } = followed(64)
    const claim = serve(model, chain(1, 12), 12)
    expect(claim.held).toBe(0)
    expect(held).toEqual(new Set(pairs(chain(1, 12))))
  })

  it("is empty after a restart, and answers that began before it change nothing", () => {
    const { held, model } = followed(64)
    const claim = model.computed(chain(1, 12))
    model.clear()
    held.clear()
    model.settled(claim, { reportedBlocks: 12, outputBlocks: 30 })
    expect(model.stats).toMatchObject({ blocks: 0, ghosts: 0, reports: 0 })
    expect(model.computed(chain(1, 12)).held).toBe(0)
    expect(held).toEqual(new Set(pairs(chain(1, 12))))
  })

  it("recalls what was used before all else, as much as there is room for, and lets it go first", () => {
    const { held, model } = followed(30)
    serve(model, chain(1, 8))
    const life = model.reserve(40)
    // Its beginning is held; of each chain the beginning is recalled before the end.
    expect(model.recall(life, null, chain(1, 10))).toBe(true)
    expect(model.recall(life, null, chain(2, 6))).toBe(true)
    expect(model.recall(life, chain(2, 6).slice(10), chain(2, 9).slice(12))).toBe(true)
    expect(model.recall(life, chain(4, 5).slice(8), chain(4, 8).slice(10))).toBe(true)
    expect(model.recall(life, null, chain(3, 40))).toBe(true)
    expect(model.stats).toMatchObject({ blocks: 30, ghosts: 0 })
    // The answer to the first took a block.
    expect(held).toEqual(new Set(pairs(chain(1, 10)).concat(pairs(chain(2, 9)), pairs(chain(3, 10)))))
    expect(model.recall(life, null, chain(5, 1))).toBe(false)
    serve(model, chain(6, 12))
    expect(held).toEqual(new Set(pairs(chain(1, 10)).concat(pairs(chain(2, 6)), pairs(chain(6, 12)))))
    // What there was no room for was used later than what could be recalled now.
    model.told(31)
    expect(model.recall(life, null, chain(5, 1))).toBe(false)
    model.clear()
    expect(model.recall(life, null, chain(5, 1))).toBe(false)
  })

  it("stays at what was told while nobody reports", () => {
    const { model } = followed(300)
    for (let i = 0; i < 500; i++) serve(model, chain(i % 50, 12))
    expect(model.stats).toMatchObject({ capacityBlocks: 300, toldBlocks: 300, reports: 0 })
    expect(followed(null).model.stats).toMatchObject({ capacityBlocks: untoldDefault, toldBlocks: null })
  })

  it("takes back what it had let go, chain by chain, once reports show that it was there", () => {
    const { held, model } = followed(100)
    for (let round = 0; round < 12; round++) {
      for (let name = 0; name < 14; name++) serve(model, chain(name, 12), round === 0 ? 0 : 11)
    }
    expect(model.stats.capacityBlocks).toBeGreaterThan(14 * 12)
    for (let name = 0; name < 14; name++) for (const key of pairs(chain(name, 12))) expect(held.has(key)).toBe(true)
  })

  it("takes no report that is only an estimate for a loss, unless it is far from what was known", () => {
    const settle = (model: CacheModel, reportedBlocks: number, estimated: boolean) => {
      model.settled(model.computed(chain(1, 80)), { reportedBlocks, estimated, outputBlocks: null })
      return model.stats.missingBlocks
    }
    for (const [reported, estimated, missing] of [
      [72, false, 8],
      [72, true, 0],
      [60, true, 20]
    ] as const) {
      const { model } = followed(1_000)
      settle(model, 0, false)
      expect(settle(model, reported, estimated)).toBe(missing)
    }
  })

  it("knows that a cache is at least as large as what runs there at once", () => {
    const { model } = followed(100)
    for (let name = 0; name < 30; name++) model.computed(chain(name, 12))
    expect(model.stats.capacityBlocks).toBe(30 * 13)
  })

  it("believes a worker that says later how much it has", () => {
    const { held, model } = followed(null)
    for (let i = 0; i < 20; i++) serve(model, chain(i, 12))
    model.told(100)
    expect(model.stats).toMatchObject({ capacityBlocks: 100, toldBlocks: 100 })
    expect(held.size).toBeLessThanOrEqual(100)
  })

  it("never holds more than its capacity beside running requests, nor remembers more than as much again", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            name: fc.integer({ min: 0, max: 5 }),
            count: fc.integer({ min: 0, max: 12 }),
            end: fc.integer({ min: 0, max: 3 }),
            reported: fc.option(fc.integer({ min: 0, max: 12 }))
          }),
          { maxLength: 60 }
        ),
        (steps) => {
          const { held, model } = followed(24)
          const open: Array<Claim> = []
          for (const { count, end, name, reported } of steps) {
            open.push(model.computed(chain(name, count)))
            while (open.length > end) {
              model.settled(open.shift()!, { reportedBlocks: reported, outputBlocks: count >> 1 })
            }
            const running = open.reduce((sum, claim) => sum + claim.count + 1, 0)
            const { blocks, capacityBlocks, ghosts } = model.stats
            expect(held.size).toBeLessThanOrEqual(blocks)
            expect(blocks).toBeLessThanOrEqual(Math.max(capacityBlocks, running))
            expect(blocks + ghosts).toBeLessThanOrEqual(Math.max(2 * capacityBlocks, 24, running))
          }
        }
      )
    )
  })
})

describe("CacheModel given nonsense", () => {
  it("stays whole when keys are not chained: those seen elsewhere are left out", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 12 }), { maxLength: 60 }),
        (prompts) => {
          const { held, model } = followed(24)
          const open: Array<Claim> = []
          for (const names of prompts) {
            open.push(model.computed(Int32Array.from(names.flatMap((name) => [Math.imul(name, 0x9e3779b1), name]))))
            if (open.length > 2) model.settled(open.shift()!, { reportedBlocks: names.length, outputBlocks: 2 })
          }
          while (open.length > 0) model.settled(open.pop()!, silent)
          expect(held.size).toBeLessThanOrEqual(model.stats.blocks)
          expect(model.stats.blocks).toBeLessThanOrEqual(model.stats.capacityBlocks)
        }
      )
    )
  })
})

/**
 * Conversations at a real block cache: sixty at a time, each a common beginning and turns that grow it; the next turn is
 * that of a recent one more often than of an old one. Up to eight requests run at once. Some conversations are another
 * router's: the cache sees them, the model does not.
 */
const conversations = (options: {
  readonly seed: number
  readonly blocks: number
  readonly toldBlocks: number | null
  readonly requests: number
  readonly foreign?: number
  readonly reports?: boolean
}) => {
  const { blocks, foreign = 0, reports = true, requests, seed, toldBlocks } = options
  const random = Random.make(seed)
  const cache = new BlockCache<number>(blocks, () => {})
  const model = new CacheModel({ toldBlocks, stored: () => {}, removed: () => {} })
  const live: Array<{ id: number; blocks: number; foreign: boolean }> = []
  const running: Array<() => void> = []
  let ids = 0
  let answers = -1
  let truth = 0
  let wrong = 0
  const learned: Array<number> = []

  for (let request = 0; request < requests; ) {
    while (live.length < 60)
      live.push({ id: ids++, blocks: 20 + Math.floor(random() * 30), foreign: random() < foreign })
    const conversation = live.splice(Math.floor(random() ** 2 * live.length), 1)[0]!
    conversation.blocks += 1 + Math.floor(random() * 8)
    if (conversation.blocks < 120) live.unshift(conversation)
    const { blocks: count, id } = conversation
    // The first ten blocks are common to every fourth.
    const keys = Array.from({ length: count }, (_, i) => (i < 10 ? id % 4 : id + 10) * 1_000 + i)
    const outputBlocks = 1 + Math.floor(random() * 6)

    while (running.length >= 8) running.splice(Math.floor(random() * running.length), 1)[0]!()
    const held: Array<number> = []
    for (const key of keys.slice(0, -1)) {
      const block = cache.find(key)
      if (block < 0) break
      held.push(block)
    }
    const hits = held.length
    for (const block of held) cache.touch(block)
    for (const key of keys.slice(hits)) {
      const block = cache.allocate()
      cache.commit(block, key)
      held.push(block)
    }
    for (let i = 0; i < outputBlocks; i++) {
      const block = cache.allocate()
      cache.commit(block, answers--)
      held.push(block)
    }
    if (conversation.foreign) {
      running.push(() => cache.release(held))
      continue
    }
    const lanes = Int32Array.from(keys.flatMap((key) => [Math.imul(key + 1, 0x9e3779b1), Math.imul(key, 0x85ebca6b)]))
    const claim = model.computed(lanes)
    if (request >= requests / 2) {
      truth += hits
      wrong += Math.abs(Math.min(claim.held, count - 1) - hits)
    }
    running.push(() => {
      cache.release(held)
      model.settled(claim, { reportedBlocks: reports ? hits : null, outputBlocks })
    })
    request++
    learned.push(model.stats.capacityBlocks)
  }
  return { agreement: 1 - wrong / truth, capacityBlocks: model.stats.capacityBlocks, learned, stats: model.stats }
}

const seeds = [1, 2, 3, 4, 5]
const blocks = 2_000

/** What it learned, on average, from one request to another. */
const mean = (learned: ReadonlyArray<number>, from: number): number =>
  learned.slice(from).reduce((sum, each) => sum + each, 0) / (learned.length - from)

describe("CacheModel beside a real block cache", () => {
  it.each(seeds)("knows nearly every block of a cache whose size is told, seed %d", (seed) => {
    const told = conversations({ seed, blocks, toldBlocks: blocks, requests: 1_500 })
    expect(told.agreement).toBeGreaterThan(0.985)
    expect(told.capacityBlocks).toBeGreaterThan(0.9 * blocks)
    expect(told.capacityBlocks).toBeLessThan(1.1 * blocks)
    const silent = conversations({ seed, blocks, toldBlocks: blocks, requests: 1_500, reports: false })
    expect(silent.agreement).toBeGreaterThan(0.985)
    expect(silent.capacityBlocks).toBe(blocks)
  })

  it.each(seeds)("learns from 500 reports what a cache keeps that is a quarter of what was told, seed %d", (seed) => {
    const { agreement, learned } = conversations({ seed, blocks, toldBlocks: 4 * blocks, requests: 1_500 })
    for (const capacity of learned.slice(500)) expect(Math.abs(capacity / blocks - 1)).toBeLessThan(0.25)
    expect(agreement).toBeGreaterThan(0.97)
  })

  it.each(seeds)("learns from 500 reports what a cache keeps that is four times what was told, seed %d", (seed) => {
    const { agreement, learned } = conversations({ seed, blocks, toldBlocks: blocks / 4, requests: 1_500 })
    for (const capacity of learned.slice(500)) expect(Math.abs(capacity / blocks - 1)).toBeLessThan(0.25)
    expect(agreement).toBeGreaterThan(0.97)
  })

  it.each(seeds)("learns from 500 reports what a cache keeps that tells nothing, seed %d", (seed) => {
    const { agreement, learned } = conversations({ seed, blocks, toldBlocks: null, requests: 1_500 })
    for (const capacity of learned.slice(500)) expect(Math.abs(capacity / blocks - 1)).toBeLessThan(0.25)
    expect(agreement).toBeGreaterThan(0.97)
  })

  it.each(seeds)("learns how much room another router's traffic leaves, seed %d", (seed) => {
    const shared = { seed, blocks, toldBlocks: blocks, requests: 1_500, foreign: 0.5 }
    const { agreement, learned } = conversations(shared)
    // Half of the requests are the other's. A single moment's estimate swings more than its mean.
    expect(Math.abs(mean(learned, 500) / (blocks / 2) - 1)).toBeLessThan(0.25)
    for (const capacity of learned.slice(500)) expect(capacity).toBeLessThan(0.8 * blocks)
    expect(agreement).toBeGreaterThan(0.9)
    expect(conversations({ ...shared, reports: false }).agreement).toBeLessThan(agreement - 0.1)
  })
})
