/**
 * From an engine's block hash to our own key, with the copies on each tier: what resolves parents and removals.
 *
 * ```text
 *   slots    64 tables by hash    │ hashLo │ entry │   linear probing, entry 0 = empty, at most 60 % full
 *                                              ▼
 *   entries  in order of arrival  │ hashHi │ keyLo │ keyHi │ copies │        copies = external, disk, host, device: 8 bits each
 * ```
 *
 * Blocks come and go in rows, so their entries lie side by side, and only a slot of 8 bytes is anywhere in memory:
 * 30 to 43 bytes a hash. Each table doubles on its own, entries grow in chunks, so no growth holds the event loop.
 * Deletion shifts slots back, so no tombstones. Engines may hold several copies of one hash on one tier and announce
 * the loss of each; only the last one matters. A hash's *reach* is the nearest tier with a copy.
 */

/** Reach of a hash without copies, one beyond the farthest tier. */
export const NOWHERE = 4
/** Words of a saved hash: its two lanes, those of its key, its word of copies. */
export const savedWords = 5
/** Copies of one hash on one tier at most: what a count's eight bits hold. */
const copiesMaxMax = 255

const slotsMin = 8
const tablesMax = 64
const chunkBits = 16
const chunkEntries = 1 << chunkBits
const entriesMin = 64

/** Upper bits choose the table, lower ones the slot. Of the lower lane alone: slots move without a look at their entries. */
const mix = (lo: number): number => {
  const mixed = Math.imul(lo, 0x9e37_79b1)
  return mixed ^ (mixed >>> 15)
}

/** Nearest tier of a word of copies. */
export const reachOf = (copies: number): number => {
  if ((copies & 0xff) !== 0) return 0
  if ((copies & 0xff00) !== 0) return 1
  if ((copies & 0xff_0000) !== 0) return 2
  return copies !== 0 ? 3 : NOWHERE
}

/** Copies on one tier of a word of copies. */
export const countOf = (copies: number, tier: number): number => (copies >>> (tier << 3)) & 0xff

