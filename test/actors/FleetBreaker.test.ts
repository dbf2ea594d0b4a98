import { describe, expect, it } from "vitest"
import * as Breaker from "../../actors/FleetBreaker.ts"

const knobs: Breaker.Knobs = {
  failuresMax: 3,
  failureShareMax: 0.5,
  windowRequestsMin: 10,
  windowMs: 1_000,
  openMsMin: 100,
  openMsMax: 1_000
}

describe("FleetBreaker", () => {
  it("trips at the third failure in a row, and not when a success came between", () => {
    const breaker = Breaker.make(0)
    expect([1, 2].map((at) => Breaker.failed(breaker, knobs, at, true))).toEqual([false, false])
    Breaker.succeeded(breaker, knobs, 3)
    expect([4, 5, 6].map((at) => Breaker.failed(breaker, knobs, at, true))).toEqual([false, false, true])
  })

  it("does not trip on a few 5xx in a row: one bad prompt tried everywhere must not open the fleet", () => {
    const breaker = Breaker.make(0)
    expect([1, 2, 3, 4, 5].some((at) => Breaker.failed(breaker, knobs, at, false))).toBe(false)
  })

  it("trips when half of enough recent requests fail", () => {
    const breaker = Breaker.make(0)
    for (let at = 0; at < 5; at++) Breaker.succeeded(breaker, knobs, at)
    expect([5, 6, 7, 8, 9].map((at) => Breaker.failed(breaker, knobs, at, false))).toEqual([
      false,
      false,
      false,
      false,
      true
    ])
  })

  it("forgets failures that are older than its window", () => {
    const breaker = Breaker.make(0)
    for (let at = 0; at < 9; at++) Breaker.failed(breaker, knobs, at, false)
    expect(Breaker.failed(breaker, knobs, 5_000, false)).toBe(false)
  })

  it("counts failures across the middle of its window", () => {
    const breaker = Breaker.make(0)
    for (let at = 490; at < 499; at++) Breaker.failed(breaker, knobs, at, false)
    expect(Breaker.failed(breaker, knobs, 510, false)).toBe(true)
  })

  it("stays open twice as long after each failed return, up to the longest, until a request succeeds", () => {
    const breaker = Breaker.make(0)
    const waits = [1, 2, 3, 4, 5, 6].map(() => {
      Breaker.open(breaker, knobs, 0, 0)
      return breaker.retryAtMs
    })
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000])
    Breaker.succeeded(breaker, knobs, 1)
    Breaker.open(breaker, knobs, 0, 0)
    expect(breaker.retryAtMs).toBe(100)
  })

  it("starts clean when it opens, so that the return is judged by itself", () => {
    const breaker = Breaker.make(0)
    for (let at = 0; at < 3; at++) Breaker.failed(breaker, knobs, at, true)
    Breaker.open(breaker, knobs, 3, 0)
    expect(Breaker.failed(breaker, knobs, 4, true)).toBe(false)
  })

  it("spreads the return of many by up to a fifth", () => {
    const breaker = Breaker.make(0)
    Breaker.open(breaker, knobs, 0, 1)
    expect(breaker.retryAtMs).toBeCloseTo(120)
  })
})
