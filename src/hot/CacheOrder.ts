/**
 * Blocks of one cache in order of last use, and how many others were used after a given one: its position. Of those that
 * may be evicted, a cache that evicts the least recently used holds the ones at the lowest positions.
 *
 * ```text
 *  key ──▶ slots ──▶ entry: lo hi │ parent │ newer older (the list) │ stamp: clock at last use
 *                                                                      │
 *  live   listed blocks per stretch of the clock, 1 024 stretches ◀────┘     position = sum of the newer stretches
 * ```
 *
 * Blocks that are in use are known but not listed. When the clock runs out of stretches, stamps are dealt anew in list
 * order, once in three turnovers or so. A position is right to within its own stretch, at most a 256th of the list.
 *
 * All is O(1), but for the dealing; arrays double as they fill. 27 bytes per entry and 8 in the table of keys, where half
 * of the places are free or more: 35 to 70 bytes a block. An entry without a key is room taken by anything else; it
 * weighs as many blocks.
 */
const NONE = -1
const STRETCHES = 1024

export class CacheOrder {
  lo: Int32Array
  hi: Int32Array
  /** Entry of the block before in its chain, or -1; of an entry without a key, minus its blocks, minus one. */
  parent: Int32Array
  newer: Int32Array
  older: Int32Array
  /** For the owner's use; 0 when new: who uses it now, and a mark. */
  refs: Uint16Array
  mark: Uint8Array
  newest = NONE
  oldest = NONE
  /** All that is listed. */
  blocks = 0
  #stamp: Int32Array
  /** Entry + 1 by key, 0 for none; linear probing. */
  #slots: Int32Array
  /** Entries below this have been used; those given back are linked by `older`. */
  #fresh = 0
  #given = NONE
  #clock = 0
  /** Stamps below this are free for what is older than all that is listed. */
  #floor = 0
  #shift = 0
  readonly #live = new Int32Array(STRETCHES)
  /** Where the last position was counted to. */
  #stretch = 0
  #counted = 0

