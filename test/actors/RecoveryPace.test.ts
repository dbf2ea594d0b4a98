import { describe, expect, it } from "vitest"
import { defaults, RecoveryPace } from "../../actors/RecoveryPace.ts"

describe("RecoveryPace", () => {
  it("allows a burst, then one per while, and fills up again", () => {
    const pace = new RecoveryPace({ ...defaults, replaysMax: 3, regainMs: 5_000 })
    for (let left = 3; left > 0; left--) {
      expect(pace.left(1_000)).toBe(left)
      pace.spend(1_000)
    }
    expect(pace.left(5_999)).toBe(0)
    expect([pace.readyAtMs(1), pace.readyAtMs(2)]).toEqual([6_000, 11_000])
    expect(pace.left(6_000)).toBe(1)
    expect(pace.left(1e9)).toBe(3)
  })

  it("never allows more than its rate in the long run, whatever is asked when", () => {
    const pace = new RecoveryPace(defaults)
    let spent = 0
    for (let nowMs = 0; nowMs <= 1_000_000; nowMs += 137) {
      if (pace.left(nowMs) === 0) continue
      pace.spend(nowMs)
      spent++
    }
    expect(spent).toBeLessThanOrEqual(defaults.replaysMax + 1_000_000 / defaults.regainMs)
    expect(spent).toBeGreaterThan(1_000_000 / defaults.regainMs - 2)
  })

  it("doubles its pause with each reconnect, to a cap, and forgives them one by one in calm", () => {
    const pace = new RecoveryPace({ ...defaults, backoffMsMin: 250, backoffMsMax: 1_000, calmMs: 10_000 })
    expect([0, 0, 0, 0, 0].map((nowMs) => pace.reconnect(nowMs))).toEqual([0, 250, 500, 1_000, 1_000])
    // The pause itself is no calm.
    expect(pace.reconnect(10_999)).toBe(1_000)
    expect(pace.reconnect(10_999 + 1_000 + 50_000)).toBe(250)
    expect(pace.reconnect(1_000_000)).toBe(0)
  })

  it("takes back what was not used", () => {
    const pace = new RecoveryPace({ ...defaults, replaysMax: 2 })
    pace.spend(0)
    pace.refund()
    pace.refund()
    expect(pace.left(0)).toBe(2)
  })
})
