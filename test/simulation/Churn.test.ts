import { beforeAll, describe, expect, it } from "vitest"
import * as ChurnDay from "./ChurnDay.ts"

const minuteMs = 60_000

describe("a fleet whose workers join and leave", () => {
  let hour: ChurnDay.Day
  beforeAll(async () => {
    hour = await ChurnDay.run(1, 6, 10 * minuteMs)
  })

  it("leaves nothing behind of a worker that left, keeps every table in bounds, and shows caches as they are", () => {
    expect(hour.wrongs).toEqual([])
  })

  it("was put to the test: slots were given again, an index too small evicted, most pictures could be compared", () => {
    const { counts, looks } = hour
    expect(counts.requests).toBeGreaterThan(2_000)
    expect(counts.reused).toBeGreaterThan(5)
    expect(counts.restarts).toBeGreaterThan(3)
    expect(looks.at(-1)!.evicted).toBeGreaterThan(1_000)
    const [compared, slots] = looks.reduce(([a, b], look) => [a + look.compared, b + look.slots], [0, 0])
    expect(compared).toBeGreaterThan(slots! / 2)
  })

  it("takes the place of events by guesses where there are none", () => {
    expect(hour.looks.some(({ guessed }) => guessed > 0)).toBe(true)
  })
})

describe("memory over a day", () => {
  const day = Array.from({ length: 24 }, (_, hour) => 48 + ((hour * 7) % 5))

  it("is flat while it only follows how many workers there are", () => {
    expect(ChurnDay.growth(day, [30.1, 30.5])).toBeNull()
  })

  it("is not when it grows by an MB an hour", () => {
    expect(
      ChurnDay.growth(
        day.map((mb, hour) => mb + hour),
        [30.1, 30.5]
      )
    ).toContain("last quarter")
  })

  it("is not when something outlives all workers", () => {
    expect(ChurnDay.growth(day, [30.1, 33])).toContain("all workers gone")
  })
})
