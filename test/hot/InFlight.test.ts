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

const raised = (flight: InFlight, path: ReadonlyArray<number>, depth: ReadonlyArray<number>): Array<number> => {
  const out = Uint32Array.from(depth)
  flight.raise(keysOf(path), path.length, 1, 1_000, out)
  return [...out]
}

describe("InFlight", () => {
  it("lets a sibling see what is on its way to a worker", () => {
    const flight = new InFlight()
    flight.add(1, keysOf([1, 2, 3, 4]), 4)
    expect(raised(flight, [1, 2, 3, 9], [0, 0, 0])).toEqual([0, 3, 0])
    expect(raised(flight, [1, 2, 3, 4, 5], [0, 2, 0])).toEqual([0, 4, 0])
    expect(raised(flight, [7], [0, 0, 0])).toEqual([0, 0, 0])
  })

  it("never lowers an overlap", () => {
    const flight = new InFlight()
    flight.add(0, keysOf([1, 2]), 2)
    expect(raised(flight, [1, 2, 3, 4], [4])).toEqual([4])
  })

  it("forgets at once what failed, and after a grace what was computed", () => {
    const flight = new InFlight(10, 1 << 20, 500)
    const failed = flight.add(0, keysOf([1]), 1)
    const computed = flight.add(1, keysOf([1]), 1)
    flight.remove(failed)
    flight.remove(failed)
    flight.release(computed, 1000)
    flight.sweep(1499)
    expect(raised(flight, [1], [0, 0])).toEqual([0, 1])
    flight.sweep(1500)
    expect(raised(flight, [1], [0, 0])).toEqual([0, 0])
    expect([flight.size, flight.bytes]).toEqual([0, 0])
  })

  it("drops the oldest when it is full, by count and by bytes", () => {
    const byCount = new InFlight(2)
    for (const step of [1, 2, 3]) byCount.add(0, keysOf([step]), 1)
    expect([1, 2, 3].map((step) => raised(byCount, [step], [0])[0])).toEqual([0, 1, 1])
    const byBytes = new InFlight(100, 80)
    byBytes.add(0, keysOf([1, 1, 1, 1, 1]), 5)
    byBytes.add(0, keysOf([2, 1, 1, 1, 1, 1]), 6)
    expect([byBytes.size, byBytes.bytes]).toEqual([1, 48])
    expect(byBytes.add(0, keysOf(new Array(11).fill(1)), 11)).toBe(0)
    expect(byBytes.size).toBe(1)
  })

  it("keeps its own copy of the keys", () => {
    const flight = new InFlight()
    const keys = keysOf([1, 2])
    flight.add(0, keys, 2)
    keys.fill(0)
    expect(raised(flight, [1, 2], [0])).toEqual([2])
  })

  it("tells keys apart that differ in either half", () => {
    const flight = new InFlight()
    flight.add(0, Int32Array.of(1, 2, 3, 4, 5, 6), 3)
    flight.add(1, Int32Array.of(1, 2, 3, 9, 5, 7), 3)
    flight.add(2, Int32Array.of(1, 9), 1)
    const out = new Uint32Array(3)
    flight.raise(Int32Array.of(1, 2, 3, 9, 5, 8), 3, 1, 10, out)
    expect([...out]).toEqual([1, 2, 0])
  })

  it("answers in tokens, and never with more than the prompt has", () => {
    const flight = new InFlight()
    flight.add(0, keysOf([1, 2, 3]), 3)
    const out = Uint32Array.of(0)
    flight.raise(keysOf([1, 2, 3]), 3, 16, 40, out)
    expect([...out]).toEqual([40])
  })

  it("has nothing on its way to a worker that left", () => {
    const flight = new InFlight()
    for (let i = 0; i < 20; i++) flight.add(i % 2, keysOf([1, i]), 2)
    flight.leave(0)
    expect(raised(flight, [1, 4], [0, 0])).toEqual([0, 1])
    expect(flight.size).toBe(10)
  })

  it("equals a naive list of prefixes after any sequence of verbs", () => {
    const path = fc.array(fc.nat(2), { minLength: 1, maxLength: 12 })
    const action = fc.oneof(
      { weight: 5, arbitrary: fc.record({ verb: fc.constant("add" as const), slot: fc.nat(3), path }) },
      { weight: 4, arbitrary: fc.record({ verb: fc.constant("raise" as const), slot: fc.nat(3), path }) },
      { weight: 2, arbitrary: fc.record({ verb: fc.constant("remove" as const), slot: fc.nat(60), path }) },
      { weight: 1, arbitrary: fc.record({ verb: fc.constant("leave" as const), slot: fc.nat(3), path }) }
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
        const flight = new InFlight(30)
        let naive: Array<{ id: number; slot: number; path: ReadonlyArray<number> }> = []
        for (const { verb, slot, path } of actions) {
          if (verb === "add") {
            naive.push({ id: flight.add(slot, keysOf(path), path.length), slot, path })
            if (naive.length > 30) naive.shift()
          } else if (verb === "remove") {
            const id = naive[slot % Math.max(1, naive.length)]?.id ?? 12_345
            flight.remove(id)
            naive = naive.filter((entry) => entry.id !== id)
          } else if (verb === "leave") {
            flight.leave(slot)
            naive = naive.filter((entry) => entry.slot !== slot)
          } else {
            const expected = [0, 0, 0, 0]
            for (const entry of naive) {
              let common = 0
              while (common < path.length && path[common] === entry.path[common]) common++
              expected[entry.slot] = Math.max(expected[entry.slot]!, common)
            }
            expect(raised(flight, path, [0, 0, 0, 0])).toEqual(expected)
          }
          expect(flight.size).toBe(naive.length)
          expect(flight.bytes).toBe(naive.reduce((sum, entry) => sum + 8 * entry.path.length, 0))
        }
      }),
      { numRuns: 500, seed: 3 }
    )
  })
})
