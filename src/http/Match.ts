/**
 * The `match` phase: what each eligible worker holds of a request's prompts, in tokens.
 *
 * Workers of one fleet may cut prompts into blocks of different sizes: each size is hashed and looked up by itself.
 * O(slots) for each prompt and size. The answer's two columns are the matcher's own: good until its next call.
 */
import type { Ask } from "../../actors/Ledger.ts"
import type { Pictures } from "../../actors/Pictures.ts"
import type { PrefixIndex } from "../../actors/PrefixIndex.ts"
import { layersMax } from "../domain/Tier.ts"
import * as Overlap from "../hot/Overlap.ts"
import type * as PromptBlocks from "./PromptBlocks.ts"

export interface Deps {
  /** Who holds how many leading blocks of a prompt, layer by layer: see `PrefixIndex`. */
  readonly depths: PrefixIndex["Service"]["depths"]
  readonly blockSizeOf: Pictures["blockSizeOf"]
  readonly workersMax: number
}

/** Fills in what every eligible worker holds, and answers with what the ledger wants to know. */
export type Match = (hashed: PromptBlocks.Hashed, eligible: Uint8Array) => Ask

export const make = ({ blockSizeOf, depths: depthsOf, workersMax }: Deps): Match => {
  const depths = new Uint32Array(layersMax * workersMax)
  const cachedTokens = new Uint32Array(workersMax)
  const heldTokens = new Uint32Array(workersMax)
  return (hashed, eligible) => {
    cachedTokens.fill(0)
    heldTokens.fill(0)
    let keys = new Int32Array(0)
    let blockSize = 0
    const done = new Set<number>()
    for (let slot = 0; slot < eligible.length; slot++) {
      if (eligible[slot] === 0 || done.has(blockSizeOf(slot))) continue
      blockSize = blockSizeOf(slot)
      done.add(blockSize)
      const prompts = hashed.keysFor(blockSize)
      for (const prompt of prompts) {
        if (prompt.count === 0) continue
        const layered = depthsOf(prompt.keys, prompt.count, depths)
        // An engine always computes the last token: of a prompt it holds whole, the last block is computed again.
        const most = Math.floor((prompt.tokens - 1) / blockSize)
        for (let other = slot; other < eligible.length; other++) {
          if (eligible[other] === 0 || blockSizeOf(other) !== blockSize) continue
          Overlap.add(depths, workersMax, other, layered, most, blockSize, heldTokens, cachedTokens)
        }
      }
      if (prompts.length === 1) keys = prompts[0]!.keys as Int32Array<ArrayBuffer>
    }
    // What is on its way is compared by one chain of keys: only where there is one prompt and one block size.
    if (done.size !== 1) keys = new Int32Array(0)
    return { cachedTokens, heldTokens, promptTokens: hashed.promptTokens, keys, blockSize, eligible }
  }
}
