import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Bookings from "../../src/hot/Bookings.ts"
import * as Cost from "../../src/hot/Cost.ts"
import * as LoadTable from "../../src/hot/LoadTable.ts"
import * as RateModel from "../../src/hot/RateModel.ts"
import { weights } from "../../src/hot/Weights.ts"

const fleet = (workers: number, capacityTokens = 0): LoadTable.LoadTable => {
  const load = LoadTable.make(8)
  for (let slot = 0; slot < workers; slot++) LoadTable.join(load, slot, capacityTokens)
  return load
}

const cold = new Uint32Array(8)

describe("Cost.cheapest", () => {
  it("sends a request to the worker that already holds its prefix", () => {
    expect(Cost.cheapest(fleet(3), Uint32Array.of(0, 960, 16), 1000, 0, 0)).toBe(1)
  })

  it("prefers one more cached block on an idle fleet, wherever the rotation stands", () => {
    for (let start = 0; start < 3; start++) {
      expect(Cost.cheapest(fleet(3), Uint32Array.of(960, 960, 976), 1000, 0, start)).toBe(2)
    }
  })

  it("leaves a warm worker for a cold one once its queue outweighs the overlap", () => {
    const load = fleet(2)
    const overlap = Uint32Array.of(4000, 0)
    expect(Cost.cheapest(load, overlap, 5000, 0, 0)).toBe(0)
    for (let i = 0; i < 4; i++) Bookings.book(load, 0, 8000, 0, true, 0)
    expect(Cost.cheapest(load, overlap, 5000, 0, 0)).toBe(1)
  })

  it("holds on to the overlap longer the more the whole fleet queues", () => {
    const load = fleet(2)
    for (let i = 0; i < 3; i++) Bookings.book(load, 0, 8000, 0, true, 0)
    const overlap = Uint32Array.of(4000, 0)
    expect(Cost.cheapest(load, overlap, 5000, 0, 0)).toBe(1)
    load.busyMean = 0.9
    expect(Cost.cheapest(load, overlap, 5000, 0, 0)).toBe(0)
  })

  it("rotates ties", () => {
    const load = fleet(3)
    expect([0, 1, 2, 3].map((start) => Cost.cheapest(load, cold, 100, 0, start))).toEqual([0, 1, 2, 0])
  })

  it("answers NONE when no worker is eligible, and keeps to the mask of the request", () => {
    const load = fleet(2)
    expect(Cost.cheapest(load, cold, 100, 0, 0, Uint8Array.of(0, 1))).toBe(1)
    load.eligible.fill(0)
    expect(Cost.cheapest(load, cold, 100, 0, 0)).toBe(LoadTable.NONE)
    expect(Cost.cheapest(LoadTable.make(4), new Uint32Array(4), 100, 0, 0)).toBe(LoadTable.NONE)
  })

  it("does not let an urgent request wait for background work on engines that serve by priority", () => {
    for (const byPriority of [false, true]) {
      const load = fleet(2)
      if (byPriority) LoadTable.setPriority(load, 0, 0)
      Bookings.book(load, 0, 1000, 0, true, 0, 5)
      for (let i = 0; i < 6; i++) Bookings.book(load, 0, 8000, 0, true, 0, 5)
      const overlap = Uint32Array.of(4000, 0)
      const chosen = [-1, null, 5, 9].map((priority) => {
        Bookings.passing(load, priority)
        expect(Cost.explain(load, overlap, 5000, 0, 0).slot).toBe(Cost.cheapest(load, overlap, 5000, 0, 0))
        return Cost.cheapest(load, overlap, 5000, 0, 0)
      })
      // Held on worker 0, behind background work: worth it for those that pass it.
      expect(chosen).toEqual(byPriority ? [0, 0, 1, 1] : [1, 1, 1, 1])
    }
  })

  it("lets an urgent request wait for what the engine is working on, and for what is as urgent", () => {
    const load = fleet(1)
    LoadTable.setPriority(load, 0, 0)
    const waitMs = (priority: number | null): number => {
      Bookings.passing(load, priority)
      return Cost.explain(load, cold, 1000, 0, 0).candidates[0]!.waitMs
    }
    Bookings.book(load, 0, 8000, 0, true, 0, 5)
    const runningMs = load.queuedUs[0]! / 1000
    Bookings.book(load, 0, 2000, 0, true, 0, 5)
    expect(waitMs(-1)).toBeCloseTo(runningMs, 6)
    const before = load.queuedUs[0]! / 1000
    Bookings.book(load, 0, 3000, 0, true, 0, -1)
    const urgentMs = load.queuedUs[0]! / 1000 - before
    expect(waitMs(-1)).toBeCloseTo(runningMs + urgentMs, 6)
    expect(waitMs(-2)).toBeCloseTo(runningMs, 6)
    expect(waitMs(5)).toBeCloseTo(load.queuedUs[0]! / 1000, 6)
  })

  it("does not let an urgent request wait for room that background work is queued for", () => {
    const load = fleet(1, 20_000)
    LoadTable.setPriority(load, 0, 0)
    Bookings.firstByte(load, Bookings.book(load, 0, 8000, 0, true, 0, 5), 1)
    for (let i = 0; i < 4; i++) Bookings.book(load, 0, 9000, 9000, true, 1, 5)
    const waitMs = (priority: number): number => {
      Bookings.passing(load, priority)
      return Cost.explain(load, cold, 1000, 1, 0).candidates[0]!.waitMs
    }
    expect(waitMs(5)).toBeGreaterThan(1000)
    expect(waitMs(-1)).toBeLessThan(100)
  })

  it("believes an overlap no more than its worker is trusted", () => {
    const load = fleet(2)
    const overlap = Uint32Array.of(900, 600)
    expect(Cost.cheapest(load, overlap, 1000, 0, 0)).toBe(0)
    load.credit[0] = 0.5
    expect(Cost.cheapest(load, overlap, 1000, 0, 0)).toBe(1)
  })

  it("stays away from a worker whose first token is late", () => {
    const load = fleet(2)
    Bookings.book(load, 0, 100, 0, true, 0)
    expect(Cost.aheadMs(load, 0, 60_000)).toBeGreaterThan(20_000)
    expect(Cost.cheapest(load, Uint32Array.of(900, 0), 1000, 60_000, 0)).toBe(1)
  })

  it("counts a queue again as it falls late, instead of taking it for done", () => {
    const load = fleet(1)
    for (let i = 0; i < 10; i++) Bookings.book(load, 0, 8000, 0, true, 0)
    const queuedMs = load.queuedUs[0]! / 1000
    expect(Cost.aheadMs(load, 0, 0)).toBeCloseTo(queuedMs, 6)
    expect(Cost.aheadMs(load, 0, queuedMs)).toBeCloseTo(0, 6)
    expect(Cost.aheadMs(load, 0, 2 * queuedMs)).toBeCloseTo(1.5 * queuedMs, 6)
    expect(Cost.aheadMs(load, 0, 5 * queuedMs)).toBeCloseTo(3 * queuedMs, 6)
  })

  it("prices added work at the odds of finding a worker busy, a little when all are idle, 50 at most", () => {
    const load = fleet(2)
    const priceAt = (share: number) => {
      load.busyMean = share
      return Cost.priceOf(load)
    }
    expect(priceAt(0)).toBe(weights.basePrice)
    expect(priceAt(0.5)).toBeCloseTo(weights.basePrice + weights.busyPrice, 9)
    expect(priceAt(0.75)).toBeCloseTo(weights.basePrice + 3 * weights.busyPrice, 9)
    expect([priceAt(0.99), priceAt(1)]).toEqual([50, 50])
  })

  it("charges a long prefill for all who arrive while it runs, a short one hardly at all", () => {
    const load = fleet(2)
    // A request per worker and second, for minutes.
    for (let nowMs = 0; nowMs < 300_000; nowMs += 500) {
      Bookings.settle(load, Bookings.book(load, 0, 100_000, 100_000, true, nowMs), 1, 0, true, nowMs)
    }
    const others = (promptTokens: number) => {
      const { candidates } = Cost.explain(load, cold, promptTokens, 300_000, 0)
      return candidates[1]!.othersMs / candidates[1]!.ownMs
    }
    expect(others(50_000)).toBeGreaterThan(10 * others(1_000))
    expect(others(1_000)).toBeLessThan(1)
    // Who finds the worker taken for minutes does not wait: it goes elsewhere, cold.
    expect(others(400_000)).toBeLessThan(2 * others(100_000))
  })

  it("agrees with the explanation, whose terms add up to the cost", () => {
    const worker = fc.record({
      eligible: fc.boolean(),
      capacity: fc.constantFrom(0, 20_000, 400_000),
      credit: fc.double({ min: 0, max: 1, noNaN: true }),
      cached: fc.integer({ min: 0, max: 50_000 }),
      bookings: fc.array(fc.tuple(fc.integer({ min: 1, max: 60_000 }), fc.boolean()), { maxLength: 5 }),
      usage: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: Number.NaN }),
      waiting: fc.option(fc.nat(20), { nil: Number.NaN })
    })
    fc.assert(
      fc.property(
        fc.array(worker, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 50_000 }),
        fc.nat(20),
        fc.integer({ min: 0, max: 20_000 }),
        (workers, promptTokens, start, laterMs) => {
          const load = fleet(workers.length)
          const cached = new Uint32Array(8)
          workers.forEach((w, slot) => {
            load.capacityTokens[slot] = w.capacity
            load.credit[slot] = w.credit
            cached[slot] = Math.min(w.cached, promptTokens)
            for (const [tokens, started] of w.bookings) {
              const booking = Bookings.book(load, slot, tokens, 0, true, 10)
              if (started) Bookings.firstByte(load, booking, 20 + slot)
            }
            LoadTable.hint(load, slot, w.waiting, w.usage, 30)
            load.eligible[slot] = w.eligible ? 1 : 0
          })
          const nowMs = 30 + laterMs
          const slot = Cost.cheapest(load, cached, promptTokens, nowMs, start)
          const placement = Cost.explain(load, cached, promptTokens, nowMs, start)
          expect(placement.slot).toBe(slot)
          expect(placement.candidates.map((c) => c.slot)).toEqual(workers.flatMap((w, at) => (w.eligible ? [at] : [])))
          for (const c of placement.candidates) {
            expect(c.costMs).toBe(c.waitMs + c.ownMs + c.othersMs + c.decodeMs + c.recentMs)
            const mostMs = Math.min(c.ownMs, load.coldMeanMs)
            const perMs = placement.price + weights.arrivalsPrice * placement.arrivalsPerMs * mostMs
            expect(c.othersMs).toBeCloseTo(perMs * c.ownMs, 6)
            expect([c.waitMs, c.ownMs, c.othersMs, c.decodeMs, c.recentMs].every((ms) => ms >= 0 && ms < 1e9)).toBe(
              true
            )
          }
          const least = Math.min(...placement.candidates.map((c) => c.costMs))
          if (slot === LoadTable.NONE) expect(placement.candidates).toEqual([])
          else expect(placement.candidates.find((c) => c.slot === slot)?.costMs).toBe(least)
        }
      ),
      { numRuns: 500, seed: 5 }
    )
  })
})

