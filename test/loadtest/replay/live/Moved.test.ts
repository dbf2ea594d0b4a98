import { describe, expect, it } from "vitest"
import * as Random from "../../../../loadtest/Random.ts"
import * as Generated from "../../../../loadtest/replay/Generated.ts"
import { moved } from "../../../../loadtest/replay/live/Moved.ts"
import type { Arrivals, Sessions } from "../../../../loadtest/replay/Trace.ts"

describe("moved", () => {
  it("sends the same requests, each a little later, still in the order of time", () => {
    const trace = Generated.arrivals(1, 60_000, 20)
    const late = moved(trace, 200, Random.make(1)) as Arrivals
    expect(new Set(late.requests.map(({ blocks }) => blocks))).toEqual(
      new Set(trace.requests.map(({ blocks }) => blocks))
    )
    const dueMs = new Map(trace.requests.map(({ atMs, blocks }) => [blocks, atMs]))
    const laterMs = late.requests.map(({ atMs, blocks }) => atMs - dueMs.get(blocks)!)
    expect(Math.min(...laterMs)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...laterMs)).toBeLessThanOrEqual(200)
    expect(new Set(laterMs).size).toBeGreaterThan(1_000)
    expect(late.requests.map(({ atMs }) => atMs)).toEqual(late.requests.map(({ atMs }) => atMs).sort((a, b) => a - b))
    // Some overtake others: that is the point.
    expect(late.requests.map(({ blocks }) => blocks)).not.toEqual(trace.requests.map(({ blocks }) => blocks))
  })

  it("lets sessions pause a little longer", () => {
    const trace = Generated.sessions(1, 5, 10)
    const late = moved(trace, 30, Random.make(1)) as Sessions
    const pauses = ({ sessions }: Sessions) =>
      sessions.flat().flatMap(({ turns }) => turns.map(({ thinkMs }) => thinkMs))
    const more = pauses(late).map((ms, i) => ms - pauses(trace)[i]!)
    expect(more.length).toBeGreaterThan(10)
    for (const ms of more) {
      expect(ms).toBeGreaterThanOrEqual(0)
      expect(ms).toBeLessThanOrEqual(30)
    }
    expect(new Set(more).size).toBe(more.length)
  })
})
