import { describe, expect, it } from "vitest"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import * as Lineage from "../../../loadtest/replay/Lineage.ts"

const requests = (...lists: ReadonlyArray<ReadonlyArray<number>>) =>
  lists.map((blocks) => ({ blocks: Float64Array.from(blocks) }))

/** By definition, request by request: the longest prefix shared with an earlier one, if deeper than what is common. */
const naive = (all: ReadonlyArray<{ readonly blocks: Float64Array }>): ReadonlyArray<number> => {
  const most = Math.max(10, all.length / 100)
  const isCommon = (id: number) => all.filter(({ blocks }) => blocks.includes(id)).length > most
  const sessions: Array<number> = []
  let count = 0
  for (const [i, { blocks }] of all.entries()) {
    let longest = 0
    let of = -1
    for (let j = 0; j < i; j++) {
      const other = all[j]!.blocks
      let depth = 0
      while (depth < blocks.length && depth < other.length && blocks[depth] === other[depth]) depth++
      if (depth > longest) [longest, of] = [depth, j]
    }
    sessions.push(longest > 0 && !isCommon(blocks[longest - 1]!) ? sessions[of]! : count++)
  }
  return sessions
}

describe("Lineage.sessions", () => {
  it("continues the session whose prompt a request begins with, whatever came between", () => {
    expect([...Lineage.sessions(requests([1, 2], [7], [1, 2, 3], [8, 9], [1, 2, 3, 4], [7, 20]))]).toEqual([
      0, 1, 0, 2, 0, 1
    ])
  })

  it("does not take requests for one session because they share a system prompt", () => {
    const prompts = Array.from({ length: 50 }, (_, i) => [0, 1, 100 + i])
    const all = requests(...prompts, [0, 1, 103, 200], [0, 1], [0, 1])
    const sessions = Lineage.sessions(all)
    expect(new Set(sessions.subarray(0, 50)).size).toBe(50)
    expect(sessions[50]).toBe(sessions[3])
    // Nothing of their own: nobody can tell.
    expect([...sessions.subarray(51)]).toEqual([50, 51])
  })

  it("finds what comparing each prompt with all before it finds", () => {
    for (const seed of [1, 2, 3]) {
      const { requests } = Generated.arrivals(seed, 120_000, 4)
      expect([...Lineage.sessions(requests)]).toEqual(naive(requests))
    }
  })

  it("finds again the conversations of a trace made up", () => {
    const { requests } = Generated.arrivals(4, 1_000_000, 4)
    const found = Lineage.sessions(requests)
    const pairs = new Set(requests.map(({ session }, i) => `${session} ${found[i]}`))
    const known = new Set(requests.map(({ session }) => session))
    expect(pairs.size).toBeLessThan(1.02 * known.size)
    expect(new Set(found).size).toBeLessThan(1.02 * known.size)
    expect(new Set(found).size).toBeGreaterThan(0.98 * known.size)
  })
})
