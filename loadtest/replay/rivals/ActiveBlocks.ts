/** Blocks in use, by worker: each once, however many requests without an end share it. */
import { BlockRows, lengthened } from "./BlockRows.ts"

export class ActiveBlocks {
  /** Blocks in use, by worker. */
  readonly size: Int32Array
  readonly #workers: number
  readonly #rows = new BlockRows()
  /** Requests that use a row's block: by row and worker, and by row. */
  #counts = new Int32Array(0)
  #totals = new Int32Array(0)

  constructor(workers: number) {
    this.#workers = workers
    this.size = new Int32Array(workers)
  }

  /** Leading blocks of a prompt in use at each worker, into `out`. O(workers · blocks in use anywhere). */
  depths(keys: Int32Array, blocks: number, out: Uint32Array): void {
    const workers = this.#workers
    const counts = this.#counts
    out.fill(0)
    let any = true
    for (let block = 0; block < blocks && any; block++) {
      const row = this.#rows.find(keys, block)
      if (row < 0) return
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
    for (let block = 0; block < blocks; block++) rows[block] = this.#rows.add(keys, block)
    this.#counts = lengthened(this.#counts, this.#rows.capacity * this.#workers)
    this.#totals = lengthened(this.#totals, this.#rows.capacity)
    for (const row of rows) {
      this.#totals[row]!++
      if (this.#counts[row * this.#workers + slot]!++ === 0) this.size[slot]!++
    }
    return rows
  }

  remove(slot: number, rows: Int32Array): void {
    for (const row of rows) {
      if (--this.#counts[row * this.#workers + slot]! === 0) this.size[slot]!--
      if (--this.#totals[row]! === 0) this.#rows.remove(row)
    }
  }
}
