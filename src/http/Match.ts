/**
 * The `match` phase: what each eligible worker holds of a request's prompts, in tokens.
 *
 * Workers of one fleet may cut prompts into blocks of different sizes: each size is hashed and looked up by itself.
 * O(slots) for each prompt and size. The answer's two columns are the matcher's own: good until its next call.
 */
import type { Ask } from "../../actors/Ledger.ts"
import type { Overflow } from "../../actors/Overflow.ts"
import type { Pictures } from "../../actors/Pictures.ts"
import type { PrefixIndex } from "../../actors/PrefixIndex.ts"
import type { KeyLanes } from "../domain/Block.ts"
import { GUESS, layersMax } from "../domain/Tier.ts"
import * as Overlap from "../hot/Overlap.ts"
import type * as PromptBlocks from "./PromptBlocks.ts"

export interface Deps {
  /** Who holds how many leading blocks of a prompt, layer by layer: see `PrefixIndex`. */
  readonly depths: PrefixIndex["Service"]["depths"]
  readonly blockSizes: Pictures["blockSizes"]
  /** Where there is a store: what it knows of prompts that go on where the index ends. */
  readonly overflow?: Overflow
  readonly workersMax: number
}

const none: KeyLanes = new Int32Array(0)

export interface Match {
  /** Fills in what every eligible worker holds, and answers with what the ledger wants to know. */
  (hashed: PromptBlocks.Hashed, eligible: Uint8Array, priority: Ask["priority"]): Ask
  /** Leading blocks of the last prompt matched that a slot has, by layer: `Trail.Known`. Only of slots that were eligible. */
  readonly blocksOf: (slot: number) => ReadonlyArray<number>
}

/** The most that any of the slots that may be chosen holds. */
export const most = (tokens: Uint32Array, eligible: Uint8Array): number => {
  let best = 0
  for (let slot = 0; slot < eligible.length; slot++) if (eligible[slot] === 1) best = Math.max(best, tokens[slot]!)
  return best
}

const noBlocks: ReadonlyArray<number> = Array.from({ length: layersMax }, () => 0)

export const make = ({ blockSizes: sizeBySlot, depths: depthsOf, overflow, workersMax }: Deps): Match => {
  const depths = new Uint32Array(layersMax * workersMax)
  const cachedTokens = new Uint32Array(workersMax)
  const heldTokens = new Uint32Array(workersMax)
  /** Block size by slot, 0 for those that are not eligible; and the sizes there are. */
  const blockSizes = new Uint32Array(workersMax)
  const sizes: Array<number> = []
  /** What `depths` tells: of no prompt, of devices only, of all layers. */
  let told: "nothing" | "devices" | "layers" = "nothing"
  /** Where workers of several sizes were asked: the depths of each at its own size. */
  let kept: Uint32Array | null = null

  const keep = (blockSize: number, slots: number): void => {
    kept ??= new Uint32Array(layersMax * workersMax)
    for (let slot = 0; slot < slots; slot++) {
      if (blockSizes[slot] !== blockSize) continue
      for (let layer = 0; layer < layersMax; layer++) kept[layer * workersMax + slot] = depthAt(layer, slot)
    }
  }

  /** A tier contains the nearer ones; a guess does not. */
  const depthAt = (layer: number, slot: number): number => {
    if (told === "layers") return depths[layer * workersMax + slot]!
    return told === "nothing" || layer === GUESS ? 0 : depths[slot]!
  }

  const blocksOf = (slot: number): ReadonlyArray<number> => {
    if (sizes.length > 1) return Array.from({ length: layersMax }, (_, layer) => kept![layer * workersMax + slot]!)
    if (told === "nothing" || (told === "devices" && depths[slot] === 0)) return noBlocks
    return [depthAt(0, slot), depthAt(1, slot), depthAt(2, slot), depthAt(3, slot), depthAt(4, slot)]
  }

  const match = (hashed: PromptBlocks.Hashed, eligible: Uint8Array, priority: Ask["priority"]): Ask => {
    const slots = eligible.length
    cachedTokens.fill(0)
    heldTokens.fill(0)
    sizes.length = 0
    told = "nothing"
    overflow?.begin()
    let blockSize = 0
    for (let slot = 0; slot < slots; slot++) {
      const size = eligible[slot] === 0 ? 0 : sizeBySlot[slot]!
      blockSizes[slot] = size
      if (size === 0 || size === blockSize) continue
      blockSize = size
      if (!sizes.includes(size)) sizes.push(size)
    }
    let keys: KeyLanes = none
    for (let i = 0; i < sizes.length; i++) {
      blockSize = sizes[i]!
      told = "nothing"
      const prompts = hashed.keysFor(blockSize)
      for (const prompt of prompts) {
        if (prompt.count === 0) continue
        let layered = depthsOf(prompt.keys, prompt.count, depths)
        if (overflow !== undefined) {
          const { count, keys } = prompt
          layered = overflow.raise(keys, count, depths, workersMax, slots, blockSizes, blockSize, layered)
        }
        told = layered ? "layers" : "devices"
        // An engine always computes the last token: of a prompt it holds whole, the last block is computed again.
        const most = Math.floor((prompt.tokens - 1) / blockSize)
        Overlap.addAll(depths, workersMax, slots, blockSizes, layered, most, blockSize, heldTokens, cachedTokens)
      }
      if (sizes.length > 1) keep(blockSize, slots)
      // What is on its way is compared by one chain of keys: only where there is one prompt and one block size.
      if (prompts.length === 1 && sizes.length === 1) keys = prompts[0]!.keys
    }
    return { cachedTokens, heldTokens, promptTokens: hashed.promptTokens, keys, blockSize, priority, eligible }
  }
  return Object.assign(match, { blocksOf })
}
