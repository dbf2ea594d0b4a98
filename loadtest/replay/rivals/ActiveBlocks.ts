/**
 * Blocks in use, by worker: each once, however many requests without an end share it. A block has a row of counts, one
 * per worker; rows are used again.
 */
import * as BlockKey from "./BlockKey.ts"

export class ActiveBlocks {
  /** Blocks in use, by worker. */
  readonly size: Int32Array
  readonly #workers: number
  readonly #rows = new Map<number, number>()
  readonly #free: Array<number> = []
  /** Requests that use a row's block, by row and worker; and by row. */
  #counts: Uint16Array
  #totals: Int32Array
  #keys: Float64Array

  constructor(workers: number) {
    this.#workers = workers
    this.size = new Int32Array(workers)
    this.#counts = new Uint16Array(1024 * workers)
    this.#totals = new Int32Array(1024)
    this.#keys = new Float64Array(1024)
  }

  /** Leading blocks of a prompt in use at each worker, into `out`. O(workers · blocks in use anywhere). */
  depths(keys: Int32Array, blocks: number, out: Uint32Array): void {
    const workers = this.#workers
    const counts = this.#counts
    out.fill(0)
    let any = true
    for (let block = 0; block < blocks && any; block++) {
      const row = this.#rows.get(BlockKey.at(keys, block))
      if (row === undefined) return
      any = false
      for (let slot = 0; slot < workers; slot++) {
        if (out[slot] !== block || counts[row * workers + slot] === 0) continue
        out[slot] = block + 1
        any = true
      }
    }
  }

  /** A worker was sent a prompt: its rows, for `remove`. */
  add(slot: number, keys: Int32Array, blocks: number): Int32Array {
    const rows = new Int32Array(blocks)
    for (let block = 0; block < blocks; block++) {
      const key = BlockKey.at(keys, block)
      let row = this.#rows.get(key)
      if (row === undefined) {
        row = this.#take()
        this.#rows.set(key, row)
        this.#keys[row] = key
      }
      rows[block] = row
      this.#totals[row]!++
      if (this.#counts[row * this.#workers + slot]!++ === 0) this.size[slot]!++
    }
    return rows
  }

  remove(slot: number, rows: Int32Array): void {
    for (const row of rows) {
      if (--this.#counts[row * this.#workers + slot]! === 0) this.size[slot]!--
      if (--this.#totals[row]! > 0) continue
      this.#rows.delete(this.#keys[row]!)
      this.#free.push(row)
    }
  }

  #take(): number {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const used = this.#rows.size
    if (used === this.#totals.length) {
      const [counts, totals, keys] = [this.#counts, this.#totals, this.#keys]
      this.#counts = new Uint16Array(2 * counts.length)
      this.#counts.set(counts)
      this.#totals = new Int32Array(2 * used)
      this.#totals.set(totals)
      this.#keys = new Float64Array(2 * used)
      this.#keys.set(keys)
    }
    return used
  }
}
