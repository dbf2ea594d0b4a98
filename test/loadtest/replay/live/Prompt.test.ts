import { describe, expect, it } from "vitest"
import * as Random from "../../../../loadtest/Random.ts"
import * as Prompt from "../../../../loadtest/replay/live/Prompt.ts"
import { copyIds, type Request } from "../../../../loadtest/replay/Trace.ts"

const request = (blocks: ReadonlyArray<number>, promptTokens: number): Request => ({
  session: null,
  promptTokens,
  outputTokens: 1,
  blocks: Float64Array.from(blocks)
})
const idsOf = (text: string): ReadonlyArray<number> => JSON.parse(`[${text}]`) as Array<number>

/** Leading tokens that two prompts share. */
const shared = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  let same = 0
  while (same < a.length && a[same] === b[same]) same++
  return same
}

describe("Prompt.make", () => {
  it("makes prompts of exactly as many tokens as the trace says, of ids every vocabulary has", () => {
    const make = Prompt.make(32)
    for (const tokens of [1, 5, 31, 64, 65, 70, 90, 95, 96, 200]) {
      const blocks = Array.from({ length: Math.min(3, Math.floor(tokens / 32)) }, (_, i) => i)
      const ids = idsOf(make(request(blocks, tokens), 7))
      expect(ids).toHaveLength(tokens)
      expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id <= 10)).toBe(true)
    }
  })

  it("makes prompts that share whole blocks exactly as far as their lists agree, for ids of any copy or session", () => {
    const random = Random.make(3)
    const make = Prompt.make(16)
    const id = () => {
      const small = Math.floor(random() * 3)
      // Common blocks of sessions are below zero; copies of a trace are far apart.
      return random() < 0.3 ? -1 - small : small + Math.floor(random() * 3) * 1_000 * copyIds
    }
    for (let round = 0; round < 500; round++) {
      const a = Array.from({ length: 1 + Math.floor(random() * 6) }, id)
      const b = random() < 0.5 ? [...a.slice(0, Math.floor(random() * a.length)), id(), id()] : a.map(id)
      const agree = shared(a, b)
      const tokens = shared(
        idsOf(make(request(a, a.length * 16 + 15), round)),
        idsOf(make(request(b, b.length * 16 + 15), round + 1_000))
      )
      expect(Math.floor(tokens / 16)).toBe(agree)
    }
  })

  it("never takes one block for another", () => {
    const make = Prompt.make(16)
    const ids = [0, 1, -1, 2, 9, 10, -10, 99, copyIds, copyIds + 1, -copyIds, 4_000 * copyIds, 2 ** 51 - 1, -(2 ** 51)]
    expect(new Set(ids.map((id) => make(request([id], 16), 0))).size).toBe(ids.length)
  })

  it("sets what comes behind the last full block apart from every other request's, and from any block", () => {
    const make = Prompt.make(16)
    const tails = [0, 1, 2, 30].map((serial) => make(request([4], 16 + 40), serial).slice(2 * 16))
    expect(new Set(tails).size).toBe(4)
    expect(tails.map((tail) => idsOf(tail)[0])).toEqual([10, 10, 10, 10])
  })

  it("refuses blocks that are too small to say which they are", () => {
    expect(() => Prompt.make(8)).toThrow("Blocks of 8 tokens cannot hold an id: at least 16.")
  })
})
