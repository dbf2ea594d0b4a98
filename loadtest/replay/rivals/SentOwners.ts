/**
 * Who was sent which block: a table as large as it is set to, where what was not sent for some time goes, and, when it is
 * full, what was sent longest ago. A block takes its owners with it.
 */
import { LRUCache } from "lru-cache"
import * as BlockKey from "./BlockKey.ts"

export class SentOwners {
  readonly #words: number
  readonly #alive: Uint32Array
  /** A bit per worker, by block. */
  readonly #owners: LRUCache<number, Uint32Array>
  #nowMs = 0

  constructor(workers: number, blocksMax: number, expiryMs: number) {
    this.#words = Math.ceil(workers / 32)
    this.#alive = new Uint32Array(this.#words)
    this.#owners = new LRUCache({
      max: blocksMax,
      ttl: expiryMs,
      // Without it the clock would be held for a real millisecond.
      ttlResolution: 0,
      // To the cache, what began at 0 never expires.
      perf: { now: () => this.#nowMs + 1 }
    })
  }

  get size(): number {
    return this.#owners.size
  }

  /** Leading blocks each of the candidates owns, into `out`. */
  depths(keys: Int32Array, blocks: number, candidates: Uint8Array, nowMs: number, out: Uint32Array): void {
    const alive = this.#alive
    this.#nowMs = nowMs
    out.fill(0)
    alive.fill(0)
    for (let slot = 0; slot < candidates.length; slot++) {
      if (candidates[slot] === 1) alive[slot >>> 5]! |= 1 << (slot & 31)
    }
    let any = true
    for (let block = 0; block < blocks && any; block++) {
      const owners = this.#owners.peek(BlockKey.at(keys, block))
      any = false
      for (let word = 0; word < this.#words; word++) {
        const still = owners === undefined ? 0 : alive[word]! & owners[word]!
        for (let gone = alive[word]! & ~still; gone !== 0; gone &= gone - 1) {
          out[32 * word + 31 - Math.clz32(gone & -gone)] = block
        }
        alive[word] = still
        any ||= still !== 0
      }
    }
    for (let word = 0; word < this.#words; word++) {
      for (let rest = alive[word]!; rest !== 0; rest &= rest - 1) {
        out[32 * word + 31 - Math.clz32(rest & -rest)] = blocks
      }
    }
  }

  /** A worker was sent this prompt. */
  add(slot: number, keys: Int32Array, blocks: number, nowMs: number): void {
    this.#nowMs = nowMs
    for (let block = 0; block < blocks; block++) {
      const key = BlockKey.at(keys, block)
      const owners = this.#owners.peek(key) ?? new Uint32Array(this.#words)
      owners[slot >>> 5]! |= 1 << (slot & 31)
      this.#owners.set(key, owners)
    }
  }
}
