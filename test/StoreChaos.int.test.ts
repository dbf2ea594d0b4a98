/**
 * Metadata stores struck under load, and the routers that write to them: processes of their own, simulated engines with
 * ZeroMQ. Longer ones: `npm run chaos -- --what store`.
 */
import { describe, expect, it } from "vitest"
import * as StoreFails from "./cluster/StoreFails.ts"

const common = { perSecond: 30, seed: 3, awayMsMax: 1_500, everyMs: 700, say: () => {} }

describe("a metadata store", () => {
  it("in a file of a router that is killed and frozen says in the end what engines hold", {
    timeout: 240_000
  }, async () => {
    const outcome = await StoreFails.storeFails({ ...common, kind: "sqlite", forMs: 6_000 })
    console.log(outcome)
    const { differences, missing, unexplained, unwell, wrong } = outcome
    expect({ differences, missing, unexplained, unwell, wrong }).toEqual(nothing)
    expect(outcome.strikes).toBeGreaterThan(1)
    expect(outcome.compared.blocks).toBeGreaterThan(500)
  })

  it("that is killed, wiped and frozen fails no request, and says in the end what engines hold", {
    timeout: 240_000
  }, async () => {
    const outcome = await StoreFails.storeFails({ ...common, kind: "redis", forMs: 8_000 })
    console.log(outcome)
    const { differences, missing, unexplained, unwell, wrong } = outcome
    expect({ differences, missing, unexplained, unwell, wrong }).toEqual(nothing)
    expect(outcome.strikes).toBeGreaterThan(3)
    expect(outcome.compared.blocks).toBeGreaterThan(500)
  })
})

const nothing = { differences: [], missing: [], unexplained: [], unwell: [], wrong: [] }
