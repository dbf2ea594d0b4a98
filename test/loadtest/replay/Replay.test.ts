import { describe, expect, it } from "vitest"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import * as Replay from "../../../loadtest/replay/Replay.ts"
import * as Routing from "../../../loadtest/replay/Routing.ts"
import * as Strategies from "../../../loadtest/replay/Strategies.ts"
import type { Trace } from "../../../loadtest/replay/Trace.ts"
import { fleet } from "../../support/SmallFleet.ts"

const exact = Routing.everything
const approximate = { ...exact, view: "model" } as const
const options = { seed: 1, live: 16, durationMs: 600_000 }

const arrivals = Generated.arrivals(1, 600_000, 4)
const sessions = Generated.sessions(1, 40, 30)
const run = (trace: Trace, knowledge: Routing.Knowledge, strategy = Strategies.ours): Replay.Ran =>
  Replay.run(trace, strategy, fleet, { ...options, knowledge })

describe("Replay", () => {
  it("knows from events what is delivered, all but what changes while a request waits", () => {
    for (const [blocks, most] of [
      [600, 0.04],
      [1_200, 0.01],
      [6_000, 0]
    ] as const) {
      const { result } = Replay.run(sessions, Strategies.ours, { ...fleet, blocks, pinsMax: blocks }, options)
      const { hitRate, tooFew, tooMany } = result
      expect(hitRate).toBeGreaterThan(0.5)
      expect(tooMany).toBeLessThanOrEqual(most)
      expect(tooFew).toBeLessThan(0.01)
    }
  })

  it("counts requests per second until the last answer, not until the router last read metrics", () => {
    const few: Trace = {
      ...arrivals,
      durationMs: 100,
      requests: [{ ...arrivals.requests[0]!, atMs: 50, outputTokens: 5 }]
    }
    const { result } = Replay.run(few, Strategies.ours, fleet, options)
    expect(result.perSecond).toBeCloseTo(1_000 / (50 + result.e2eMs.mean - 20), 6)
  })

  it.each([
    ["tools and chat", arrivals],
    ["coding agents", sessions]
  ])("finds nearly as much in caches without events as with them, and far more than in turn: %s", (_, trace) => {
    const told = run(trace, exact).result
    const modelled = run(trace, approximate).result
    const inTurn = run(trace, exact, Strategies.roundRobin).result
    expect(modelled.hitRate).toBeGreaterThan(0.93 * told.hitRate)
    expect(modelled.hitRate).toBeGreaterThan(inTurn.hitRate + 0.05)
    expect(modelled.ttftMs.mean).toBeLessThan(0.7 * inTurn.ttftMs.mean)
  })

  it("learns the size of caches from reports, where it was told four times as much", () => {
    const learned = run(arrivals, { ...approximate, told: 4 })
    expect(Math.abs(learned.capacity! - 1)).toBeLessThan(0.25)
    const unheard = run(arrivals, { ...approximate, told: 4, reports: false })
    expect(unheard.capacity).toBe(4)
    expect(learned.result.tooMany).toBeLessThan(unheard.result.tooMany / 2)
  })

  it("is the same for the same seed", () => {
    expect(run(sessions, approximate)).toEqual(run(sessions, approximate))
  })
})
