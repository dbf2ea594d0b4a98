import { describe, expect, it } from "vitest"
import * as Bookings from "../../src/hot/Bookings.ts"
import * as LoadTable from "../../src/hot/LoadTable.ts"
import * as Policies from "../../src/hot/Policies.ts"

const fleet = (workers: number): LoadTable.LoadTable => {
  const load = LoadTable.make(4)
  for (let slot = 0; slot < workers; slot++) LoadTable.join(load, slot, 0)
  return load
}
const cold = new Uint32Array(4)

describe("Policies", () => {
  it("knows its names and no others", () => {
    expect(Policies.names.every(Policies.isName)).toBe(true)
    expect(Policies.isName("random")).toBe(false)
    expect(Object.keys(Policies.byName)).toEqual([...Policies.names])
  })

  it("answers NONE by every name when no worker is eligible or there is none", () => {
    const load = fleet(3)
    load.eligible.fill(0)
    for (const name of Policies.names) {
      expect(Policies.byName[name](load, cold, 100, 0, 5)).toBe(LoadTable.NONE)
      expect(Policies.byName[name](LoadTable.make(4), cold, 100, 0, 5)).toBe(LoadTable.NONE)
      expect(Policies.byName[name](load, cold, 100, 0, 5, Uint8Array.of(0, 0, 1))).toBe(2)
    }
  })

  it("goes round the eligible workers", () => {
    const load = fleet(4)
    load.eligible[2] = 0
    expect([0, 1, 2, 3, 4].map((rotation) => Policies.roundRobin(load, cold, 100, 0, rotation))).toEqual([
      0, 1, 3, 3, 0
    ])
  })

  it("counts queued and active requests alike when it looks for the least loaded", () => {
    const load = fleet(3)
    Bookings.book(load, 0, 10, 0, true, 0)
    Bookings.firstByte(load, Bookings.book(load, 2, 90_000, 0, true, 0), 1)
    expect(Policies.leastLoaded(load, cold, 100, 2, 0)).toBe(1)
    Bookings.book(load, 1, 10, 0, true, 2)
    Bookings.book(load, 1, 10, 0, true, 2)
    expect([0, 1, 2].map((rotation) => Policies.leastLoaded(load, cold, 100, 3, rotation))).toEqual([0, 2, 2])
  })

  it("follows the longest prefix whatever the load, and rotates among equals", () => {
    const load = fleet(3)
    for (let i = 0; i < 50; i++) Bookings.book(load, 1, 9000, 0, true, 0)
    expect(Policies.longestPrefix(load, Uint32Array.of(0, 32, 16, 0), 100, 0, 0)).toBe(1)
    expect([0, 1, 2].map((rotation) => Policies.longestPrefix(load, cold, 100, 0, rotation))).toEqual([0, 1, 2])
  })
})
