import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type Waiting, WaitingRoom } from "../../src/hot/WaitingRoom.ts"

const guest = (given: Partial<Waiting> = {}): Waiting => ({
  ...{ slot: 0, ownMs: 100, leastMs: 100, bornMs: 0, priority: 0 },
  ...given
})

const workers = 4
const aheadOf = (room: WaitingRoom<Waiting>, { bornMs, leastMs, priority }: Waiting): ReadonlyArray<number> => {
  const out = new Float64Array(workers)
  room.ahead(priority, leastMs, bornMs, out)
  return [...out]
}

describe("Those who wait for a worker", () => {
  it("go the shortest first, whenever they came within a while", () => {
    const room = new WaitingRoom<Waiting>()
    const long = guest({ leastMs: 900 })
    const short = guest({ leastMs: 50, bornMs: 1_000 })
    room.put(long)
    room.put(short)
    expect(room.first(0)).toBe(short)
  })

  it("are not passed for ever: who has waited long goes before who is shorter", () => {
    const room = new WaitingRoom<Waiting>()
    const long = guest({ leastMs: 900 })
    room.put(long)
    room.put(guest({ leastMs: 50, bornMs: 3_000 }))
    expect(room.first(0)).toBe(long)
  })

  it("go by priority before all else", () => {
    const room = new WaitingRoom<Waiting>()
    room.put(guest({ leastMs: 10 }))
    const urgent = guest({ leastMs: 9_000, bornMs: 5_000, priority: -1 })
    room.put(urgent)
    expect(room.first(0)).toBe(urgent)
  })

  it("are all found in as many calls as there are, also several of one worker, while each is put back", () => {
    const room = new WaitingRoom<Waiting>()
    const all = [
      guest({ slot: 1 }),
      guest({ slot: 3 }),
      guest({ slot: 1, leastMs: 50 }),
      guest({ slot: 1, leastMs: 900 })
    ]
    for (const each of all) room.put(each)
    for (const each of all) {
      expect(room.another()).toBe(each)
      room.take(each)
      room.put(each)
    }
    for (const each of all) expect(room.take(each)).toBe(true)
    expect([room.another(), room.size, room.take(all[0]!)]).toEqual([undefined, 0, false])
  })

  it("are ahead of a newcomer exactly as a naive list has it, whatever comes and goes", () => {
    const one = fc.record({
      slot: fc.nat(workers - 1),
      ownMs: fc.integer({ min: 1, max: 500 }),
      leastMs: fc.integer({ min: 1, max: 500 }),
      bornMs: fc.integer({ min: 0, max: 2_000 }),
      priority: fc.integer({ min: -1, max: 1 })
    })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), one, fc.nat()), { maxLength: 60 }), one, (steps, newcomer) => {
        const room = new WaitingRoom<Waiting>()
        const list: Array<Waiting> = []
        for (const [leaves, who, which] of steps) {
          if (leaves && list.length > 0) room.take(list.splice(which % list.length, 1)[0]!)
          else {
            room.put(who)
            list.push(who)
          }
        }
        const rank = ({ bornMs, leastMs }: Waiting) => leastMs + 0.3 * bornMs
        const naive = Array.from({ length: workers }, (_, slot) =>
          list
            .filter((each) => each.slot === slot)
            .filter((each) =>
              each.priority === newcomer.priority ? rank(each) <= rank(newcomer) : each.priority < newcomer.priority
            )
            .reduce((sum, each) => sum + each.ownMs, 0)
        )
        expect(aheadOf(room, newcomer)).toEqual(naive)
        expect(room.size).toBe(list.length)
      }),
      { seed: 1 }
    )
  })
})
