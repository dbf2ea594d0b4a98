import { describe, expect, it } from "vitest"
import { Pulse } from "../../src/http/Pulse.ts"
import type { Settled } from "../../src/http/Request.ts"

const settled = (fields: Partial<Settled> = {}): Settled =>
  ({
    ...{ worker: "a", outcome: "complete", status: 200, ttftMs: 100 },
    ...{ promptTokens: 1_000, predictedTokens: 500, deliveredTokens: 400 },
    ...fields
  }) as Settled

const beginMs = 1_000_000

describe("what the last minutes came to", () => {
  it("is told second by second, seconds without a request too", () => {
    const pulse = new Pulse(() => true)
    for (const ttftMs of [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]) pulse.add(settled({ ttftMs }), beginMs + 500)
    pulse.add(settled({ outcome: "failed", status: 0, ttftMs: null }), beginMs + 2_100)
    const seconds = pulse.seconds(0, beginMs + 4_000)
    expect(seconds.map(({ atMs, errors, requests }) => [atMs - beginMs, requests, errors])).toEqual([
      [1_000, 10, 0],
      [2_000, 0, 0],
      [3_000, 1, 1],
      [4_000, 0, 0]
    ])
    expect(seconds[0]).toMatchObject({ promptTokens: 10_000, cachedTokens: 4_000, ttftMsP50: 60, ttftMsP90: 100 })
    expect(pulse.seconds(beginMs + 3_000, beginMs + 4_000)).toHaveLength(1)
  })

  it("is summed over a minute, and over less where it began later, or there are too many requests to keep", () => {
    const pulse = new Pulse(() => true)
    pulse.add(settled({ deliveredTokens: null }), beginMs)
    pulse.add(settled({ worker: null, outcome: "failed", status: 503 }), beginMs + 1_000)
    expect(pulse.totals(beginMs + 2_000)).toMatchObject({ requests: 2, errors: 1, hitRate: 0.5, overMs: 2_000 })
    expect(pulse.totals(beginMs + 60_500)).toMatchObject({ requests: 1, overMs: 60_000 })
    for (let i = 0; i < 10_000; i++) pulse.add(settled(), beginMs + 100_000 + i)
    const { overMs, requests, requestsPerS } = pulse.totals(beginMs + 110_000)
    expect(requests).toBe(4_096)
    expect(overMs).toBe(4_096)
    expect(requestsPerS).toBeCloseTo(1_000, 0)
  })

  it("after a long silence has five minutes of it, and no more", () => {
    const pulse = new Pulse(() => true)
    pulse.add(settled(), beginMs)
    pulse.add(settled(), beginMs + 86_400_000)
    expect(pulse.seconds(0, beginMs + 86_400_500)).toHaveLength(300)
  })

  it("of a worker is that of its last requests", () => {
    const pulse = new Pulse(() => true)
    for (let i = 0; i < 32; i++) pulse.add(settled({ deliveredTokens: 0 }), beginMs)
    expect(pulse.worker("a").hitRate).toBe(0)
    for (let i = 0; i < 32; i++) pulse.add(settled({ ttftMs: i }), beginMs)
    expect(pulse.worker("a")).toEqual({ hitRate: 0.4, ttftsMs: Array.from({ length: 16 }, (_, i) => 16 + i) })
  })

  it("forgets workers that left, however many come and go, and none that stayed", () => {
    const asked: Array<string> = []
    const pulse = new Pulse((worker) => {
      asked.push(worker)
      return worker === "stays"
    })
    pulse.add(settled({ worker: "stays" }), beginMs)
    for (let i = 0; i < 10_000; i++) pulse.add(settled({ worker: `came-and-went-${i}` }), beginMs)
    expect(pulse.worker("stays").hitRate).toBe(0.4)
    expect(pulse.worker("came-and-went-9000").hitRate).toBeNull()
    // About one question for each that came.
    expect(asked.length).toBeLessThan(12_000)
  })
})
