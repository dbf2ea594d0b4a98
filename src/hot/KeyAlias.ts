/**
 * From an engine's block hash to our own key, with the copies on each tier: what resolves parents and removals.
 *
 *   entry = [hashLo, hashHi, keyLo, keyHi, copies]     open addressing, linear probing; copies 0 = empty
 *   copies = external << 24 | disk << 16 | host << 8 | device
 *
 * 64 small tables, chosen by the hash, each doubling on its own at 60 % load: 20 bytes an entry, 33 to 67 per hash, and
 * no growth that holds the event loop (about 1 ms for the worst one of a million hashes). Deletion shifts entries
 * back, so no tombstones. Engines may hold several copies of one hash on one tier and announce the loss of each; only
 * the last one matters. A hash's *reach* is the nearest tier with a copy.
 */

/** Reach of a hash without copies, one beyond the farthest tier. */
export const NOWHERE = 4
/** Copies of one hash on one tier at most: what a count's eight bits hold. */
export const copiesMaxMax = 255

const width = 5
const slotsMin = 8
const tablesMax = 64

/** Upper bits choose the table, lower ones the slot. */
const mix = (lo: number, hi: number): number => {
  const mixed = Math.imul(lo ^ Math.imul(hi, 0x85eb_ca6b), 0x9e37_79b1)
  return mixed ^ (mixed >>> 15)
}

/** Nearest tier of a word of copies. */
export const reachOf = (copies: number): number => {
  if ((copies & 0xff) !== 0) return 0
  if ((copies & 0xff00) !== 0) return 1
  if ((copies & 0xff_0000) !== 0) return 2
  return copies !== 0 ? 3 : NOWHERE
}

export class KeyAlias {
  /** Distinct hashes. */
  size = 0
  /** Copies on the device, over all hashes. */
  copies = 0
  /** Key of the hash that the last call met. */
  keyLo = 0
  keyHi = 0
  private readonly tables: Array<Int32Array> = []
  private readonly sizes = new Int32Array(tablesMax)
  private readonly copiesMax: number

  /**
   * Counts stop at `copiesMax` (255 at most), so that a stream which repeats itself cannot pin a block for ever: a
   * hash with more copies than that is let go early, never late.
   */
  constructor(copiesMax: number) {
    this.copiesMax = Math.min(copiesMax, copiesMaxMax)
    this.clear()
  }

  /** The hash's word of copies, 0 for an unknown one; its key is then in `keyLo`, `keyHi`. */
  find(lo: number, hi: number): number {
    const mixed = mix(lo, hi)
    const table = this.tables[mixed >>> 26]!
    const at = locate(table, lo, hi, mixed)
    const copies = table[at + 4]!
    if (copies === 0) return 0
    this.keyLo = table[at + 2]!
    this.keyHi = table[at + 3]!
    return copies
  }

  /** One more copy on a tier. Returns the reach before: NOWHERE if it was unknown. A known hash keeps its key: see `keyLo`. */
  add(lo: number, hi: number, tier: number, keyLo: number, keyHi: number): number {
    const mixed = mix(lo, hi)
    const which = mixed >>> 26
    let table = this.tables[which]!
    let at = locate(table, lo, hi, mixed)
    const copies = table[at + 4]!
    if (copies !== 0) {
      this.keyLo = table[at + 2]!
      this.keyHi = table[at + 3]!
      this.count(table, at, tier)
      return reachOf(copies)
    }
    if ((this.sizes[which]! + 1) * 5 > (table.length / width) * 3) {
      table = grown(table)
      this.tables[which] = table
      at = locate(table, lo, hi, mixed)
    }
    table[at] = lo
    table[at + 1] = hi
    table[at + 2] = this.keyLo = keyLo
    table[at + 3] = this.keyHi = keyHi
    table[at + 4] = 1 << (tier << 3)
    this.sizes[which]!++
    this.size++
    if (tier === 0) this.copies++
    return NOWHERE
  }

  /** One more copy of a known hash. Returns the reach before; NOWHERE and nothing added if it is unknown. */
  join(lo: number, hi: number, tier: number): number {
    const mixed = mix(lo, hi)
    const table = this.tables[mixed >>> 26]!
    const at = locate(table, lo, hi, mixed)
    const copies = table[at + 4]!
    if (copies === 0) return NOWHERE
    this.keyLo = table[at + 2]!
    this.keyHi = table[at + 3]!
    this.count(table, at, tier)
    return reachOf(copies)
  }

  /** One copy less on a tier. Returns the reach now, -1 if that tier had none; the key is then in `keyLo`, `keyHi`. */
  remove(lo: number, hi: number, tier: number): number {
    const mixed = mix(lo, hi)
    const which = mixed >>> 26
    const table = this.tables[which]!
    const at = locate(table, lo, hi, mixed)
    const copies = table[at + 4]!
    const shift = tier << 3
    if (((copies >>> shift) & 0xff) === 0) return -1
    this.keyLo = table[at + 2]!
    this.keyHi = table[at + 3]!
    if (tier === 0) this.copies--
    const left = (copies - (1 << shift)) | 0
    if (left !== 0) table[at + 4] = left
    else this.empty(which, table, at)
    return reachOf(left)
  }

  /**
   * Reads where some hashes are or belong, so that their cache misses overlap instead of following each other. What it
   * returns means nothing; it is there so that the reads are not left out.
   */
  touch(hashes: Int32Array, first: number, count: number): number {
    const { tables } = this
    let sum = 0
    for (let i = first * 2, end = i + count * 2; i < end; i += 2) {
      const mixed = mix(hashes[i]!, hashes[i + 1]!)
      const table = tables[mixed >>> 26]!
      sum ^= table[(mixed & (table.length / width - 1)) * width]!
    }
    return sum
  }

  /** Forgets a hash with all its copies. Returns its word of copies, 0 if it was unknown. */
  drop(lo: number, hi: number): number {
    const mixed = mix(lo, hi)
    const which = mixed >>> 26
    const table = this.tables[which]!
    const at = locate(table, lo, hi, mixed)
    const copies = table[at + 4]!
    if (copies === 0) return 0
    this.keyLo = table[at + 2]!
    this.keyHi = table[at + 3]!
    this.copies -= copies & 0xff
    this.empty(which, table, at)
    return copies
  }

  clear(): void {
    for (let i = 0; i < tablesMax; i++) this.tables[i] = new Int32Array(slotsMin * width)
    this.sizes.fill(0)
    this.size = 0
    this.copies = 0
  }

  private count(table: Int32Array, at: number, tier: number): void {
    const copies = table[at + 4]!
    const shift = tier << 3
    if (((copies >>> shift) & 0xff) >= this.copiesMax) return
    table[at + 4] = copies + (1 << shift)
    if (tier === 0) this.copies++
  }

  private empty(which: number, table: Int32Array, at: number): void {
    erase(table, at / width)
    this.sizes[which]!--
    this.size--
  }
}

export const make = (copiesMax = copiesMaxMax): KeyAlias => new KeyAlias(copiesMax)

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
    const to = hole * width
    table[to] = table[at]!
    table[to + 1] = table[at + 1]!
    table[to + 2] = table[at + 2]!
    table[to + 3] = table[at + 3]!
    table[to + 4] = table[at + 4]!
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
