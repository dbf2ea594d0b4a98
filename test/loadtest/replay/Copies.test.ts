import { describe, expect, it } from "vitest"
import * as Random from "../../../loadtest/Random.ts"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import * as Trace from "../../../loadtest/replay/Trace.ts"

describe("Trace.copied", () => {
  const trace = Generated.arrivals(1, 200_000, 5)
  const common = (each: Trace.Arrivals) => each.requests.filter(({ blocks }) => blocks[0]! < 1_000).length

  it("makes more traffic of the same kind, with prompts of its own behind what all share", () => {
    const twice = Trace.copied(trace, 2, Random.make(1))
    expect(twice.requests.length).toBe(2 * trace.requests.length)
    expect(common(twice)).toBe(2 * common(trace))
    const ends = twice.requests.map(({ blocks }) => blocks.at(-1)!)
    // A few ends were in so many turns of one conversation that they are common.
    expect(new Set(ends).size).toBeGreaterThan(0.99 * ends.length)
    for (let i = 1; i < twice.requests.length; i++) {
      expect(twice.requests[i]!.atMs).toBeGreaterThanOrEqual(twice.requests[i - 1]!.atMs)
    }
  })

  it("gives each copy sessions of its own, whole or not at all", () => {
    const sizes = (each: Trace.Arrivals) => {
      const sizes = new Map<number, number>()
      for (const { session } of each.requests) sizes.set(session!, (sizes.get(session!) ?? 0) + 1)
      return [...sizes.values()].sort((a, b) => a - b)
    }
    const once = sizes(trace)
    expect(sizes(Trace.copied(trace, 3, Random.make(1)))).toEqual(once.flatMap((size) => [size, size, size]))
    const half = Trace.copied(trace, 0.5, Random.make(1))
    const whole = new Map(trace.requests.map(({ session }) => [session, 0]))
    for (const { session } of trace.requests) whole.set(session, whole.get(session)! + 1)
    const taken = new Map<number | null, number>()
    for (const { session } of half.requests) taken.set(session, (taken.get(session) ?? 0) + 1)
    for (const [session, size] of taken) expect(size).toBe(whole.get(session))
  })

  it("keeps the pauses of a session as they are, but for the end of the trace where it begins again", () => {
    const paused = (each: Trace.Arrivals) => {
      const turns = new Map<number, Array<readonly [number, number]>>()
      for (const { session, promptTokens, atMs } of each.requests) {
        turns.set(session!, [...(turns.get(session!) ?? []), [promptTokens, atMs]])
      }
      return Array.from(turns.values(), (times) =>
        times
          .sort(([a], [b]) => a - b)
          .map(([, atMs]) => Math.round(atMs - times[0]![1] + each.durationMs) % each.durationMs)
          .join(" ")
      ).sort()
    }
    const once = paused(trace)
    expect(once.filter((pauses) => pauses.includes(" ")).length).toBeGreaterThan(50)
    expect(paused(Trace.copied(trace, 2, Random.make(1)))).toEqual(once.flatMap((pauses) => [pauses, pauses]))
  })

  it("knows no session where the trace knows none", () => {
    const nobody = { ...trace, requests: trace.requests.map((each) => ({ ...each, session: null })) }
    const some = Trace.copied(nobody, 1.5, Random.make(1)).requests
    expect(new Set(some.map(({ session }) => session))).toEqual(new Set([null]))
    expect(some.length / trace.requests.length).toBeGreaterThan(1.4)
    expect(some.length / trace.requests.length).toBeLessThan(1.6)
  })

  it("takes about as much of the last copy as is asked, and the same for the same seed", () => {
    const some = Trace.copied(trace, 1.5, Random.make(1))
    expect(some.requests.length / trace.requests.length).toBeGreaterThan(1.3)
    expect(some.requests.length / trace.requests.length).toBeLessThan(1.7)
    expect(Trace.copied(trace, 1.5, Random.make(1))).toEqual(some)
  })

  it("spreads arrivals that are stamped on a grid over it", () => {
    const stamped = {
      ...trace,
      requests: trace.requests.map((each) => ({ ...each, atMs: each.atMs - (each.atMs % 3_000) }))
    }
    const times = new Set(Trace.copied(stamped, 1, Random.make(1)).requests.map(({ atMs }) => Math.floor(atMs / 100)))
    expect(times.size).toBeGreaterThan(trace.requests.length / 3)
  })
})

describe("Trace.slice", () => {
  const trace = Generated.arrivals(1, 200_000, 5)

  it("takes what arrives in a window, as a trace that begins at 0", () => {
    const part = Trace.slice(trace, 50_000, 80_000)
    expect(part.durationMs).toBe(30_000)
    const there = trace.requests.filter(({ atMs }) => atMs >= 50_000 && atMs < 80_000)
    expect(part.requests).toEqual(there.map((each) => ({ ...each, atMs: each.atMs - 50_000 })))
    expect(part.requests.length).toBeGreaterThan(100)
  })

  it("ends where the trace ends, and windows side by side make the whole", () => {
    expect(Trace.slice(trace, 0, Number.POSITIVE_INFINITY)).toEqual(trace)
    const halves = [Trace.slice(trace, 0, 100_000), Trace.slice(trace, 100_000, 1e9)]
    expect(halves[0]!.requests.length + halves[1]!.requests.length).toBe(trace.requests.length)
    expect(halves[0]!.durationMs + halves[1]!.durationMs).toBe(trace.durationMs)
  })

  it("is empty outside the trace", () => {
    expect(Trace.slice(trace, 300_000, 400_000)).toMatchObject({ durationMs: 0, requests: [] })
  })
})
