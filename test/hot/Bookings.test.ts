import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Bookings from "../../src/hot/Bookings.ts"
import * as LoadTable from "../../src/hot/LoadTable.ts"
import * as RateModel from "../../src/hot/RateModel.ts"

const fleet = (workers: number): LoadTable.LoadTable => {
  const load = LoadTable.make(8)
  for (let slot = 0; slot < workers; slot++) LoadTable.join(load, slot, 100_000)
  return load
}

const counters = (load: LoadTable.LoadTable): ReadonlyArray<ReadonlyArray<number>> =>
  [load.queued, load.queuedUs, load.queuedTokens, load.active, load.activeTokens, load.silent].map((c) => [...c])

const zeros = Array.from({ length: 6 }, () => new Array(8).fill(0))

describe("Bookings", () => {
  it("counts a request as queued until its first token and as active until it ends", () => {
    const load = fleet(2)
    const booking = Bookings.book(load, 1, 1000, 200, true, 0)
    expect([load.queued[1], load.queuedTokens[1], load.active[1]]).toEqual([1, 1000, 0])
    Bookings.firstByte(load, booking, 50)
    expect([load.queued[1], load.queuedUs[1], load.active[1], load.activeTokens[1]]).toEqual([0, 0, 1, 1000])
    Bookings.settle(load, booking, 20, 200, true, 400)
    expect(counters(load)).toEqual(zeros)
  })

  it("settles a booking once, even when its place in the pool has a new tenant", () => {
    const load = fleet(1)
    const first = Bookings.book(load, 0, 100, 0, true, 0)
    expect(Bookings.settle(load, first, 1, 0, true, 1)).toBe(true)
    const second = Bookings.book(load, 0, 100, 0, true, 2)
    expect(second).not.toBe(first)
    expect(Bookings.settle(load, first, 1, 0, true, 3)).toBe(false)
    Bookings.firstByte(load, first, 3)
    expect([load.queued[0], load.active[0]]).toEqual([1, 0])
    expect(Bookings.settle(load, second, 1, 0, true, 4)).toBe(true)
    expect(counters(load)).toEqual(zeros)
  })

  it("stretches the busy time by each prediction and resets it on a first token to what is still queued", () => {
    const load = fleet(1)
    const a = Bookings.book(load, 0, 1000, 0, true, 0)
    const own = load.busyUntilMs[0]!
    Bookings.book(load, 0, 1000, 0, true, 0)
    expect(load.busyUntilMs[0]).toBeCloseTo(2 * own, 6)
    Bookings.firstByte(load, a, 500)
    expect(load.busyUntilMs[0]).toBeCloseTo(500 + load.queuedUs[0]! / 1000, 6)
  })

  it("starts the busy time from now on an idle worker", () => {
    const load = fleet(1)
    Bookings.settle(load, Bookings.book(load, 0, 1000, 0, true, 0), 1, 0, true, 10)
    Bookings.book(load, 0, 1000, 0, true, 90_000)
    expect(load.busyUntilMs[0]).toBeCloseTo(90_000 + load.queuedUs[0]! / 1000, 6)
  })

  it("lets go of an unstreamed prefill when it was due, or when a later request shows a token", () => {
    const load = fleet(2)
    const silent = Bookings.book(load, 0, 1000, 0, false, 0)
    Bookings.releaseDue(load, load.busyUntilMs[0]! - 1)
    expect(load.queued[0]).toBe(1)
    Bookings.releaseDue(load, load.busyUntilMs[0]!)
    expect([load.queued[0], load.active[0]]).toEqual([0, 1])
    const other = Bookings.book(load, 1, 50_000, 0, false, 0)
    const later = Bookings.book(load, 1, 100, 0, true, 0)
    Bookings.firstByte(load, later, 5)
    expect([load.queued[1], load.active[1]]).toEqual([0, 2])
    for (const booking of [silent, other, later]) Bookings.settle(load, booking, 5, 0, true, 9)
    expect(counters(load)).toEqual(zeros)
  })

  it("passes what is behind by priority, and nothing on a worker that serves by arrival", () => {
    const load = fleet(3)
    LoadTable.setPriority(load, 0, 0)
    LoadTable.setPriority(load, 1, Number.POSITIVE_INFINITY)
    for (let slot = 0; slot < 3; slot++) {
      // The first has begun; then one of each kind.
      for (const priority of [7, 7, null, -7]) Bookings.book(load, slot, 1000, 0, true, 0, priority)
    }
    const passed = (priority: number | null) => {
      Bookings.passing(load, priority)
      const each = load.queuedUs[0]! / 4
      return [0, 1, 2].map((slot) => (load.passedMs[slot]! * 1000) / each)
    }
    expect([passed(-9), passed(-1), passed(null), passed(7), passed(9)]).toEqual([
      [3, 3, 0],
      [2, 2, 0],
      [1, 0, 0],
      [0, 1, 0],
      [0, 1, 0]
    ])
    passed(-9)
    LoadTable.setPriority(load, 0, null)
    LoadTable.join(load, 1, 0)
    expect(passed(-9)).toEqual([0, 0, 0])
  })

  it("does not take an unstreamed background prefill for done because an urgent one shows a token", () => {
    const load = fleet(1)
    LoadTable.setPriority(load, 0, 0)
    Bookings.book(load, 0, 50_000, 0, false, 0, 5)
    Bookings.book(load, 0, 50_000, 0, false, 0, -5)
    Bookings.firstByte(load, Bookings.book(load, 0, 100, 0, true, 0, -5), 5)
    expect([load.queued[0], load.active[0]]).toEqual([1, 2])
  })

  it("forgets a worker that left, and lets its open bookings settle into nothing", () => {
    const load = fleet(2)
    const queued = Bookings.book(load, 0, 1000, 0, true, 0)
    const active = Bookings.book(load, 0, 1000, 0, true, 0)
    Bookings.firstByte(load, active, 1)
    LoadTable.reset(load, 0)
    expect([load.workers, load.busy, load.eligible[0]]).toEqual([1, 0, 0])
    LoadTable.join(load, 0, 0)
    const fresh = Bookings.book(load, 0, 10, 0, true, 2)
    Bookings.firstByte(load, queued, 3)
    Bookings.settle(load, queued, 1, 0, true, 3)
    Bookings.settle(load, active, 1, 0, true, 3)
    expect([load.queued[0], load.queuedTokens[0], load.active[0]]).toEqual([1, 10, 0])
    Bookings.settle(load, fresh, 1, 0, true, 4)
    expect(Bookings.open(load)).toBe(0)
    expect(counters(load)).toEqual(zeros)
  })

  it("does not take its own requests for others', when the engine's report is a little old", () => {
    const load = fleet(1)
    const bookings = Array.from({ length: 6 }, () => Bookings.book(load, 0, 100, 0, true, 0))
    for (const booking of bookings) Bookings.firstByte(load, booking, 10)
    LoadTable.hint(load, 0, 6, Number.NaN, 11)
    expect(load.hintForeign[0]).toBe(0)
    LoadTable.hint(load, 0, 6, Number.NaN, 1011)
    expect(load.hintForeign[0]).toBe(6)
    LoadTable.hint(load, 0, Number.NaN, Number.NaN, 2011)
    expect(load.hintForeign[0]).toBe(0)
  })

  it("averages the share of workers with a request queued over ten seconds", () => {
    const load = fleet(2)
    LoadTable.advance(load, 0)
    const bookings = Array.from({ length: 8 }, () => Bookings.book(load, 0, 100, 0, true, 0))
    LoadTable.advance(load, 10_000)
    expect(load.busyMean).toBeCloseTo(0.5 * (1 - Math.exp(-1)), 6)
    for (const booking of bookings) Bookings.settle(load, booking, 1, 0, false, 10_000)
    LoadTable.advance(load, 200_000)
    expect(load.busyMean).toBeLessThan(1e-6)
  })

  it("knows how often a worker is sent a request, lately", () => {
    const load = fleet(2)
    for (let nowMs = 0; nowMs < 600_000; nowMs += 1_000) {
      Bookings.settle(load, Bookings.book(load, 0, 100, 0, true, nowMs), 1, 0, true, nowMs)
    }
    // One a second, of two workers.
    expect(LoadTable.arrivalsPerMs(load)).toBeCloseTo(0.5 / 1000, 5)
    LoadTable.advance(load, 1_200_000)
    expect(LoadTable.arrivalsPerMs(load)).toBeLessThan(1e-6)
  })

  it("fades recent work with the traffic, at any pace and for ever", () => {
    for (const gapMs of [1, 3_600_000]) {
      const load = fleet(2)
      let nowMs = 0
      const give = (slot: number, times: number): void => {
        for (let i = 0; i < times; i++) {
          nowMs += gapMs
          const booking = Bookings.book(load, slot, 1000, 0, true, nowMs)
          Bookings.settle(load, booking, Number.NaN, Number.NaN, false, nowMs)
        }
      }
      give(0, 100)
      give(1, 64)
      expect(load.recent[0]! / load.recentTotal).toBeGreaterThan(0.25)
      expect(load.recent[0]! / load.recentTotal).toBeLessThan(0.4)
      give(1, 3000)
      expect(load.recent[0]! / load.recentTotal).toBeLessThan(1e-9)
      expect(load.recentTotal).toBeCloseTo(load.recent[0]! + load.recent[1]!, -6)
    }
  })

  it("learns a worker's pace through its bookings alone, queueing included", () => {
    // An engine ten times faster than the priors: 2 ms + 5 µs per token, first come first served.
    const load = fleet(1)
    let nowMs = 0
    const random = lcg(7)
    for (let burst = 0; burst < 12; burst++) {
      nowMs += 1000
      const requests = Array.from({ length: 1 + Math.floor(random() * 4) }, () => 200 + Math.floor(random() * 8000))
      const bookings = requests.map((tokens) => Bookings.book(load, 0, tokens, 0, true, nowMs))
      let doneMs = nowMs
      bookings.forEach((booking, i) => {
        doneMs += 2 + requests[i]! * 0.005
        Bookings.firstByte(load, booking, doneMs)
      })
      for (const booking of bookings) Bookings.settle(load, booking, 40, 0, true, doneMs + 39 * 1.5)
    }
    for (const tokens of [500, 4000, 8000]) {
      const error = RateModel.prefillMs(load.rates, 0, tokens, tokens) / (2 + tokens * 0.005)
      expect(error).toBeGreaterThan(0.75)
      expect(error).toBeLessThan(1.33)
    }
    expect(RateModel.decodeFloorMs(load.rates, 0)).toBeLessThan(2.5)
  })

  it("counts what others' first tokens show as done, and learns by its own alone", () => {
    // 2 ms + 5 µs per token again; of each burst every other request is another replica's, heard of 10 ms late.
    const learned = (teaches: boolean): LoadTable.LoadTable => {
      const load = fleet(1)
      const random = lcg(7)
      for (let burst = 1; burst <= 20; burst++) {
        const requests = Array.from({ length: 8 }, () => 20_000 + Math.floor(random() * 80_000))
        const bookings = requests.map((tokens) => Bookings.book(load, 0, tokens, 0, true, burst * 10_000))
        let doneMs = burst * 10_000
        bookings.forEach((booking, i) => {
          doneMs += 2 + requests[i]! * 0.005
          const others = i % 2 === 0
          Bookings.firstByte(load, booking, doneMs + (others ? 10 : 0), teaches && !others)
          Bookings.settle(load, booking, 40, 0, false, doneMs + 10)
        })
      }
      return load
    }
    const load = learned(true)
    expect(load.rates.prefills[0]).toBe(20)
    const error = RateModel.prefillMs(load.rates, 0, 60_000, 60_000) / 302
    expect(error).toBeGreaterThan(0.8)
    expect(error).toBeLessThan(1.25)
    expect(learned(false).rates.prefills[0]).toBe(0)
  })

  it("leaves the wait as it is for a request charged in the middle of its answer", () => {
    const load = fleet(1)
    Bookings.book(load, 0, 1000, 0, true, 0)
    const [until, queuedUs] = [load.busyUntilMs[0], load.queuedUs[0]]
    const booking = Bookings.book(load, 0, 5000, 0, true, 10)
    Bookings.skipPrefill(load, booking, 10)
    expect(load.busyUntilMs[0]).toBeCloseTo(until!, 6)
    expect([load.queuedUs[0], load.queued[0], load.active[0], load.activeTokens[0]]).toEqual([queuedUs, 1, 1, 5000])
  })

  it("learns from answers that are not streamed when nothing was queued before them", () => {
    const load = fleet(1)
    let nowMs = 0
    for (let i = 0; i < 40; i++) {
      const tokens = 500 + (i % 5) * 1500
      const output = 1 + (i % 4) * 20
      const booking = Bookings.book(load, 0, tokens, 0, false, nowMs)
      nowMs += 2 + tokens * 0.005 + (output - 1) * 1.5
      Bookings.settle(load, booking, output, 0, true, nowMs)
      nowMs += 100
    }
    const error = RateModel.prefillMs(load.rates, 0, 4000, 4000) / 22
    expect(error).toBeGreaterThan(0.6)
    expect(error).toBeLessThan(1.6)
  })

  it("returns every counter to exactly zero after any interleaving", () => {
    const action = fc.record({
      verb: fc.constantFrom("book", "book", "book", "middle", "first", "heard", "settle", "abort", "leave", "release"),
      pick: fc.nat(1000),
      tokens: fc.integer({ min: 0, max: 200_000 }),
      cached: fc.integer({ min: 0, max: 200_000 }),
      streams: fc.boolean(),
      priority: fc.constantFrom(null, -2, -1, 0, 1, 2),
      waitMs: fc.double({ min: 0, max: 500, noNaN: true })
    })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 400 }), (actions) => {
        const load = fleet(3)
        LoadTable.setPriority(load, 1, 0)
        LoadTable.setPriority(load, 2, Number.POSITIVE_INFINITY)
        const open: Array<number> = []
        const closed: Array<number> = []
        let nowMs = 1000
        for (const { verb, pick, priority, tokens, cached, streams, waitMs } of actions) {
          nowMs += waitMs
          const booking = open[pick % Math.max(1, open.length)]
          if (verb === "book") open.push(Bookings.book(load, pick % 3, tokens, cached, streams, nowMs, priority))
          else if (verb === "middle") {
            open.push(Bookings.book(load, pick % 3, tokens, cached, streams, nowMs, priority))
            Bookings.skipPrefill(load, open.at(-1)!, nowMs)
          } else if (verb === "release") Bookings.releaseDue(load, nowMs)
          else if (verb === "leave" && pick % 5 === 0) {
            LoadTable.join(load, pick % 3, 1000)
            LoadTable.setPriority(load, pick % 3, pick % 3 === 0 ? null : pick % 3 === 1 ? 0 : Number.POSITIVE_INFINITY)
          } else if (booking !== undefined && (verb === "first" || verb === "heard")) {
            Bookings.firstByte(load, booking, nowMs, verb === "first")
          } else if (booking !== undefined && (verb === "settle" || verb === "abort")) {
            expect(Bookings.settle(load, booking, pick, cached, verb === "settle", nowMs)).toBe(true)
            closed.push(...open.splice(open.indexOf(booking), 1))
          }
          if (closed.length > 0) Bookings.settle(load, closed[pick % closed.length]!, 1, 0, true, nowMs)
          expect(Bookings.open(load)).toBe(open.length)
          expect(load.busy).toBe(load.queued.filter((n) => n > 0).length)
          expect([...load.queued, ...load.active, ...load.queuedUs].every((n) => n >= 0)).toBe(true)
          Bookings.passing(load, priority)
          for (let slot = 0; slot < 3; slot++) {
            const running = slot > 0 && load.queued[slot]! > 0 ? load.running[slot]! : LoadTable.NONE
            expect(load.running[slot]).toBe(running)
            if (running !== LoadTable.NONE) {
              expect([load.pool.state[running], load.pool.slot[running]]).toEqual([1, slot])
            }
            expect(load.passedMs[slot]! >= 0 && load.passedMs[slot]! * 1000 < Math.max(1, load.queuedUs[slot]!)).toBe(
              true
            )
          }
        }
        for (const booking of open) Bookings.settle(load, booking, 1, 0, true, nowMs)
        Bookings.passing(load, -3)
        expect([...counters(load), [...load.passedMs], [...load.passedTokens]]).toEqual([
          ...zeros,
          ...zeros.slice(0, 2)
        ])
        expect([load.busy, Bookings.open(load)]).toEqual([0, 0])
        expect([...load.head, ...load.tail].every((at) => at === LoadTable.NONE)).toBe(true)
      }),
      { numRuns: 300, seed: 11 }
    )
  })

  it("grows its pool without losing a booking", () => {
    const load = fleet(2)
    const bookings = Array.from({ length: 1000 }, (_, i) => Bookings.book(load, i % 2, 100 + i, 0, true, i))
    expect(new Set(bookings).size).toBe(1000)
    for (const booking of bookings) Bookings.firstByte(load, booking, 2000)
    expect([load.active[0], load.active[1]]).toEqual([500, 500])
    for (const booking of bookings) expect(Bookings.settle(load, booking, 1, 0, true, 3000)).toBe(true)
    expect(counters(load)).toEqual(zeros)
  })
})

const lcg = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
