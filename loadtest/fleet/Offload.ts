/**
 * Where blocks go that the device gives up: host memory, then disk, then an external store, each a list by last use.
 *
 *   device ──evicts──▶ host ──▶ disk ──▶ external ──▶ gone        a block used again is copied back, and stays here
 *
 * A tier of size 0 is passed over. Stores are told before the removals they follow from, so that whoever listens never
 * loses sight of a block that moves. O(1) a call.
 */
import type { Block, Tier } from "./CacheEvent.ts"

export interface OffloadListener {
  readonly stored: (tier: Tier, block: Block) => void
  readonly removed: (tier: Tier, block: Block) => void
}

/** Blocks of each tier. */
export type Sizes = Readonly<Record<Exclude<Tier, "device">, number>>

interface Level {
  readonly tier: Tier
  readonly size: number
  /** Oldest use first. */
  readonly blocks: Map<string, Block>
}

export class Offload {
  readonly #levels: ReadonlyArray<Level>
  readonly #listener: OffloadListener

  constructor(sizes: Sizes, listener: OffloadListener) {
    this.#listener = listener
    this.#levels = (["host", "disk", "external"] as const)
      .map((tier) => ({ tier, size: sizes[tier], blocks: new Map() }))
      .filter(({ size }) => size > 0)
  }

  /** The device gives a block up. */
  take(block: Block): void {
    this.#put(0, block)
  }

  /** Whether any tier holds it; if so it counts as used now. */
  use(key: string): boolean {
    let found = false
    for (const { blocks } of this.#levels) {
      const block = blocks.get(key)
      if (block === undefined) continue
      blocks.delete(key)
      blocks.set(key, block)
      found = true
    }
    return found
  }

  has(tier: Tier, key: string): boolean {
    return this.#levels.some((level) => level.tier === tier && level.blocks.has(key))
  }

  holds(key: string): boolean {
    return this.#levels.some(({ blocks }) => blocks.has(key))
  }

  clear(): void {
    for (const { blocks } of this.#levels) blocks.clear()
  }

  #put(index: number, block: Block): void {
    const level = this.#levels[index]
    if (level === undefined || level.blocks.has(block.key)) return
    // First of all, so that it is known to be held whatever goes below.
    level.blocks.set(block.key, block)
    this.#listener.stored(level.tier, block)
    if (level.blocks.size <= level.size) return
    const [oldest] = level.blocks.values()
    this.#put(index + 1, oldest!)
    level.blocks.delete(oldest!.key)
    this.#listener.removed(level.tier, oldest!)
  }
}
