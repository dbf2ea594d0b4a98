/**
 * Who was sent which block: a table as large as it is set to, where what was not sent for some time goes, and, when it is
 * full, what was sent longest ago. A block takes its owners with it.
 */
import { BlockRows, lengthened } from "./BlockRows.ts"

const none = -1

export class SentOwners {
  readonly #blocksMax: number
  readonly #expiryMs: number
  readonly #words: number
  readonly #alive: Int32Array
  readonly #rows = new BlockRows()
  /** By row: a bit per worker; neighbours in order of sending; when it was sent last. */
  #owners = new Int32Array(0)
  #older = new Int32Array(0)
  #newer = new Int32Array(0)
  #sentMs = new Float64Array(0)
  #oldest = none
  #newest = none

  constructor(workers: number, blocksMax: number, expiryMs: number) {
    this.#blocksMax = blocksMax
    this.#expiryMs = expiryMs
    this.#words = Math.ceil(workers / 32)
    this.#alive = new Int32Array(this.#words)
  }

  get size(): number {
    return this.#rows.size
  }

  /** Leading blocks each of the candidates owns, into `out`. */
  depths(keys: Int32Array, blocks: number, candidates: Uint8Array, nowMs: number, out: Uint32Array): void {
    this.#expire(nowMs)
    const alive = this.#alive
    out.fill(0)
    alive.fill(0)
    for (let slot = 0; slot < candidates.length; slot++) {
      if (candidates[slot] === 1) alive[slot >>> 5]! |= 1 << (slot & 31)
    }
    let any = true
    for (let block = 0; block < blocks && any; block++) {
      const row = this.#rows.find(keys, block)
      any = false
      for (let word = 0; word < this.#words; word++) {
        const still = row < 0 ? 0 : alive[word]! & this.#owners[row * this.#words + word]!
        mark(alive[word]! & ~still, word, block, out)
        alive[word] = still
        any ||= still !== 0
      }
    }
    for (let word = 0; word < this.#words; word++) mark(alive[word]!, word, blocks, out)
  }

  /** A worker was sent this prompt. */
  add(slot: number, keys: Int32Array, blocks: number, nowMs: number): void {
    this.#expire(nowMs)
    for (let block = 0; block < blocks; block++) {
      const known = this.#rows.size
      const row = this.#rows.add(keys, block)
      this.#reserve()
      if (this.#rows.size > known) this.#owners.fill(0, row * this.#words, (row + 1) * this.#words)
      else this.#unlink(row)
      this.#owners[row * this.#words + (slot >>> 5)]! |= 1 << (slot & 31)
      this.#sentMs[row] = nowMs
      this.#link(row)
      if (this.#rows.size > this.#blocksMax) this.#drop(this.#oldest)
    }
  }

  #expire(nowMs: number): void {
    while (this.#oldest !== none && nowMs - this.#sentMs[this.#oldest]! > this.#expiryMs) this.#drop(this.#oldest)
  }

  #drop(row: number): void {
    this.#unlink(row)
    this.#rows.remove(row)
  }

  #link(row: number): void {
    this.#older[row] = this.#newest
    this.#newer[row] = none
    if (this.#newest === none) this.#oldest = row
    else this.#newer[this.#newest] = row
    this.#newest = row
  }

  #unlink(row: number): void {
    const older = this.#older[row]!
    const newer = this.#newer[row]!
    if (older === none) this.#oldest = newer
    else this.#newer[older] = newer
    if (newer === none) this.#newest = older
    else this.#older[newer] = older
  }

  #reserve(): void {
    const { capacity } = this.#rows
    if (this.#older.length === capacity) return
    this.#owners = lengthened(this.#owners, capacity * this.#words)
    this.#older = lengthened(this.#older, capacity)
    this.#newer = lengthened(this.#newer, capacity)
    this.#sentMs = new Float64Array(this.#sentMs.buffer.transfer(8 * capacity))
  }
}

/** Writes a depth for every worker whose bit is set. */
const mark = (bits: number, word: number, depth: number, out: Uint32Array): void => {
  for (let rest = bits; rest !== 0; rest &= rest - 1) out[32 * word + 31 - Math.clz32(rest & -rest)] = depth
}
