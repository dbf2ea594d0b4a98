import { describe, expect, it } from "vitest"
import * as Match from "../../src/http/Match.ts"
import type { Hashed } from "../../src/http/PromptBlocks.ts"

const workersMax = 4

/** Prompts of 1 000 tokens, cut to whatever size is asked for. */
const hashed = (prompts: number, tokens = 1_000): Hashed => ({
  ...{ prompts, promptTokens: prompts * tokens, exact: true },
  keysFor: (blockSize) =>
    Array.from({ length: prompts }, () => {
      const count = Math.floor(tokens / blockSize)
      return { keys: Int32Array.from({ length: 2 * count }, () => blockSize), count, tokens }
    })
})

describe("what a slot has of the prompt just matched", () => {
  it("is what the index said of blocks of its own size, layer by layer", () => {
    const match = Match.make({
      // Blocks of 16: on devices only. Of 32: on farther tiers, too, and by guess.
      depths: (keys, _count, out) => {
        const layers =
          keys[0] === 16
            ? [[3, 0, 5]]
            : [
                [0, 1],
                [0, 2],
                [0, 2],
                [0, 2],
                [0, 9]
              ]
        out.fill(0)
        for (const [layer, slots] of layers.entries()) out.set(slots, layer * workersMax)
        return layers.length > 1
      },
      blockSizes: Uint32Array.of(16, 32, 16, 16),
      workersMax
    })
    match(hashed(1), Uint8Array.of(1, 1, 1, 1), null)
    expect([0, 1, 2, 3].map(match.blocksOf)).toEqual([
      [3, 3, 3, 3, 0],
      [1, 2, 2, 2, 9],
      [5, 5, 5, 5, 0],
      [0, 0, 0, 0, 0]
    ])
    match(hashed(2), Uint8Array.of(1, 0, 1, 0), null)
    expect([0, 2].map(match.blocksOf)).toEqual([
      [3, 3, 3, 3, 0],
      [5, 5, 5, 5, 0]
    ])
    match(hashed(1), Uint8Array.of(0, 1, 0, 0), null)
    expect(match.blocksOf(1)).toEqual([1, 2, 2, 2, 9])
    // Shorter than a block: nothing of it can be held, and what was matched before says nothing.
    match(hashed(1, 10), Uint8Array.of(1, 0, 1, 0), null)
    expect([0, 2].map(match.blocksOf)).toEqual([
      [0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0]
    ])
  })
})
