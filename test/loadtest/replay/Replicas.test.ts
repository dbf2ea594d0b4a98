import { describe, expect, it } from "vitest"
import * as TimeModel from "../../../loadtest/fleet/TimeModel.ts"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import type { Fleet } from "../../../loadtest/replay/Profiles.ts"
import * as Replay from "../../../loadtest/replay/Replay.ts"
import * as Replicas from "../../../loadtest/replay/Replicas.ts"
import * as Strategies from "../../../loadtest/replay/Strategies.ts"
import type { Strategy } from "../../../loadtest/replay/Strategy.ts"

const fleet: Fleet = {
  workers: 8,
  blocks: 1_200,
  pinsMax: 1_200,
  rates: TimeModel.llama70,
  stepTokens: 8_192,
  maxRunning: 256
}
const trace = Generated.arrivals(1, 300_000, 16)
const run = (strategy: Strategy) => Replay.run(trace, strategy, fleet, { seed: 1, live: 0, durationMs: 300_000 }).result

describe("several replicas of this router", () => {
  it("place nearly as one does when they hear of each other, and worse when they do not", () => {
    const one = run(Strategies.ours)
    const told = run(Replicas.of({ count: 4, exchangeMs: 50 }))
    const alone = run(Replicas.of({ count: 4, exchangeMs: null }))
    expect(told.ttftMs.p90).toBeLessThan(1.3 * one.ttftMs.p90)
    expect(told.hitRate).toBeGreaterThan(one.hitRate - 0.03)
    expect(alone.ttftMs.p90).toBeGreaterThan(1.1 * told.ttftMs.p90)
    expect(told.requests).toBe(one.requests)
  })

  it("are as one where there is one, told of nobody", () => {
    const { strategy, ...one } = run(Strategies.ours)
    expect(run(Replicas.of({ count: 1, exchangeMs: 50 }))).toEqual({ ...one, strategy: `1 × ${strategy}` })
  })

  it("leave everybody else's routers as they are", () => {
    expect(Replicas.insteadOf(Strategies.roundRobin, { count: 4, exchangeMs: 50 })).toBe(Strategies.roundRobin)
    expect(Replicas.insteadOf(Strategies.ours, null)).toBe(Strategies.ours)
  })
})
