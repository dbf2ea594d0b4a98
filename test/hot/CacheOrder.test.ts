import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { CacheOrder } from "../../src/hot/CacheOrder.ts"

const lo = (name: number): number => Math.imul(name, 0x9e37_79b1)
/** Few high lanes: what tells keys apart is both. */
const hi = (name: number): number => name % 3

describe("CacheOrder", () => {
  it("is the order of a plain list, whatever is used, taken out, put back and dropped", () => {
    const steps = fc.array(
      fc.tuple(
        fc.constantFrom("use", "use", "use", "before", "reserve", "room", "drop"),
        fc.integer({ min: 1, max: 60 })
      ),
      { minLength: 500, maxLength: 3_000 }
    )
    fc.assert(
      fc.property(steps, (all) => {
        const order = new CacheOrder(4)
        /** Oldest first: a key's name, or room in blocks below zero. */
        let list: Array<number> = []
        for (const [step, number] of all) {
          if (step === "drop") {
            if (list.length === 0) continue
            order.dropOldest()
            const [gone] = list.splice(0, 1)
            if (gone! > 0) expect(order.find(lo(gone!), hi(gone!))).toBe(-1)
          } else if (step === "reserve") order.reserve(number)
          else if (step === "before") {
            const entry = order.add(lo(number), hi(number), -1)
            expect(entry >= 0).toBe(!list.includes(number))
            if (entry < 0) continue
            order.prepend(entry)
            list.unshift(number)
          } else if (step === "room") {
            order.append(order.addRoom(number))
            list.push(-number)
          } else {
            let entry = order.find(lo(number), hi(number))
            expect(entry >= 0).toBe(list.includes(number))
            if (entry >= 0) order.unlink(entry)
            else entry = order.add(lo(number), hi(number), -1)
            order.append(entry)
            list = list.filter((each) => each !== number)
            list.push(number)
          }
        }
        const found: Array<number> = []
        for (let entry = order.newest; entry >= 0; entry = order.older[entry]!) found.push(entry)
        expect(found.map((entry) => (order.isRoom(entry) ? -order.blocksOf(entry) : order.lo[entry]))).toEqual(
          list.map((each) => (each < 0 ? each : lo(each))).reverse()
        )
        expect(order.blocks).toBe(list.reduce((sum, each) => sum + Math.max(1, -each), 0))
      }),
      { numRuns: 50 }
    )
  })

  it("tells positions to within a 128th of what is listed, however long it is used", () => {
    const order = new CacheOrder(1024)
    // Some are remembered from before the others.
    for (let name = 1_000; name < 3_000; name++) order.append(order.add(lo(name), hi(name), -1))
    order.reserve(1_000)
    for (let name = 999; name >= 0; name--) order.prepend(order.add(lo(name), hi(name), -1))
    order.rewind()
    for (let entry = order.newest, at = 0; entry >= 0; entry = order.older[entry]!, at++) {
      expect(Math.abs(order.position(entry) - at)).toBeLessThan(3_000 / 128)
    }
    let turn = 0
    for (let use = 0; use < 100_000; use++) {
      turn = (Math.imul(turn, 1_103_515_245) + 12_345) & 0x7fff_ffff
      // The younger half of the names is used, the others sink.
      const entry = order.find(lo(1_500 + ((turn >>> 8) % 1_500)), hi(1_500 + ((turn >>> 8) % 1_500)))
      order.unlink(entry)
      order.append(entry)
    }
    order.rewind()
    let position = 0
    for (let entry = order.newest; entry >= 0; entry = order.older[entry]!) {
      expect(Math.abs(order.position(entry) - position++)).toBeLessThan(3_000 / 128)
    }
  })
})
