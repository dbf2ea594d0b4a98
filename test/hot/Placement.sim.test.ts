import { beforeAll, describe, expect, it } from "vitest"
import * as Policies from "../../src/hot/Policies.ts"
import * as QueueSim from "../support/QueueSim.ts"

const lcg = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** A 70B model: 64 µs per token and 1.9 ns per pair. The learned rates start from other priors. */
const fleet: QueueSim.SimFleet = {
  workers: 8,
  blockSize: 64,
  capacityBlocks: 3000,
  requestMs: 15,
  tokenMs: 0.064,
  pairMs: 1.9e-6,
  decodeMs: 15
}

const numbering = (): ((count: number) => Array<number>) => {
  let last = 0
  return (count) => Array.from({ length: count }, () => ++last)
}

/**
 * Conversations on twelve applications, each with its own system prompt after one common first block; 70 % of requests
 * continue one of 80 conversations; one in twenty brings a document of 12 800 tokens.
 */
const sharedPrefixes = (count: number, perSecond: number): ReadonlyArray<QueueSim.SimRequest> => {
  const random = lcg(1)
  const fresh = numbering()
  const template = fresh(1)
  const applications = Array.from({ length: 12 }, () => [...template, ...fresh(20 + Math.floor(random() * 40))])
  const conversations: Array<ReadonlyArray<number>> = []
  const requests: Array<QueueSim.SimRequest> = []
  let atMs = 0
  for (let i = 0; i < count; i++) {
    atMs -= (Math.log(1 - random()) * 1000) / perSecond
    const continued = conversations.length > 0 && random() < 0.7
    const at = continued
      ? Math.floor(random() * conversations.length)
      : conversations.length < 80
        ? conversations.length
        : Math.floor(random() * 80)
    const before = continued ? conversations[at]! : applications[Math.floor(random() * random() * 12)]!
    const added = 2 + Math.floor(random() * 12) + (random() < 0.05 ? 200 : 0)
    const blocks = [...before, ...fresh(added)].slice(0, 400)
    conversations[at] = blocks
    requests.push({ atMs, blocks, outputTokens: 20 + Math.floor(random() * 200) })
  }
  return requests
}

describe("Placement of shared-prefix traffic on eight workers", () => {
  const results = new Map<Policies.Name, QueueSim.SimResult>()
  const of = (name: Policies.Name): QueueSim.SimResult => results.get(name)!

  beforeAll(() => {
    const requests = sharedPrefixes(3000, 20)
    for (const name of Policies.names) results.set(name, QueueSim.run(name, fleet, requests))
  })

  it("gives a mean TTFT under a third of round-robin's and of least-loaded's", () => {
    expect(of("eta").ttftMsMean).toBeLessThan(of("round-robin").ttftMsMean / 3)
    expect(of("eta").ttftMsMean).toBeLessThan(of("least-loaded").ttftMsMean / 3)
    expect(of("eta").ttftMsP90).toBeLessThan(of("round-robin").ttftMsP90 / 3)
  })

  it("takes at least half as many blocks again from caches", () => {
    expect(of("eta").hitRate).toBeGreaterThan(1.5 * of("round-robin").hitRate)
    expect(of("eta").hitRate).toBeGreaterThan(1.5 * of("least-loaded").hitRate)
  })

  it("keeps the work even, where the longest prefix alone piles it on the worker that was first", () => {
    expect(of("eta").imbalance).toBeLessThan(1.5)
    expect(of("longest-prefix").imbalance).toBeGreaterThan(4)
    expect(of("longest-prefix").ttftMsMean).toBeGreaterThan(100 * of("eta").ttftMsMean)
  })

  it("serves every request and ends with nothing outstanding, under every policy", () => {
    for (const name of Policies.names) {
      const { snapshot, ttftMs } = of(name)
      expect(ttftMs.length).toBe(3000)
      for (const worker of snapshot.workers) {
        expect([worker.queued, worker.queuedMs, worker.active, worker.activeTokens]).toEqual([0, 0, 0, 0])
      }
    }
  })

  it("has learned the workers' real pace, decode included", () => {
    for (const worker of of("eta").snapshot.workers) {
      const trueMs = fleet.requestMs / 2048 + fleet.tokenMs + (fleet.pairMs * 2048) / 2
      expect(Math.abs(Math.log(worker.prefillMsPerToken / trueMs))).toBeLessThan(0.25)
      expect(Math.abs(Math.log(worker.decodeMsPerToken / fleet.decodeMs))).toBeLessThan(0.25)
    }
  })
})