describe("Cost terms", () => {
  const one = (load: LoadTable.LoadTable, slot: number, promptTokens: number, nowMs: number) =>
    Cost.explain(load, cold, promptTokens, nowMs, 0).candidates[slot]!

  it("waits for room only where the prompt does not fit, and not where capacity is unknown", () => {
    const load = fleet(3, 10_000)
    load.capacityTokens[2] = 0
    for (let slot = 0; slot < 3; slot++) {
      Bookings.firstByte(load, Bookings.book(load, slot, 8000, 0, true, 0), 1)
    }
    load.capacityTokens[1] = 100_000
    expect(one(load, 0, 4000, 2).waitMs).toBeGreaterThan(100)
    expect(one(load, 1, 4000, 2).waitMs).toBe(0)
    expect(one(load, 2, 4000, 2).waitMs).toBe(0)
    // 2 · (2 000 missing tokens and two answers) · mean decode time / 8 000 active tokens.
    const decodeMs =
      load.outputMean * (RateModel.decodeFloorMs(load.rates, 0) + RateModel.decodeContextMs(load.rates, 0) * 8000)
    const missing = 2000 + 2 * load.outputMean
    expect(one(load, 0, 4000, 2).waitMs).toBeCloseTo((2 * missing * decodeMs) / 8000, 6)
  })

  it("takes the engine's word for how full it is while that is fresh: a shared prefix is pinned once", () => {
    const load = fleet(1, 10_000)
    for (let i = 0; i < 3; i++) Bookings.firstByte(load, Bookings.book(load, 0, 6000, 5000, true, 0), 1)
    expect(one(load, 0, 1000, 2).waitMs).toBeGreaterThan(0)
    LoadTable.hint(load, 0, 0, 0.7, 2)
    expect(one(load, 0, 1000, 3).waitMs).toBe(0)
    expect(one(load, 0, 1000, 10_000).waitMs).toBeGreaterThan(0)
  })

  it("waits for room that others' requests take, and for the answers its own will still give", () => {
    const load = fleet(2, 10_000)
    for (let slot = 0; slot < 2; slot++) {
      Bookings.firstByte(load, Bookings.book(load, slot, 4000, 0, true, 0), 1)
      Bookings.book(load, slot, 2000, 0, true, 1)
    }
    const room = 10_000 - 6000 - 3 * load.outputMean
    const spaceMs = (slot: number, promptTokens: number) =>
      one(load, slot, promptTokens, 2).waitMs - Cost.aheadMs(load, slot, 2)
    expect(spaceMs(0, room)).toBe(0)
    expect(spaceMs(0, room + 1000)).toBeGreaterThan(0)
    // What is pinned now may be anything between what runs and what was sent.
    LoadTable.hint(load, 0, 0, 0.5, 2)
    expect(spaceMs(0, room)).toBe(0)
    LoadTable.hint(load, 0, 0, 0.95, 2)
    expect(spaceMs(0, room)).toBeGreaterThan(0)
  })

  it("adds what others queued at a worker, as long as the engine's report is fresh", () => {
    const load = fleet(2)
    LoadTable.hint(load, 0, 12, Number.NaN, 1000)
    expect(one(load, 0, 1000, 1000).waitMs).toBeCloseTo(12 * load.ownMeanMs, 6)
    expect(one(load, 0, 1000, 3500).waitMs).toBeCloseTo(6 * load.ownMeanMs, 6)
    expect(one(load, 0, 1000, 6000).waitMs).toBe(0)
  })

  it("charges context that is already being decoded", () => {
    const load = fleet(2)
    Bookings.firstByte(load, Bookings.book(load, 0, 50_000, 0, true, 0), 1)
    expect(one(load, 0, 1000, 2).decodeMs).toBeGreaterThan(one(load, 1, 1000, 2).decodeMs)
  })

  it("charges answers still to come, however short their prompts were", () => {
    const load = fleet(2)
    for (let i = 0; i < 10; i++) Bookings.firstByte(load, Bookings.book(load, 0, 20, 0, true, 0), 1)
    for (let i = 0; i < 5; i++) Bookings.book(load, 1, 20, 0, true, 0)
    expect(one(load, 0, 1000, 2).decodeMs).toBeCloseTo(2 * one(load, 1, 1000, 2).decodeMs, 9)
    expect(one(load, 1, 1000, 2).decodeMs).toBeGreaterThan(0)
  })

  it("never lets recent work outweigh an overlap of three tenths of the prompt", () => {
    const load = fleet(4)
    for (let i = 0; i < 500; i++) {
      Bookings.settle(load, Bookings.book(load, 0, 8000, 0, true, i), Number.NaN, Number.NaN, false, i)
    }
    for (const promptTokens of [80, 1000, 50_000]) {
      expect(Cost.cheapest(load, Uint32Array.of(promptTokens * 0.3, 0, 0, 0), promptTokens, 500, 1)).toBe(0)
      expect(Cost.cheapest(load, cold, promptTokens, 500, 0)).not.toBe(0)
    }
  })
})
