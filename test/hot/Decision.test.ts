import { describe, expect, it } from "vitest"
import * as Random from "../../loadtest/Random.ts"
import * as Bookings from "../../src/hot/Bookings.ts"
import * as Cost from "../../src/hot/Cost.ts"
import * as Decision from "../../src/hot/Decision.ts"
import * as LoadTable from "../../src/hot/LoadTable.ts"

const workersMax = 8

/** A fleet with some minutes of work behind it: unequal workers, hints, doubts, and requests still out. */
const used = (seed: number, joined: number) => {
  const random = Random.make(seed)
  const upTo = (most: number) => Math.floor(random() * most)
  const load = LoadTable.make(workersMax)
  for (let slot = 0; slot < joined; slot++) LoadTable.join(load, slot, slot === 1 ? 0 : 200_000)
  for (let slot = 1; slot < joined; slot += 3) LoadTable.setPriority(load, slot, 0)
  const open: Array<number> = []
  let nowMs = 0
  for (let i = 0; i < 400; i++, nowMs += random() * 200) {
    const slot = upTo(joined)
    const booking = Bookings.book(load, slot, 1 + upTo(40_000), upTo(1_000), random() < 0.8, nowMs, i % 3)
    const tookMs = slot === 0 ? 4_000 : 300
    Bookings.firstByte(load, booking, nowMs + tookMs * random())
    if (i < 380) Bookings.settle(load, booking, 10 + upTo(500), Number.NaN, true, nowMs + tookMs + 3_000 * random())
    else open.push(Bookings.book(load, upTo(joined), 1 + upTo(40_000), 0, true, nowMs, i % 3))
  }
  for (let slot = 0; slot < joined; slot += 2) LoadTable.hint(load, slot, upTo(9), random(), nowMs)
  Bookings.passing(load, seed % 3)
  load.credit[upTo(joined)] = random()
  load.eligible[upTo(joined)] = 0
  const cached = Uint32Array.from({ length: workersMax }, () => (random() < 0.5 ? 0 : upTo(20_000)))
  return { load, cached, promptTokens: 1 + upTo(40_000), nowMs: nowMs + 1_000 * random(), start: upTo(joined) }
}

describe("Decision", () => {
  it("comes to the same placement and the same terms, to the last bit, from nothing but its JSON", () => {
    const chosen = new Set<number>()
    let ownRates = 0
    let passed = 0
    for (let seed = 1; seed <= 200; seed++) {
      const { cached, load, nowMs, promptTokens, start } = used(seed, 1 + (Math.floor(seed / 20) % workersMax))
      const decision = Decision.of(load, cached, promptTokens, nowMs, start)
      const read = JSON.parse(JSON.stringify(decision)) as Decision.Decision
      expect(Decision.again(read)).toEqual(Cost.explain(load, cached, promptTokens, nowMs, start))
      chosen.add(Decision.again(read).slot)
      passed += Math.sign(Math.max(...read.load.passedMs))
      ownRates += Object.keys(read.rates.prefill).length
    }
    expect(chosen.size).toBeGreaterThanOrEqual(workersMax)
    expect(ownRates).toBeGreaterThan(100)
    expect(passed).toBeGreaterThan(50)
  })

  it("knows nothing of the decision it made again before", () => {
    const { cached, load, nowMs, promptTokens, start } = used(5, 4)
    const young = LoadTable.make(4)
    for (let slot = 0; slot < 4; slot++) LoadTable.join(young, slot, 200_000)
    for (let slot = 0; slot < 4; slot++) {
      Bookings.firstByte(young, Bookings.book(young, slot, 9_000, 0, true, 0), 200)
    }
    const first = Cost.explain(young, cached, promptTokens, 300, 0)
    Decision.again(Decision.of(load, cached, promptTokens, nowMs, start))
    expect(Decision.again(Decision.of(young, cached, promptTokens, 300, 0))).toEqual(first)
  })

  it("remembers between whom a tie was broken", () => {
    const load = LoadTable.make(3)
    for (let slot = 0; slot < 3; slot++) LoadTable.join(load, slot, 0)
    const slots = [0, 1, 2].map((start) => Decision.again(Decision.of(load, new Uint32Array(3), 100, 0, start)).slot)
    expect(slots).toEqual([0, 1, 2])
  })

  it("leaves out nothing that the cost reads", () => {
    const watched = <A extends object>(of: A, read: Set<string>): A =>
      new Proxy(of, {
        get: (target, name) => {
          read.add(String(name))
          return Reflect.get(target, name) as unknown
        }
      })
    const { cached, load, nowMs, promptTokens, start } = used(3, workersMax)
    const ofLoad = new Set<string>()
    const ofRates = new Set<string>()
    Cost.explain(
      watched({ ...load, rates: watched(load.rates, ofRates) }, ofLoad),
      cached,
      promptTokens,
      nowMs,
      start,
      load.eligible
    )
    const told = new Set<string>([...Decision.figures, ...Decision.columns, "hintMs", "rates", "slots"])
    expect([...ofLoad].filter((name) => !told.has(name))).toEqual([])
    expect([...ofRates].toSorted()).toEqual(["decodes", "row", "theta", "workersMax"])
  })
})