  /** `entries` to begin with: a power of two. */
  constructor(entries = 1024) {
    this.lo = new Int32Array(entries)
    this.hi = new Int32Array(entries)
    this.parent = new Int32Array(entries)
    this.newer = new Int32Array(entries)
    this.older = new Int32Array(entries)
    this.refs = new Uint16Array(entries)
    this.mark = new Uint8Array(entries)
    this.#stamp = new Int32Array(entries)
    this.#slots = new Int32Array(entries * 2)
    while (STRETCHES << this.#shift < entries * 4) this.#shift++
  }

  /** The entry of a key, or -1. */
  find(lo: number, hi: number): number {
    const slots = this.#slots
    const mask = slots.length - 1
    for (let at = place(lo, hi) & mask; ; at = (at + 1) & mask) {
      const entry = slots[at]! - 1
      if (entry < 0) return NONE
      if (this.lo[entry] === lo && this.hi[entry] === hi) return entry
    }
  }

  /** A new entry, not in the list; -1 when the key is known already. */
  add(lo: number, hi: number, parent: number): number {
    if (this.find(lo, hi) >= 0) return NONE
    const entry = this.#take(parent)
    this.lo[entry] = lo
    this.hi[entry] = hi
    insert(this.#slots, place(lo, hi), entry)
    return entry
  }

  /** Room for `blocks` blocks that nobody will ask for, not in the list. */
  addRoom(blocks: number): number {
    return this.#take(-1 - blocks)
  }

  isRoom(entry: number): boolean {
    return this.parent[entry]! < NONE
  }

  blocksOf(entry: number): number {
    const parent = this.parent[entry]!
    return parent < NONE ? -1 - parent : 1
  }

  /** To the young end of the list. */
  append(entry: number): void {
    if (++this.#clock >> this.#shift === STRETCHES) this.#restamp()
    const blocks = this.blocksOf(entry)
    this.#stamp[entry] = this.#clock
    this.#live[this.#clock >> this.#shift]! += blocks
    this.blocks += blocks
    this.older[entry] = this.newest
    this.newer[entry] = NONE
    if (this.newest === NONE) this.oldest = entry
    else this.newer[this.newest] = entry
    this.newest = entry
  }

  /** Room at once for so many entries more, and stamps for as many that are older than all that is listed. */
  reserve(entries: number): void {
    let size = this.lo.length
    while (size < this.#fresh + entries) size *= 2
    if (size > this.lo.length) this.#grow(size)
    this.#restamp(entries)
  }

  /** To the old end of the list. */
  prepend(entry: number): void {
    const blocks = this.blocksOf(entry)
    if (this.#floor > 0) this.#floor--
    this.#stamp[entry] = this.#floor
    this.#live[this.#floor >> this.#shift]! += blocks
    this.blocks += blocks
    this.newer[entry] = this.oldest
    this.older[entry] = NONE
    if (this.oldest === NONE) this.newest = entry
    else this.older[this.oldest] = entry
    this.oldest = entry
  }

  /** Out of the list; it stays known. */
  unlink(entry: number): void {
    const blocks = this.blocksOf(entry)
    this.#live[this.#stamp[entry]! >> this.#shift]! -= blocks
    this.blocks -= blocks
    const newer = this.newer[entry]!
    const older = this.older[entry]!
    if (newer === NONE) this.newest = older
    else this.older[newer] = older
    if (older === NONE) this.oldest = newer
    else this.newer[older] = newer
  }

  /** Forgets the least recently used entry. */
  dropOldest(): void {
    const entry = this.oldest
    this.unlink(entry)
    if (!this.isRoom(entry)) this.#erase(entry)
    this.older[entry] = this.#given
    this.#given = entry
  }

  /** Positions are asked from young to old after this. */
  rewind(): void {
    this.#stretch = this.#clock >> this.#shift
    this.#counted = 0
  }

  /** Blocks used after this entry, half of its own stretch included. Never younger than the last one asked. */
  position(entry: number): number {
    const live = this.#live
    const stretch = this.#stamp[entry]! >> this.#shift
    while (this.#stretch > stretch) this.#counted += live[this.#stretch--]!
    return this.#counted + (live[stretch]! >> 1)
  }

  #take(parent: number): number {
    let entry = this.#given
    if (entry !== NONE) this.#given = this.older[entry]!
    else {
      if (this.#fresh === this.lo.length) this.#grow(this.lo.length * 2)
      entry = this.#fresh++
    }
    this.parent[entry] = parent
    this.refs[entry] = 0
    this.mark[entry] = 0
    return entry
  }

  /** Deals stamps anew from `floor` on, oldest first, and leaves the clock one past them. */
  #restamp(floor = 0): void {
    this.#live.fill(0)
    this.#clock = this.#floor = floor
    for (let entry = this.oldest; entry !== NONE; entry = this.newer[entry]!) {
      this.#stamp[entry] = this.#clock
      this.#live[this.#clock++ >> this.#shift]! += this.blocksOf(entry)
    }
  }

  /** Takes the key out of the table, and moves those behind it that stand where they do only because of it. */
  #erase(entry: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = place(this.lo[entry]!, this.hi[entry]!) & mask
    while (slots[hole] !== entry + 1) hole = (hole + 1) & mask
    for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      const other = slots[at]! - 1
      const home = place(this.lo[other]!, this.hi[other]!) & mask
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      slots[hole] = slots[at]!
      hole = at
    }
    slots[hole] = 0
  }

  #grow(entries: number): void {
    this.lo = enlarged(this.lo, entries)
    this.hi = enlarged(this.hi, entries)
    this.parent = enlarged(this.parent, entries)
    this.newer = enlarged(this.newer, entries)
    this.older = enlarged(this.older, entries)
    this.#stamp = enlarged(this.#stamp, entries)
    const refs = new Uint16Array(entries)
    refs.set(this.refs)
    this.refs = refs
    const mark = new Uint8Array(entries)
    mark.set(this.mark)
    this.mark = mark
    const slots = new Int32Array(entries * 2)
    for (const known of this.#slots) {
      if (known !== 0) insert(slots, place(this.lo[known - 1]!, this.hi[known - 1]!), known - 1)
    }
    this.#slots = slots
    while (STRETCHES << this.#shift < entries * 4) this.#shift++
    this.#restamp()
  }
}

/** Keys are hashes already; both lanes count, so that keys which share one do not pile up. */
const place = (lo: number, hi: number): number => (lo ^ Math.imul(hi, 0x9e3779b1)) >>> 3

/** Puts an entry at its home or the next free place. There is one. */
const insert = (slots: Int32Array, home: number, entry: number): void => {
  const mask = slots.length - 1
  let at = home & mask
  while (slots[at] !== 0) at = (at + 1) & mask
  slots[at] = entry + 1
}

const enlarged = (array: Int32Array, length: number): Int32Array => {
  const larger = new Int32Array(length)
  larger.set(array)
  return larger
}
