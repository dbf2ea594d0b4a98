import fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { KeyLanes } from "../../src/domain/Block.ts"
import * as PrefixTrie from "../../src/hot/PrefixTrie.ts"

/** One key for each beginning of a word, never the same for two. */
const keyed = (words: ReadonlyArray<string>): ReadonlyArray<KeyLanes> => {
  const numbers = new Map<string, number>()
  return words.map((word) => {
    const keys = new Int32Array(2 * word.length)
    for (let i = 0; i < word.length; i++) {
      const beginning = word.slice(0, i + 1)
      if (!numbers.has(beginning)) numbers.set(beginning, numbers.size)
      const number = numbers.get(beginning)!
      keys[2 * i] = Math.imul(number, 0x9e37_79b1)
      keys[2 * i + 1] = number - 7
    }
    return keys
  })
}

/** `word:count`, of each node, by what is written there. */
const flat = (nodes: ReadonlyArray<PrefixTrie.Node>, words: ReadonlyArray<string>): ReadonlyArray<string> =>
  nodes.flatMap(({ blocks, chain, children, count }) => [
    `${words[chain]!.slice(0, blocks)}:${count}`,
    ...flat(children, words)
  ])

/** Beginnings that enough words share, where not all of these go on in one way. */
const naive = (words: ReadonlyArray<string>, least: number): ReadonlyArray<string> => {
  const beginnings = new Set(words.flatMap((word) => [...word].map((_, i) => word.slice(0, i + 1))))
  return [...beginnings].flatMap((beginning) => {
    const below = words.filter((word) => word.startsWith(beginning))
    const ways = new Set(below.map((word) => word[beginning.length] ?? ""))
    return below.length >= least && (ways.size > 1 || ways.has("")) ? [`${beginning}:${below.length}`] : []
  })
}

describe("PrefixTrie", () => {
  it("finds where prompts part, and how many go each way", () => {
    const words = ["systemA", "systemA", "systemB", "systemB", "other"]
    expect(flat(PrefixTrie.build(keyed(words), 2, 100), words)).toEqual(["system:4", "systemB:2", "systemA:2"])
  })

  it("has the beginnings that a naive search finds, for any prompts", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 9 })
    fc.assert(
      fc.property(fc.array(word, { maxLength: 40 }), fc.integer({ min: 1, max: 4 }), (words, least) => {
        const found = flat(PrefixTrie.build(keyed(words), least, 1_000), words)
        expect([...found].sort()).toEqual([...naive(words, least)].sort())
      }),
      { seed: 1, numRuns: 500 }
    )
  })

  it("keeps the most frequent where there are too many, and with each what it goes on from", () => {
    const words = ["aa", "aa", "aa", "ab", "ab", "b", "b", "b", "b", "b", "b"]
    expect(flat(PrefixTrie.build(keyed(words), 2, 3), words)).toEqual(["b:6", "a:5", "aa:3"])
  })
})
