/**
 * What a router remembers of the prompts it sent: by worker, the blocks sent last, as many as it thinks the worker keeps.
 *
 * Each worker has a list by last use. A prompt's last blocks go in first, so they are the first to leave, as they are
 * in engines. A block has one row of bits, a bit a worker.
 */
import { LRUCache } from "lru-cache"
import { BlockRows, lengthened } from "./BlockRows.ts"

export class PlacedPrefixes {
  readonly #words: number
  readonly #rows = new BlockRows()
  #bits: Int32Array
  readonly #kept: ReadonlyArray<LRUCache<number, number>>
  readonly #alive: Uint32Array

  /** At least one block a worker. */
  constructor(workers: number, blocksMax: number) {
    this.#words = (workers + 31) >> 5
    this.#bits = new Int32Array(this.#rows.capacity * this.#words)
    this.#alive = new Uint32Array(this.#words)
    this.#kept = Array.from(
      { length: workers },
      (_, slot) =>
        new LRUCache({
          max: Math.max(1, blocksMax),
          noDisposeOnSet: true,
          dispose: (_sentMs: number, row: number) => this.#drop(slot, row)
        })
    )
  }

  /** A prompt's leading blocks were sent to a worker. */
  add(slot: number, keys: Int32Array, blocks: number, nowMs: number): void {
    const kept = this.#kept[slot]!
    for (let block = blocks - 1; block >= 0; block--) {
      const row = this.#rows.add(keys, block)
      this.#bits = lengthened(this.#bits, this.#rows.capacity * this.#words)
      this.#bits[row * this.#words + (slot >> 5)]! |= 1 << (slot & 31)
      kept.set(row, nowMs)
    }
  }

  /** Writes how many of the leading blocks each worker was sent and should still keep, by slot. */
  match(keys: Int32Array, blocks: number, out: Uint32Array): void {
    const alive = this.#alive.fill(0xffffffff)
    const words = this.#words
    out.fill(0)
    for (let block = 0; block < blocks; block++) {
      const row = this.#rows.find(keys, block)
      if (row < 0) return
      let any = 0
      for (let word = 0; word < words; word++) {
        alive[word]! &= this.#bits[row * words + word]!
        any |= alive[word]!
        for (let left = alive[word]!; left !== 0; left &= left - 1) {
          out[(word << 5) + 31 - Math.clz32(left & -left)] = block + 1
        }
      }
      if (any === 0) return
    }
  }

  /** Blocks kept for a worker. */
  size(slot: number): number {
    return this.#kept[slot]!.size
  }

  /** How many of a worker's `count` oldest blocks were sent at `sinceMs` or later. */
  usedSince(slot: number, count: number, sinceMs: number): number {
    const kept = this.#kept[slot]!
    let used = 0
    let seen = 0
    for (const sentMs of kept.rvalues()) {
      if (seen++ === count) break
      if (sentMs! >= sinceMs) used++
    }
    return used
  }

  #drop(slot: number, row: number): void {
    const from = row * this.#words
    this.#bits[from + (slot >> 5)]! &= ~(1 << (slot & 31))
    for (let word = 0; word < this.#words; word++) if (this.#bits[from + word] !== 0) return
    this.#rows.remove(row)
  }
}
