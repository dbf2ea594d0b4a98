/**
 * RecentPrompts: the block keys of the newest requests, for whoever asks which prefixes are hot. A request costs one copy of at
 * most 4 KB; nothing is made of it before somebody asks. Keys say nothing of the text.
 */
import type { KeyLanes } from "../domain/Block.ts"

export interface RecentPrompt {
  readonly model: string
  readonly blockSize: number
  /** The first `blocksMax`. */
  readonly keys: KeyLanes
}

/** 8 192 tokens of a prompt, where blocks are vLLM's. */
export const blocksMax = 512
const requestsMax = 1_000

export class RecentPrompts {
  private readonly ring: Array<RecentPrompt> = []
  private next = 0

  /** Prompts of less than a block have no keys, and requests of several prompts no one beginning: they are not kept. */
  add(model: string, blockSize: number, keys: KeyLanes): void {
    if (keys.length === 0) return
    this.ring[this.next] = { model, blockSize, keys: keys.slice(0, 2 * blocksMax) }
    this.next = (this.next + 1) % requestsMax
  }

  /** In no order. To be read only. */
  all(): ReadonlyArray<RecentPrompt> {
    return this.ring
  }
}
