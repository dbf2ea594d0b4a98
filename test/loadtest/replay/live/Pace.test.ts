import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Pace } from "../../../../loadtest/replay/live/Pace.ts"

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

describe("Pace", () => {
  it("does what is due in order, so many times as fast as its times say, and never early", async () => {
    const pace = new Pace(4)
    const done: Array<readonly [string, number, number]> = []
    const note = (name: string) => (atMs: number) => done.push([name, atMs, performance.now() * 4])
    const from = performance.now() * 4
    pace.add(1_000, note("third"))
    pace.add(401, note("second"))
    pace.add(0, (atMs) => {
      note("first")(atMs)
      pace.add(2_000, note("last"))
    })
    await vi.advanceTimersByTimeAsync(501)
    expect(done.map(([name, atMs]) => [name, atMs])).toEqual([
      ["first", 0],
      ["second", 401],
      ["third", 1_000],
      ["last", 2_000]
    ])
    for (const [, dueMs, atMs] of done) {
      expect(atMs - from).toBeGreaterThanOrEqual(dueMs)
      // A timer's millisecond is four of these.
      expect(atMs - from).toBeLessThan(dueMs + 4)
    }
  })

  it("does nothing any more once it has ended", async () => {
    const pace = new Pace(1)
    let done = 0
    pace.add(10, () => {
      done++
      pace.end()
    })
    pace.add(10, () => done++)
    pace.add(20, () => done++)
    await vi.advanceTimersByTimeAsync(100)
    expect(done).toBe(1)
  })
})
