/**
 * From an engine's block hash to our own key, with a count of physical copies: what resolves parents and removals.
 *
 *   entry = [hashLo, hashHi, keyLo, keyHi, count]      open addressing, linear probing; count 0 = empty
 *
 * 64 small tables, chosen by the hash, each doubling on its own at 60 % load: 20 bytes an entry, 33 to 67 per hash, and
 * no growth that holds the event loop (about 1 ms for the worst one of a million hashes). Deletion shifts entries
 * back, so no tombstones. Engines may hold several copies of one hash and announce the loss of each; only the last
 * one matters.
 */
const width = 5
const slotsMin = 8
const tablesMax = 64

/** Upper bits choose the table, lower ones the slot. */
const mix = (lo: number, hi: number): number => {
  const mixed = Math.imul(lo ^ Math.imul(hi, 0x85eb_ca6b), 0x9e37_79b1)
  return mixed ^ (mixed >>> 15)
}

export class KeyAlias {
  /** Distinct hashes. */
  size = 0
  /** Key of the hash that `find`, `add` or `remove` last met. */
  keyLo = 0
  keyHi = 0
  private readonly tables: Array<Int32Array> = []
  private readonly sizes = new Int32Array(tablesMax)
  private readonly copiesMax: number

  /** Counts stop at `copiesMax`, so that a stream which repeats itself cannot pin a block for ever. */
  constructor(copiesMax: number) {
    this.copiesMax = copiesMax
    this.clear()
  }

  /** True when the hash is known; its key is then in `keyLo`, `keyHi`. */
  find(lo: number, hi: number): boolean {
    const mixed = mix(lo, hi)
    const table = this.tables[mixed >>> 26]!
    const at = locate(table, lo, hi, mixed)
    if (table[at + 4] === 0) return false
    this.keyLo = table[at + 2]!
    this.keyHi = table[at + 3]!
    return true
  }

  /** One more copy of a hash. Returns its count: 1 means it was unknown. A known hash keeps its key: see `keyLo`. */
  add(lo: number, hi: number, keyLo: number, keyHi: number): number {
    const mixed = mix(lo, hi)
    const which = mixed >>> 26
    let table = this.tables[which]!
    let at = locate(table, lo, hi, mixed)
    if (table[at + 4] !== 0) {
      this.keyLo = table[at + 2]!
      this.keyHi = table[at + 3]!
      const count = Math.min(table[at + 4]! + 1, this.copiesMax)
      table[at + 4] = count
      return count
    }
    if ((this.sizes[which]! + 1) * width * 5 > table.length * 3) {
      table = grown(table)
      this.tables[which] = table
      at = locate(table, lo, hi, mixed)
    }
    table[at] = lo
    table[at + 1] = hi
    table[at + 2] = this.keyLo = keyLo
    table[at + 3] = this.keyHi = keyHi
    table[at + 4] = 1
    this.sizes[which]!++
    this.size++
    return 1
  }

  /** One copy less. Returns how many are left, -1 for an unknown hash; the key is then in `keyLo`, `keyHi`. */
  remove(lo: number, hi: number): number {
    const mixed = mix(lo, hi)
    const which = mixed >>> 26
    const table = this.tables[which]!
    const at = locate(table, lo, hi, mixed)
    if (table[at + 4] === 0) return -1
    this.keyLo = table[at + 2]!
    this.keyHi = table[at + 3]!
    const count = table[at + 4]! - 1
    if (count > 0) table[at + 4] = count
    else {
      erase(table, at / width)
      this.sizes[which]!--
      this.size--
    }
    return count
  }

  clear(): void {
    for (let i = 0; i < tablesMax; i++) this.tables[i] = new Int32Array(slotsMin * width)
    this.sizes.fill(0)
    this.size = 0
  }

  /** Every key, two lanes each, in no order. */
  keys(): Int32Array {
    const out = new Int32Array(this.size * 2)
    let n = 0
    for (const table of this.tables) {
      for (let at = 0; at < table.length; at += width) {
        if (table[at + 4] === 0) continue
        out[n++] = table[at + 2]!
        out[n++] = table[at + 3]!
      }
    }
    return out
  }
}

export const make = (copiesMax = 255): KeyAlias => new KeyAlias(copiesMax)

/** Offset of the hash's entry, or of the empty one where it belongs. */
const locate = (table: Int32Array, lo: number, hi: number, mixed: number): number => {
  const mask = table.length / width - 1
  let at = (mixed & mask) * width
  while (table[at + 4] !== 0 && (table[at] !== lo || table[at + 1] !== hi)) {
    at += width
    if (at === table.length) at = 0
  }
  return at
}

const erase = (table: Int32Array, start: number): void => {
  const mask = table.length / width - 1
  let hole = start
  for (let slot = (hole + 1) & mask; ; slot = (slot + 1) & mask) {
    const at = slot * width
    if (table[at + 4] === 0) break
    const home = mix(table[at]!, table[at + 1]!) & mask
    // An entry may fill the hole only if its home is not between the hole and itself.
    if (((slot - home) & mask) < ((slot - hole) & mask)) continue
    table.copyWithin(hole * width, at, at + width)
    hole = slot
  }
  table[hole * width + 4] = 0
}

const grown = (old: Int32Array): Int32Array => {
  const table = new Int32Array(old.length * 2)
  for (let from = 0; from < old.length; from += width) {
    if (old[from + 4] === 0) continue
    const lo = old[from]!
    const hi = old[from + 1]!
    const at = locate(table, lo, hi, mix(lo, hi))
    for (let i = 0; i < width; i++) table[at + i] = old[from + i]!
  }
  return table
}