export class KeyAlias {
  /** Distinct hashes. */
  size = 0
  /** Copies on the device, over all hashes. */
  copies = 0
  /** Key of the hash that the last call met. */
  keyLo = 0
  keyHi = 0
  private readonly slots: Array<Int32Array> = []
  private readonly sizes = new Int32Array(tablesMax)
  private chunks: Array<Int32Array> = []
  /** Entries ever used; the first of those given back, linked through their first word. */
  private top = 1
  private free = 0
  /** Where `locate` ended: table, and offset of the slot in it. */
  private which = 0
  private at = 0
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
    const ref = this.locate(lo, hi)
    return ref === 0 ? 0 : this.read(ref)
  }

  /** One more copy on a tier. Returns the reach before: NOWHERE if it was unknown. A known hash keeps its key: see `keyLo`. */
  add(lo: number, hi: number, tier: number, keyLo: number, keyHi: number): number {
    const known = this.locate(lo, hi)
    if (known !== 0) {
      const copies = this.read(known)
      this.count(known, copies, tier)
      return reachOf(copies)
    }
    if ((this.sizes[this.which]! + 1) * 10 > this.slots[this.which]!.length * 3) {
      this.slots[this.which] = grown(this.slots[this.which]!)
      this.locate(lo, hi)
    }
    const ref = this.take()
    const slots = this.slots[this.which]!
    slots[this.at] = lo
    slots[this.at + 1] = ref
    const chunk = this.chunks[ref >>> chunkBits]!
    const at = (ref & (chunkEntries - 1)) << 2
    chunk[at] = hi
    chunk[at + 1] = this.keyLo = keyLo
    chunk[at + 2] = this.keyHi = keyHi
    chunk[at + 3] = 1 << (tier << 3)
    this.sizes[this.which]!++
    this.size++
    if (tier === 0) this.copies++
    return NOWHERE
  }

  /** One more copy of a known hash. Returns the reach before; NOWHERE and nothing added if it is unknown. */
  join(lo: number, hi: number, tier: number): number {
    const ref = this.locate(lo, hi)
    if (ref === 0) return NOWHERE
    const copies = this.read(ref)
    this.count(ref, copies, tier)
    return reachOf(copies)
  }

  /** One copy less on a tier. Returns the reach now, -1 if that tier had none; the key is then in `keyLo`, `keyHi`. */
  remove(lo: number, hi: number, tier: number): number {
    const ref = this.locate(lo, hi)
    if (ref === 0) return -1
    const copies = this.read(ref)
    const shift = tier << 3
    if (((copies >>> shift) & 0xff) === 0) return -1
    if (tier === 0) this.copies--
    const left = (copies - (1 << shift)) | 0
    if (left !== 0) this.chunks[ref >>> chunkBits]![((ref & (chunkEntries - 1)) << 2) + 3] = left
    else this.empty(ref)
    return reachOf(left)
  }

  /** Forgets a hash with all its copies. Returns its word of copies, 0 if it was unknown. */
  drop(lo: number, hi: number): number {
    const ref = this.locate(lo, hi)
    if (ref === 0) return 0
    const copies = this.read(ref)
    this.copies -= copies & 0xff
    this.empty(ref)
    return copies
  }

  /**
   * Reads the slots where some hashes are or belong, so that their cache misses overlap instead of following each
   * other. What it returns means nothing; it is there so that the reads are not left out.
   */
  touch(hashes: Int32Array, first: number, count: number): number {
    const { slots } = this
    let sum = 0
    for (let i = first * 2, end = i + count * 2; i < end; i += 2) {
      const mixed = mix(hashes[i]!)
      const table = slots[mixed >>> 26]!
      sum ^= table[(mixed << 1) & (table.length - 2)]!
    }
    return sum
  }

  /**
   * All it holds, in order of arrival: `savedWords` for each hash, in pieces of at most so many hashes, each a slice of
   * the work; one may be empty. Each begins with `room` words for the caller. Nothing may change before the last one.
   */
  *saved(hashesMax: number, room = 0): Generator<Int32Array> {
    const { chunks, top } = this
    // Lower lanes are in the slots alone. Pieces in the order of slots would scatter what lies side by side.
    const los = new Int32Array(top)
    const isUsed = new Uint8Array(top)
    let seen = 0
    for (const slots of this.slots) {
      for (let at = 0; at < slots.length; at += 2) {
        const ref = slots[at + 1]!
        if (ref === 0) continue
        los[ref] = slots[at]!
        isUsed[ref] = 1
      }
      seen += slots.length >> 1
      if (seen < hashesMax) continue
      seen = 0
      yield new Int32Array(room)
    }
    for (let ref = 1, left = this.size; left > 0; ) {
      const words = new Int32Array(room + Math.min(left, hashesMax) * savedWords)
      let to = room
      for (; to < words.length; ref++) {
        if (isUsed[ref] === 0) continue
        const chunk = chunks[ref >>> chunkBits]!
        const at = (ref & (chunkEntries - 1)) << 2
        words[to++] = los[ref]!
        for (let word = 0; word < 4; word++) words[to++] = chunk[at + word]!
      }
      left -= (words.length - room) / savedWords
      yield words
    }
  }

  /** Makes room for so many hashes, in one that is empty: else all tables would grow at about the same time. */
  reserve(hashes: number): void {
    let length = slotsMin * 2
    // Some tables get a few per cent more than others.
    while (length * 3 < (hashes / tablesMax) * 1.05 * 10) length *= 2
    for (let i = 0; i < tablesMax; i++) this.slots[i] = new Int32Array(length)
  }

  /** Adds what `saved` gave. False, with some of it added, when that cannot be: a hash that is known, or has no copy. */
  restore(words: Int32Array): boolean {
    for (let at = 0; at < words.length; at += savedWords) {
      const copies = words[at + 4]!
      if (this.add(words[at]!, words[at + 1]!, 0, words[at + 2]!, words[at + 3]!) !== NOWHERE) return false
      const ref = this.slots[this.which]![this.at + 1]!
      this.chunks[ref >>> chunkBits]![((ref & (chunkEntries - 1)) << 2) + 3] = copies
      this.copies += (copies & 0xff) - 1
      if (copies === 0) return false
    }
    return true
  }

  clear(): void {
    for (let i = 0; i < tablesMax; i++) this.slots[i] = new Int32Array(slotsMin * 2)
    this.sizes.fill(0)
    this.chunks = [new Int32Array(entriesMin * 4)]
    this.top = 1
    this.free = 0
    this.size = 0
    this.copies = 0
  }

  /** The hash's entry, 0 when it has none; `at` is then the slot where it belongs. */
  private locate(lo: number, hi: number): number {
    const mixed = mix(lo)
    const slots = this.slots[mixed >>> 26]!
    const mask = slots.length - 2
    let at = (mixed << 1) & mask
    let ref = slots[at + 1]!
    while (ref !== 0) {
      if (slots[at] === lo && this.chunks[ref >>> chunkBits]![(ref & (chunkEntries - 1)) << 2] === hi) break
      at = (at + 2) & mask
      ref = slots[at + 1]!
    }
    this.which = mixed >>> 26
    this.at = at
    return ref
  }

  /** Copies of an entry; its key goes to `keyLo`, `keyHi`. */
  private read(ref: number): number {
    const chunk = this.chunks[ref >>> chunkBits]!
    const at = (ref & (chunkEntries - 1)) << 2
    this.keyLo = chunk[at + 1]!
    this.keyHi = chunk[at + 2]!
    return chunk[at + 3]!
  }

  private count(ref: number, copies: number, tier: number): void {
    const shift = tier << 3
    if (((copies >>> shift) & 0xff) >= this.copiesMax) return
    this.chunks[ref >>> chunkBits]![((ref & (chunkEntries - 1)) << 2) + 3] = copies + (1 << shift)
    if (tier === 0) this.copies++
  }

  /** An entry to fill. */
  private take(): number {
    const { chunks, free } = this
    if (free !== 0) {
      this.free = chunks[free >>> chunkBits]![(free & (chunkEntries - 1)) << 2]!
      return free
    }
    const ref = this.top++
    const which = ref >>> chunkBits
    const chunk = chunks[which]
    if (chunk === undefined) chunks.push(new Int32Array(chunkEntries * 4))
    else if ((ref & (chunkEntries - 1)) << 2 === chunk.length) {
      // Only the first begins small.
      const larger = new Int32Array(chunk.length * 2)
      larger.set(chunk)
      chunks[which] = larger
    }
    return ref
  }

  /** Gives up the entry that `locate` just found. */
  private empty(ref: number): void {
    this.chunks[ref >>> chunkBits]![(ref & (chunkEntries - 1)) << 2] = this.free
    this.free = ref
    erase(this.slots[this.which]!, this.at)
    this.sizes[this.which]!--
    this.size--
  }
}

export const make = (copiesMax = copiesMaxMax): KeyAlias => new KeyAlias(copiesMax)

const erase = (slots: Int32Array, start: number): void => {
  const mask = slots.length - 2
  let hole = start
  for (let at = (hole + 2) & mask; slots[at + 1] !== 0; at = (at + 2) & mask) {
    const home = (mix(slots[at]!) << 1) & mask
    // A slot may fill the hole only if its home is not between the hole and itself.
    if (((at - home) & mask) < ((at - hole) & mask)) continue
    slots[hole] = slots[at]!
    slots[hole + 1] = slots[at + 1]!
    hole = at
  }
  slots[hole + 1] = 0
}

const grown = (old: Int32Array): Int32Array => {
  const slots = new Int32Array(old.length * 2)
  const mask = slots.length - 2
  for (let from = 0; from < old.length; from += 2) {
    if (old[from + 1] === 0) continue
    let at = (mix(old[from]!) << 1) & mask
    while (slots[at + 1] !== 0) at = (at + 2) & mask
    slots[at] = old[from]!
    slots[at + 1] = old[from + 1]!
  }
  return slots
}
