/**
 * A whole deployment struck under load: several routers in processes of their own, a real nats-server, simulated engines
 * with ZeroMQ. Longer ones: `npm run chaos`.
 */
import { describe, expect, it } from "vitest"
import * as Scenarios from "./cluster/Scenarios.ts"

const common = { perSecond: 30, seed: 1, say: () => {} }

describe("several routers as one", () => {
  it("lose only what a killed router had in flight, and agree on every cache afterwards", {
    timeout: 240_000
  }, async () => {
    const outcome = await Scenarios.routersDie({ ...common, routers: 3, forMs: 9_000, everyMs: 3_000 })
    console.log(outcome)
    expect(outcome.unexplained).toEqual([])
    expect(outcome.differences).toEqual([])
    expect(outcome.strikes).toBeGreaterThan(1)
    expect(outcome.requests).toBeGreaterThan(200)
  })

  it("fail no request when NATS is killed, stopped, wiped or frozen, and agree when it is back", {
    timeout: 240_000
  }, async () => {
    const outcome = await Scenarios.natsFails({ ...common, routers: 2, forMs: 18_000, everyMs: 2_500 })
    console.log(outcome)
    expect(outcome.failed).toBe(0)
    expect(outcome.differences).toEqual([])
    expect(outcome.strikes).toBeGreaterThan(3)
    expect(outcome.requests).toBeGreaterThan(400)
  })

  it("lose nothing when the leader of three NATS servers is killed", { timeout: 240_000 }, async () => {
    const outcome = await Scenarios.leaderDies({ ...common, routers: 2, forMs: 7_000, everyMs: 3_000 })
    console.log(outcome)
    expect(outcome.failed).toBe(0)
    expect(outcome.differences).toEqual([])
    expect(outcome.strikes).toBeGreaterThan(1)
  })
})
