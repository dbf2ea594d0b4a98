/**
 * The second KV-cache group of a hybrid model: layers that look back a window of tokens only. It announces the same
 * hashes as the first, of the blocks it keeps, and takes them back as the window passes on, which says nothing about
 * the first group. A chunk longer than the window is announced whole with the hashes of its end ("masked").
 *
 * Source: vllm-project/vllm `vllm/v1/core/single_type_kv_cache_manager.py` (`SlidingWindowManager`).
 */
import type { Block, CacheEvent } from "./CacheEvent.ts"

/** One announced block and the token it ends before. */
export interface Announced {
  readonly block: Block
  readonly end: number
}

export class SlidingWindow {
  readonly #tokens: number
  /** By key: announcements not taken back yet. */
  readonly #open = new Map<string, number>()

  constructor(tokens: number) {
    this.#tokens = tokens
  }

  /** A request filled `blocks`, the first of them beginning at token `start`; it has `computed` tokens by now. */
  stored(kept: Array<Announced>, blocks: ReadonlyArray<Block>, start: number, computed: number): Array<CacheEvent> {
    const events: Array<CacheEvent> = []
    while (kept.length > 0 && kept[0]!.end <= computed - this.#tokens) {
      const { block } = kept.shift()!
      if (this.#close(block)) events.push({ _tag: "Removed", tier: "device", block, windowed: true })
    }
    let end = start
    const windowed: Array<Block> = []
    for (const block of blocks) {
      end += block.tokenIds.length
      if (end <= computed - this.#tokens) continue
      windowed.push(block)
      kept.push({ block, end })
      this.#open.set(block.key, (this.#open.get(block.key) ?? 0) + 1)
    }
    if (windowed.length > 0) events.push({ _tag: "Stored", tier: "device", blocks, windowed })
    return events
  }

  /** The first group lost its last copy; what this one still announces of it goes too. */
  evicted(block: Block): Array<CacheEvent> {
    const events: Array<CacheEvent> = []
    while (this.#close(block)) events.push({ _tag: "Removed", tier: "device", block, windowed: true })
    return events
  }

  clear(): void {
    this.#open.clear()
  }

  #close({ key }: Block): boolean {
    const open = this.#open.get(key)
    if (open === undefined) return false
    if (open === 1) this.#open.delete(key)
    else this.#open.set(key, open - 1)
    return true
  }
}
