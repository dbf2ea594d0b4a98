import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { Agenda } from "../../../loadtest/replay/Agenda.ts"

describe("Agenda", () => {
  it("does everything in order of time, and what is due together in order of adding", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 200 }), (times) => {
        const agenda = new Agenda()
        const done: Array<readonly [number, number]> = []
        times.forEach((atMs, i) => void agenda.add(atMs, (nowMs) => void done.push([nowMs, i])))
        while (agenda.nextAt < Infinity) agenda.next()
        const expected = times.map((atMs, i) => [atMs, i] as const).sort(([a, i], [b, j]) => a - b || i - j)
        expect(done).toEqual(expected)
      })
    )
  })
})
