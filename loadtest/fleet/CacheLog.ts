/**
 * What a rank's tiers hold, and what there is to tell of it: from what the scheduler does to blocks to the events of a
 * step, in the order they happened.
 *
 * The device is the scheduler's; here are the tiers below it and the sliding-window group.
 */
import * as CacheDump from "./CacheDump.ts"
import type { Block, CacheEvent, Namer, Tier } from "./CacheEvent.ts"
import * as Generation from "./Generation.ts"
import { Offload, type Sizes } from "./Offload.ts"
import type { SimOptions } from "./SimOptions.ts"
import { type Announced, SlidingWindow } from "./SlidingWindow.ts"

/** A request as its blocks see it. */
export interface Blocks extends Generation.Generation {
  /** Its leading ones, as far as they were asked for. */
  readonly blocks: Array<Block>
  /** What the sliding-window group keeps of them. */
  readonly window: Array<Announced>
}

export class CacheLog {
  readonly #options: SimOptions
  readonly #name: Namer
  /** Copies on the device. */
  readonly #copies: (key: string) => number
  /** Blocks that some tier holds. */
  readonly #held = new Map<string, Block>()
  readonly #offload: Offload
  readonly #window: SlidingWindow | undefined
  #pending: Array<CacheEvent> = []

  constructor(options: SimOptions, namer: Namer, copies: (key: string) => number) {
    this.#options = options
    this.#name = namer
    this.#copies = copies
    this.#window = options.slidingWindow > 0 ? new SlidingWindow(options.slidingWindow) : undefined
    this.#offload = new Offload(sizesOf(options), {
      stored: (tier, block) => this.#pending.push({ _tag: "Stored", tier, blocks: [block] }),
      removed: (tier, block) => {
        this.#pending.push({ _tag: "Removed", tier, block })
        this.#forget(block.key)
      }
    })
  }

  /** Key of a request's next block. */
  next(of: Blocks): string {
    const size = this.#options.blockSize
    const from = of.blocks.length * size
    const block = this.#named({
      parent: of.blocks.at(-1) ?? null,
      tokenIds: Generation.tokens(of, from, from + size),
      salt: of.salt,
      lora: of.lora,
      mm: Generation.mmKeys(of, from, from + size)
    })
    of.blocks.push(block)
    return block.key
  }

  /** Blocks `[from, to)` of a request that has `computed` tokens came to the device. */
  stored(of: Blocks, from: number, to: number, computed: number): void {
    const start = from * this.#options.blockSize
    const blocks = of.blocks.slice(from, to)
    for (const block of blocks) this.#held.set(block.key, block)
    this.#pending.push({ _tag: "Stored", tier: "device", blocks })
    if (this.#window !== undefined) this.#pending.push(...this.#window.stored(of.window, blocks, start, computed))
  }

  /** Tells again of a request's first blocks, as if they had come now. */
  again(of: Blocks, count: number): void {
    if (count > 0) this.#pending.push({ _tag: "Stored", tier: "device", blocks: of.blocks.slice(0, count) })
  }

  /** A copy left the device. */
  removed(key: string): void {
    const block = this.#held.get(key)!
    this.#offload.take(block)
    this.#pending.push({ _tag: "Removed", tier: "device", block })
    if (this.#copies(key) > 0) return
    if (this.#window !== undefined) this.#pending.push(...this.#window.evicted(block))
    this.#forget(key)
  }

  /** Whether a tier below the device holds it; if so it counts as used now. */
  loadable(key: string): boolean {
    return this.#offload.use(key)
  }

  clear(): void {
    this.#held.clear()
    this.#offload.clear()
    this.#window?.clear()
    this.#pending.push({ _tag: "Cleared" })
  }

  /** What happened since the last call. */
  take(): ReadonlyArray<CacheEvent> {
    const events = this.#pending
    this.#pending = []
    return events
  }

  /** Blocks in one chain, of tokens nobody asked for. They are not held. */
  chain(tokenIds: ReadonlyArray<number>): ReadonlyArray<Block> {
    const size = this.#options.blockSize
    const blocks: Array<Block> = []
    for (let i = 0; (i + 1) * size <= tokenIds.length; i++) {
      const facts = { tokenIds: tokenIds.slice(i * size, (i + 1) * size), parent: blocks.at(-1) ?? null }
      blocks.push(this.#named({ ...facts, salt: null, lora: null, mm: [] }))
    }
    return blocks
  }

  /** The true cache: every block once, each parent before its children. */
  dump(): ReadonlyArray<CacheDump.CachedBlock> {
    const tiered = Object.values(sizesOf(this.#options)).some((size) => size > 0)
    return CacheDump.cached(this.#held, (key) => this.#tiers(key), tiered)
  }

  /** The same with every ancestor, held or not, so that each chain begins at a first block. */
  truth(): ReadonlyArray<CacheDump.TrueBlock> {
    return CacheDump.truth(this.#held, (key) => this.#tiers(key))
  }

  #named(facts: Parameters<Namer>[0]): Block {
    const name = this.#name(facts)
    return this.#held.get(name.key) ?? { ...name, ...facts }
  }

  /** When no tier holds it any more. */
  #forget(key: string): void {
    if (this.#copies(key) === 0 && !this.#offload.holds(key)) this.#held.delete(key)
  }

  #tiers(key: string): CacheDump.Tiers {
    const on = (tier: Tier) => (this.#offload.has(tier, key) ? 1 : 0)
    return { device: this.#copies(key), host: on("host"), disk: on("disk"), external: on("external") }
  }
}

const sizesOf = ({ diskBlocks, externalBlocks, hostBlocks }: SimOptions): Sizes => ({
  host: hostBlocks,
  disk: diskBlocks,
  external: externalBlocks
})