describe("Placement on workers that are not alike", () => {
  const half = (share: number): ReadonlyArray<number> => Array.from({ length: 8 }, (_, slot) => (slot < 4 ? 1 : share))
  const sum = (values: ReadonlyArray<number>): number => values.reduce((a, b) => a + b, 0)

  it("sends a worker half as fast less than half as much, and is hardly slower for it", () => {
    const requests = sharedPrefixes(2000, 16)
    const slow = QueueSim.run("eta", { ...fleet, slow: half(2) }, requests)
    expect(sum(slow.requests.slice(4))).toBeLessThan(sum(slow.requests.slice(0, 4)) / 2)
    expect(slow.ttftMsMean).toBeLessThan(1.6 * QueueSim.run("eta", fleet, requests).ttftMsMean)
    const leastLoaded = QueueSim.run("least-loaded", { ...fleet, slow: half(2) }, requests)
    expect(slow.ttftMsMean).toBeLessThan(leastLoaded.ttftMsMean / 3)
  })

  it("uses the slow ones where the others are not enough", () => {
    const requests = sharedPrefixes(2000, 40)
    const slow = QueueSim.run("eta", { ...fleet, slow: half(2) }, requests)
    expect(Math.min(...slow.busyMs)).toBeGreaterThan(0.1 * Math.max(...slow.busyMs))
    expect(slow.ttftMsMean).toBeLessThan(1500)
  })

  it("finds as much in the caches where half of them are half as large", () => {
    const requests = sharedPrefixes(2000, 16)
    const whole = QueueSim.run("eta", fleet, requests)
    const small = QueueSim.run("eta", { ...fleet, cacheShare: half(0.5) }, requests)
    expect(small.hitRate).toBeGreaterThan(0.97 * whole.hitRate)
    expect(small.imbalance).toBeLessThan(1.5)
  })
})

