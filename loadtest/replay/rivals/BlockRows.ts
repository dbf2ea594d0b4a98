/**
 * Blocks by key, each with a row: a small number to index columns with, used again when its block is gone.
 *
 * Open addressing over both lanes of the key, at most half full; what follows a removed block moves up. Exact.
 */
export class BlockRows {
  /** Blocks now. */
  size = 0
  /** Rows are below this. It doubles. */
  capacity = 1024
  /** Row + 1; 0 where there is none. */
  #slots = new Int32Array(2 * this.capacity)
  #shift = 32 - 11
  #keys = new Int32Array(2 * this.capacity)
  readonly #free: Array<number> = []

  /** Its row; −1 when it has none. */
  find(keys: Int32Array, block: number): number {
    return this.#slots[this.#search(keys[2 * block]!, keys[2 * block + 1]!)]! - 1
  }

  /** Its row, given to it now if it had none. */
  add(keys: Int32Array, block: number): number {
    const low = keys[2 * block]!
    const high = keys[2 * block + 1]!
    let at = this.#search(low, high)
    if (this.#slots[at] !== 0) return this.#slots[at]! - 1
    if (this.size === this.capacity) {
      this.#double()
      at = this.#search(low, high)
    }
    // Without holes rows are dense.
    const row = this.#free.pop() ?? this.size
    this.size++
    this.#slots[at] = row + 1
    this.#keys[2 * row] = low
    this.#keys[2 * row + 1] = high
    return row
  }

  remove(row: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = this.#search(this.#keys[2 * row]!, this.#keys[2 * row + 1]!)
    for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      const other = slots[at]! - 1
      const home = this.#home(this.#keys[2 * other]!, this.#keys[2 * other + 1]!)
      // It may move up to its home and no further.
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      slots[hole] = slots[at]!
      hole = at
    }
    slots[hole] = 0
    this.size--
    this.#free.push(row)
  }

  #home(low: number, high: number): number {
    return Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1) >>> this.#shift
  }

  /** Where the key is, or would go. */
  #search(low: number, high: number): number {
    const slots = this.#slots
    const keys = this.#keys
    const mask = slots.length - 1
    for (let at = this.#home(low, high); ; at = (at + 1) & mask) {
      const row = slots[at]! - 1
      if (row < 0 || (keys[2 * row] === low && keys[2 * row + 1] === high)) return at
    }
  }

  #double(): void {
    this.capacity *= 2
    this.#shift--
    this.#keys = lengthened(this.#keys, 2 * this.capacity)
    this.#slots = new Int32Array(2 * this.capacity)
    // It was full: each row has a block.
    for (let row = 0; row < this.size; row++) {
      this.#slots[this.#search(this.#keys[2 * row]!, this.#keys[2 * row + 1]!)] = row + 1
    }
  }
}

/** A column with room for so much, as it was and zeros behind. The old one is of no more use. */
export const lengthened = (column: Int32Array, length: number): Int32Array<ArrayBuffer> =>
  column.length >= length
    ? (column as Int32Array<ArrayBuffer>)
    : new Int32Array((column.buffer as ArrayBuffer).transfer(4 * length))
