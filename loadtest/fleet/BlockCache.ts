/**
 * A paged prefix cache as vLLM V1 keeps it: a fixed number of blocks, reference counts, one LRU queue of free blocks.
 *
 *   free queue   head ◀─ next to be reused … last freed ─▶ tail      a cached free block is hittable until it is reused
 *
 * `touch` takes cached blocks back out of the queue; `allocate` takes blocks off its head, which evicts what they held;
 * `release` puts blocks whose last reference goes at its tail, the last block of the sequence first, so that of one
 * sequence the tail is evicted before the head. Several blocks may hold one key (a fully cached prompt recomputes its
 * last block); a hit uses the oldest copy, and each copy is evicted on its own.
 *
 * Pure and synchronous: no clock, no I/O, and no knowledge of what a key is. All calls are O(blocks touched).
 * Source: vllm-project/vllm `vllm/v1/core/block_pool.py`, `kv_cache_utils.py` (`FreeKVCacheBlockQueue`). vLLM keeps one
 * block aside as a placeholder; here every block can be used.
 */
const NONE = -1

export class BlockCache<K> {
  readonly blocks: number
  /** Called for each copy that is evicted. */
  readonly #removed: (key: K) => void
  readonly #refs: Int32Array
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #keys: Array<K | undefined>
  /** Block, or blocks in order of age, that hold a key. */
  readonly #holders = new Map<K, number | Array<number>>()
  #head = NONE
  #tail = NONE
  #free = 0
  #cached = 0

  constructor(blocks: number, removed: (key: K) => void) {
    this.blocks = blocks
    this.#removed = removed
    this.#refs = new Int32Array(blocks)
    this.#next = new Int32Array(blocks)
    this.#previous = new Int32Array(blocks)
    this.#keys = Array.from<K | undefined>({ length: blocks })
    for (let block = 0; block < blocks; block++) this.#append(block)
  }

  /** Blocks that no request holds, cached or not. */
  get free(): number {
    return this.#free
  }

  /** Blocks that hold a key, copies counted. */
  get cached(): number {
    return this.#cached
  }

  /** Distinct keys held. */
  get keys(): number {
    return this.#holders.size
  }

  /** Copies of one key. */
  copies(key: K): number {
    const holders = this.#holders.get(key)
    return holders === undefined ? 0 : typeof holders === "number" ? 1 : holders.length
  }

  /** Any block that holds the key, or -1. */
  find(key: K): number {
    const holders = this.#holders.get(key)
    return holders === undefined ? NONE : typeof holders === "number" ? holders : holders[0]!
  }

  /** One more reference to a cached block. */
  touch(block: number): void {
    if (this.#refs[block] === 0) this.#unlink(block)
    this.#refs[block]!++
  }

  /** Takes the block that was freed longest ago, evicting what it held; -1 when none is free. */
  allocate(): number {
    const block = this.#head
    if (block === NONE) return NONE
    this.#unlink(block)
    this.#refs[block] = 1
    const key = this.#keys[block]
    if (key !== undefined) {
      this.#forget(block, key)
      this.#removed(key)
    }
    return block
  }

  /** The block is full and computed: from now on it can be hit. */
  commit(block: number, key: K): void {
    this.#keys[block] = key
    this.#cached++
    const holders = this.#holders.get(key)
    if (holders === undefined) this.#holders.set(key, block)
    else if (typeof holders === "number") this.#holders.set(key, [holders, block])
    else holders.push(block)
  }

  /** Gives back one reference to each block of a sequence, given from its head to its tail. */
  release(blocks: ReadonlyArray<number>): void {
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i]!
      if (--this.#refs[block]! === 0) this.#append(block)
    }
  }

  /** Forgets everything, silently. Refused, and false, while any block is held. */
  reset(): boolean {
    if (this.#free !== this.blocks) return false
    this.#keys.fill(undefined)
    this.#holders.clear()
    this.#cached = 0
    return true
  }

  #forget(block: number, key: K): void {
    this.#keys[block] = undefined
    this.#cached--
    const holders = this.#holders.get(key)!
    if (typeof holders === "number") this.#holders.delete(key)
    else {
      holders.splice(holders.indexOf(block), 1)
      if (holders.length === 1) this.#holders.set(key, holders[0]!)
    }
  }

  #append(block: number): void {
    this.#previous[block] = this.#tail
    this.#next[block] = NONE
    if (this.#tail === NONE) this.#head = block
    else this.#next[this.#tail] = block
    this.#tail = block
    this.#free++
  }

  #unlink(block: number): void {
    const next = this.#next[block]!
    const previous = this.#previous[block]!
    if (previous === NONE) this.#head = next
    else this.#next[previous] = next
    if (next === NONE) this.#tail = previous
    else this.#previous[next] = previous
    this.#free--
  }
}
