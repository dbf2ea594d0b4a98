import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { InFlight } from "../../src/hot/InFlight.ts"

/** A chain of keys for a path of small numbers: equal paths, and only those, have equal keys. */
const keysOf = (path: ReadonlyArray<number>): Int32Array => {
  const keys = new Int32Array(path.length * 2)
  let lo = 17
  let hi = 99
  path.forEach((step, i) => {
    lo = (Math.imul(lo, 0x9e3779b1) + step + 1) | 0
    hi = (Math.imul(hi, 0x85ebca6b) ^ (lo + i)) | 0
    keys[2 * i] = lo
    keys[2 * i + 1] = hi
  })
  return keys
}

const raised = (
  flight: InFlight,
  path: ReadonlyArray<number>,
  depth: ReadonlyArray<number>,
  nowMs = 0
): Array<number> => {
  const out = Uint32Array.from(depth)
  flight.raise(keysOf(path), path.length, 1, 1_000, nowMs, out)
  return [...out]
}

describe("InFlight", () => {
  it("lets a sibling see what is on its way to a worker", () => {
    const flight = new InFlight()
    flight.add(1, keysOf([1, 2, 3, 4]), 4, 0)
    expect(raised(flight, [1, 2, 3, 9], [0, 0, 0])).toEqual([0, 3, 0])
    expect(raised(flight, [1, 2, 3, 4, 5], [0, 2, 0])).toEqual([0, 4, 0])
    expect(raised(flight, [7], [0, 0, 0])).toEqual([0, 0, 0])
  })

  it("never lowers an overlap", () => {
    const flight = new InFlight()
    flight.add(0, keysOf([1, 2]), 2, 0)
    expect(raised(flight, [1, 2, 3, 4], [4])).toEqual([4])
  })

  it("forgets at once what failed, and after a grace what was computed", () => {
    const flight = new InFlight(10, 1 << 20, 500)
    const failed = flight.add(0, keysOf([1]), 1, 0)
    const computed = flight.add(1, keysOf([1]), 1, 0)
    flight.remove(failed)
    flight.remove(failed)
    flight.release(failed, 1200)
    flight.release(computed, 1000)
    flight.release(computed, 1200)
    expect(raised(flight, [1], [0, 0], 1499)).toEqual([0, 1])
    expect(raised(flight, [1], [0, 0], 1500)).toEqual([0, 0])
    flight.sweep(1500)
    expect([flight.size, flight.bytes]).toEqual([0, 0])
  })

  it("keeps few of those whose grace is over, though nobody sweeps", () => {
    const flight = new InFlight(1_000, 1 << 20, 500)
    for (let nowMs = 0; nowMs < 10_000; nowMs += 10) flight.release(flight.add(0, keysOf([1, nowMs]), 2, nowMs), nowMs)
    expect(flight.size).toBeLessThan(55)
  })

  it("drops what is over before the oldest of what is not", () => {
    const flight = new InFlight(3, 1 << 20, 500)
    flight.add(0, keysOf([1]), 1, 0)
    flight.release(flight.add(0, keysOf([2]), 1, 0), 1)
    flight.remove(flight.add(0, keysOf([3]), 1, 0))
    for (const step of [4, 5]) flight.add(0, keysOf([step]), 1, 501)
    expect([1, 2, 3, 4, 5].map((step) => raised(flight, [step], [0], 501)[0])).toEqual([1, 0, 0, 1, 1])
  })

  it("drops the oldest when it is full, by count and by bytes", () => {
    const byCount = new InFlight(2)
    for (const step of [1, 2, 3]) byCount.add(0, keysOf([step]), 1, 0)
    expect([1, 2, 3].map((step) => raised(byCount, [step], [0])[0])).toEqual([0, 1, 1])
    const byBytes = new InFlight(100, 80)
    byBytes.add(0, keysOf([1, 1, 1, 1, 1]), 5, 0)
    byBytes.add(0, keysOf([2, 1, 1, 1, 1, 1]), 6, 0)
    expect([byBytes.size, byBytes.bytes]).toEqual([1, 48])
    expect(byBytes.add(0, keysOf(new Array(11).fill(1)), 11, 0)).toBe(0)
    expect(byBytes.size).toBe(1)
  })

  it("keeps its own copy of the keys", () => {
    const flight = new InFlight()
    const keys = keysOf([1, 2])
    flight.add(0, keys, 2, 0)
    keys.fill(0)
    expect(raised(flight, [1, 2], [0])).toEqual([2])
  })

  it("tells keys apart that differ in either half", () => {
    const flight = new InFlight()
    flight.add(0, Int32Array.of(1, 2, 3, 4, 5, 6), 3, 0)
    flight.add(1, Int32Array.of(1, 2, 3, 9, 5, 7), 3, 0)
    flight.add(2, Int32Array.of(1, 9), 1, 0)
    const out = new Uint32Array(3)
    flight.raise(Int32Array.of(1, 2, 3, 9, 5, 8), 3, 1, 10, 0, out)
    expect([...out]).toEqual([1, 2, 0])
  })

  it("answers in tokens, and never with more than the prompt has", () => {
    const flight = new InFlight()
    flight.add(0, keysOf([1, 2, 3]), 3, 0)
    const out = Uint32Array.of(0)
    flight.raise(keysOf([1, 2, 3]), 3, 16, 40, 0, out)
    expect([...out]).toEqual([40])
  })

  it("has nothing on its way to a worker that left", () => {
    const flight = new InFlight()
    for (let i = 0; i < 20; i++) flight.add(i % 2, keysOf([1, i]), 2, 0)
    flight.leave(0)
    expect(raised(flight, [1, 4], [0, 0])).toEqual([0, 1])
    flight.sweep(0)
    expect(flight.size).toBe(10)
  })

  it("equals a naive list of prefixes after any sequence of verbs", () => {
    const entriesMax = 30
    const graceMs = 50
    const path = fc.array(fc.nat(2), { minLength: 1, maxLength: 12 })
    const of = <V extends string>(verb: V) =>
      fc.record({ verb: fc.constant(verb), slot: fc.nat(3), pick: fc.nat(60), path })
    const action = fc.oneof(
      { weight: 5, arbitrary: of("add") },
      { weight: 4, arbitrary: of("raise") },
      { weight: 3, arbitrary: of("release") },
      { weight: 1, arbitrary: of("remove") },
      { weight: 1, arbitrary: of("leave") },
      { weight: 2, arbitrary: of("wait") },
      { weight: 1, arbitrary: of("sweep") }
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 150 }), (actions) => {
        const flight = new InFlight(entriesMax, 1 << 20, graceMs)
        let nowMs = 1_000
        let naive: Array<{ id: number; slot: number; path: ReadonlyArray<number>; untilMs: number }> = []
        for (const { verb, slot, pick, path } of actions) {
          const picked = naive[pick % Math.max(1, naive.length)] ?? { id: 12_345, untilMs: 0 }
          if (verb === "add") {
            naive.push({ id: flight.add(slot, keysOf(path), path.length, nowMs), slot, path, untilMs: Infinity })
            if (naive.length > entriesMax) naive.shift()
          } else if (verb === "release") {
            flight.release(picked.id, nowMs)
            picked.untilMs = Math.min(picked.untilMs, nowMs + graceMs)
          } else if (verb === "remove") {
            flight.remove(picked.id)
            naive = naive.filter((entry) => entry !== picked)
          } else if (verb === "leave") {
            flight.leave(slot)
            naive = naive.filter((entry) => entry.slot !== slot)
          } else if (verb === "wait") {
            nowMs += pick
            naive = naive.filter(({ untilMs }) => nowMs < untilMs)
          } else if (verb === "sweep") {
            flight.sweep(nowMs)
            expect(flight.size).toBe(naive.length)
            expect(flight.bytes).toBe(naive.reduce((sum, entry) => sum + 8 * entry.path.length, 0))
          } else {
            const expected = [0, 0, 0, 0]
            for (const entry of naive) {
              let common = 0
              while (common < path.length && path[common] === entry.path[common]) common++
              expected[entry.slot] = Math.max(expected[entry.slot]!, common)
            }
            expect(raised(flight, path, [0, 0, 0, 0], nowMs)).toEqual(expected)
          }
        }
      }),
      { numRuns: 500, seed: 3 }
    )
  })
})
