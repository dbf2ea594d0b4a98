import { describe, expect, it } from "vitest"
import * as TimeModel from "../../../loadtest/fleet/TimeModel.ts"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import * as Replay from "../../../loadtest/replay/Replay.ts"
import * as Routing from "../../../loadtest/replay/Routing.ts"
import type { Trace } from "../../../loadtest/replay/Trace.ts"

const fleet: Replay.Fleet = { workers: 4, blocks: 600, rates: TimeModel.llama70, stepTokens: 8_192, maxRunning: 256 }
const exact: Replay.Mode = { name: "exact", policy: "eta", view: "events", told: 1, reports: true, credit: 1 }
const approximate: Replay.Mode = { ...exact, name: "approximate", view: "model" }
const options = { seed: 1, live: 16, durationMs: 600_000 }

const arrivals = Generated.arrivals(1, 600_000, 4)
const sessions = Generated.sessions(1, 40, 30)
const run = (trace: Trace, mode: Replay.Mode): Replay.Result => Replay.run(trace, mode, Routing.make, fleet, options)

describe("Replay", () => {
  it("knows from events what is delivered, all but what changes while a request waits", () => {
    for (const [blocks, most] of [
      [600, 0.04],
      [1_200, 0.01],
      [6_000, 0]
    ] as const) {
      const { hitRate, tooFew, tooMany } = Replay.run(sessions, exact, Routing.make, { ...fleet, blocks }, options)
      expect(hitRate).toBeGreaterThan(0.5)
      expect(tooMany).toBeLessThanOrEqual(most)
      expect(tooFew).toBeLessThan(0.01)
    }
  })

  it.each([
    ["tools and chat", arrivals],
    ["coding agents", sessions]
  ])("finds nearly as much in caches without events as with them, and far more than in turn: %s", (_, trace) => {
    const told = run(trace, exact)
    const modelled = run(trace, approximate)
    const inTurn = run(trace, { ...exact, policy: "round-robin" })
    expect(modelled.hitRate).toBeGreaterThan(0.93 * told.hitRate)
    expect(modelled.hitRate).toBeGreaterThan(inTurn.hitRate + 0.05)
    expect(modelled.ttftMsMean).toBeLessThan(0.7 * inTurn.ttftMsMean)
  })

  it("learns the size of caches from reports, where it was told four times as much", () => {
    const learned = run(arrivals, { ...approximate, told: 4 })
    expect(Math.abs(learned.capacity! - 1)).toBeLessThan(0.25)
    const unheard = run(arrivals, { ...approximate, told: 4, reports: false })
    expect(unheard.capacity).toBe(4)
    expect(learned.tooMany).toBeLessThan(unheard.tooMany / 2)
  })

  it("is the same for the same seed", () => {
    expect(run(sessions, approximate)).toEqual(run(sessions, approximate))
  })
})