describe("Placement on an idle fleet", () => {
  /** One request at a time: the next comes when all is long done. */
  const sequential = (prompts: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<QueueSim.SimRequest> =>
    prompts.map((blocks, i) => ({ atMs: i * 60_000, blocks, outputTokens: 10 }))

  it("spreads unrelated short prompts", () => {
    const fresh = numbering()
    const { requests } = QueueSim.run("eta", fleet, sequential(Array.from({ length: 400 }, () => fresh(3))))
    expect(Math.max(...requests)).toBeLessThanOrEqual(100)
    expect(Math.min(...requests)).toBeGreaterThanOrEqual(25)
  })

  it("spreads them at any pace, and with a small system prompt in common", () => {
    const fresh = numbering()
    const system = fresh(1)
    const prompts = Array.from({ length: 400 }, () => [...system, ...fresh(15)])
    for (const gapMs of [1500, 3_600_000]) {
      const requests = sequential(prompts).map((request, i) => ({ ...request, atMs: i * gapMs }))
      const placed = QueueSim.run("eta", fleet, requests)
      expect(Math.max(...placed.requests)).toBeLessThanOrEqual(100)
      expect(Math.min(...placed.requests)).toBeGreaterThanOrEqual(25)
    }
  })

  it("keeps the turns of one conversation where its prefix is", () => {
    const fresh = numbering()
    let blocks: ReadonlyArray<number> = fresh(10)
    const turns: Array<ReadonlyArray<number>> = []
    for (let turn = 0; turn < 60; turn++) {
      turns.push(blocks)
      blocks = [...blocks, ...fresh(6)]
    }
    const { requests, hitRate } = QueueSim.run("eta", fleet, sequential(turns))
    expect(requests.filter((count) => count > 0)).toEqual([60])
    expect(hitRate).toBeGreaterThan(0.9)
  })

  it("keeps each of several interleaved conversations on one worker, and spreads the conversations", () => {
    const fresh = numbering()
    const conversations = Array.from({ length: 16 }, () => fresh(10))
    const turns = Array.from({ length: 320 }, (_, i) => {
      const blocks = conversations[i % 16]!
      conversations[i % 16] = [...blocks, ...fresh(4)]
      return blocks
    })
    const { requests, slots } = QueueSim.run("eta", fleet, sequential(turns))
    for (let c = 0; c < 16; c++) {
      expect(new Set(slots.filter((_, i) => i % 16 === c)).size).toBe(1)
    }
    expect(Math.max(...requests)).toBeLessThanOrEqual(80)
  })
})

describe("Placement on workers that serve by priority", () => {
  /** Background: batches of forty questions, each on a document of its own. Beside them four short urgent prompts a second. */
  const batches = (): ReadonlyArray<QueueSim.SimRequest> => {
    const random = lcg(5)
    const fresh = numbering()
    const requests: Array<QueueSim.SimRequest> = []
    for (let batch = 0; batch < 280; batch++) {
      const document = fresh(100 + Math.floor(200 * random()))
      const atMs = random() * 200_000
      for (let i = 0; i < 40; i++) {
        requests.push({ atMs: atMs + i * 5, blocks: [...document, ...fresh(10)], outputTokens: 100, priority: 5 })
      }
    }
    for (let i = 0; i < 800; i++) {
      requests.push({ atMs: random() * 200_000, blocks: fresh(8), outputTokens: 50, priority: -1 })
    }
    return requests.sort((a, b) => a.atMs - b.atMs)
  }
  /** The same background, and urgent conversations that grow, each turn behind all before it. */
  const conversations = (): ReadonlyArray<QueueSim.SimRequest> => {
    const random = lcg(6)
    const numbered = numbering()
    const fresh = (count: number) => numbered(count).map((id) => id + 1_000_000)
    const turns: Array<QueueSim.SimRequest> = []
    for (let conversation = 0; conversation < 40; conversation++) {
      let blocks = fresh(100)
      for (let atMs = random() * 10_000; atMs < 200_000; atMs += 5_000 + random() * 10_000) {
        blocks = [...blocks, ...fresh(6)]
        turns.push({ atMs, blocks, outputTokens: 50, priority: -1 })
      }
    }
    return [...batches().filter(({ priority }) => priority === 5), ...turns].sort((a, b) => a.atMs - b.atMs)
  }
  const ttftMs = (byPriority: "told" | "untold", priority: number, requests = batches()) => {
    const all = QueueSim.run("eta", { ...fleet, byPriority }, requests).ttftMs
    const found = all.filter((_, i) => requests[i]!.priority === priority).sort((a, b) => a - b)
    return { mean: found.reduce((a, b) => a + b, 0) / found.length, p90: found[Math.floor(found.length * 0.9)]! }
  }

  it("sends urgent requests where they start soonest, past what background work is queued there", () => {
    const told = ttftMs("told", -1)
    const untold = ttftMs("untold", -1)
    expect(told.mean).toBeLessThan(0.7 * untold.mean)
    expect(told.p90).toBeLessThan(0.8 * untold.p90)
  })

  it("does not leave urgent conversations behind what background work is running where their caches are", () => {
    const told = ttftMs("told", -1, conversations())
    const untold = ttftMs("untold", -1, conversations())
    expect(told.mean).toBeLessThan(1.1 * untold.mean)
    expect(told.p90).toBeLessThan(1.1 * untold.p90)
  })

  it("does not make background work wait longer for it", () => {
    expect(ttftMs("told", 5).mean).toBeLessThan(1.05 * ttftMs("untold", 5).mean)
  })
})

describe("Placement of a sibling burst", () => {
  it("sends requests that share a long prefix after each other to the worker that computes it", () => {
    const fresh = numbering()
    const document = fresh(300)
    const burst = Array.from({ length: 6 }, (_, i) => ({
      atMs: i,
      blocks: [...document, ...fresh(2)],
      outputTokens: 20
    }))
    const { hitRate, slots } = QueueSim.run("eta", fleet, burst)
    expect(new Set(slots).size).toBe(1)
    expect(hitRate).toBeGreaterThan(0.8)
  })
})
