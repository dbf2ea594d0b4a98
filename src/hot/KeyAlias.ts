/**
 * From an engine's block hash to our own key, with a count of physical copies: what resolves parents and removals.
 *
 *   entry = [hashLo, hashHi, keyLo, keyHi, count]      open addressing, linear probing; count 0 = empty
 *
 * One Int32Array that doubles at 60 % load: 20 bytes an entry, 33 to 67 per hash. Deletion shifts entries back, so no
 * tombstones. Engines may hold several copies of one hash and announce the loss of each; only the last one matters.
 */
const width = 5
const slotsMin = 64

const homeOf = (lo: number, hi: number, mask: number): number => {
  const mixed = Math.imul(lo ^ Math.imul(hi, 0x85eb_ca6b), 0x9e37_79b1)
  return (mixed ^ (mixed >>> 15)) & mask
}

export class KeyAlias {
  /** Distinct hashes. */
  size = 0
  /** Key of the hash that `remove` last found. */
  removedLo = 0
  removedHi = 0
  private table: Int32Array = new Int32Array(slotsMin * width)
  private mask: number = slotsMin - 1
  private readonly copiesMax: number

  /** Counts stop at `copiesMax`, so that a stream which repeats itself cannot pin a block for ever. */
  constructor(copiesMax: number) {
    this.copiesMax = copiesMax
  }

  /** Offset of the hash's entry, for `keyLo` and `keyHi`; -1 when unknown. Valid until the next write. */
  find(lo: number, hi: number): number {
    const { mask, table } = this
    for (let slot = homeOf(lo, hi, mask); ; slot = (slot + 1) & mask) {
      const at = slot * width
      if (table[at + 4] === 0) return -1
      if (table[at] === lo && table[at + 1] === hi) return at
    }
  }

  keyLo(at: number): number {
    return this.table[at + 2]!
  }

  keyHi(at: number): number {
    return this.table[at + 3]!
  }

  /** One more copy of a hash. Returns its count: 1 means it was unknown. A known hash keeps its key. */
  add(lo: number, hi: number, keyLo: number, keyHi: number): number {
    if ((this.size + 1) * 5 > (this.mask + 1) * 3) this.grow()
    const { mask, table } = this
    let at = homeOf(lo, hi, mask) * width
    while (table[at + 4] !== 0) {
      if (table[at] === lo && table[at + 1] === hi) {
        const count = Math.min(table[at + 4]! + 1, this.copiesMax)
        table[at + 4] = count
        return count
      }
      at = ((at / width + 1) & mask) * width
    }
    table[at] = lo
    table[at + 1] = hi
    table[at + 2] = keyLo
    table[at + 3] = keyHi
    table[at + 4] = 1
    this.size++
    return 1
  }

  /** One copy less. Returns how many are left, -1 for an unknown hash; the key is then in `removedLo`, `removedHi`. */
  remove(lo: number, hi: number): number {
    const at = this.find(lo, hi)
    if (at < 0) return -1
    const { table } = this
    this.removedLo = table[at + 2]!
    this.removedHi = table[at + 3]!
    const count = table[at + 4]! - 1
    if (count > 0) table[at + 4] = count
    else this.erase(at / width)
    return count
  }

  clear(): void {
    this.table = new Int32Array(slotsMin * width)
    this.mask = slotsMin - 1
    this.size = 0
  }

  /** Every key, two lanes each, in no order. */
  keys(): Int32Array {
    const { table } = this
    const out = new Int32Array(this.size * 2)
    let n = 0
    for (let at = 0; at < table.length; at += width) {
      if (table[at + 4] === 0) continue
      out[n++] = table[at + 2]!
      out[n++] = table[at + 3]!
    }
    return out
  }

  private erase(start: number): void {
    const { mask, table } = this
    let hole = start
    for (let slot = (hole + 1) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * width
      if (table[at + 4] === 0) break
      const home = homeOf(table[at]!, table[at + 1]!, mask)
      // An entry may fill the hole only if its home is not between the hole and itself.
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue
      table.copyWithin(hole * width, at, at + width)
      hole = slot
    }
    table[hole * width + 4] = 0
    this.size--
  }

  private grow(): void {
    const old = this.table
    const mask = (this.mask + 1) * 2 - 1
    const table = new Int32Array((mask + 1) * width)
    for (let from = 0; from < old.length; from += width) {
      if (old[from + 4] === 0) continue
      let slot = homeOf(old[from]!, old[from + 1]!, mask)
      while (table[slot * width + 4] !== 0) slot = (slot + 1) & mask
      for (let i = 0; i < width; i++) table[slot * width + i] = old[from + i]!
    }
    this.table = table
    this.mask = mask
  }
}

export const make = (copiesMax = 255): KeyAlias => new KeyAlias(copiesMax)
