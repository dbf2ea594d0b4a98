/**
 * NodeIndex: from a key to the record of the node that begins with it.
 *
 * Segments of 1 024 buckets, each a cache line of eight slots: `granule`, `size << 27 | tag`; granule 0 is empty. A key has two
 * buckets in one segment, and slots move between their two to make room (cuckoo hashing), so a segment fills to 92 % before it
 * is split in two by one more bit of its keys' tags. The tag's top bits pick the segment, through a directory in the header that
 * readers elsewhere have a copy of. A false tag is caught by the key in the record.
 * Sources: Pagh and Rodler, Cuckoo Hashing; Fagin et al., Extendible Hashing.
 */
import { granuleWords, type NodePages, pageWords } from "./NodePages.ts"

export const bucketWords = 16
const slotsPerBucket = 8
/** Of 8 192. Fuller ones move ever more slots for one that comes. */
const splitAt = 7_536
/** Two that have no more become one: half full, so that it need not split again soon. */
const mergeAt = 4_096
export const directoryBitsMax = 16
const tagBits = 27
const tagMask = (1 << tagBits) - 1

/** Word of a record where its node's first key begins: after checksum and length, and six words of the node. */
const firstKeyWord = 8

const mixed = (lo: number, hi: number): number => {
  let x = lo ^ Math.imul(hi, 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d)
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b)
  return x ^ (x >>> 16)
}

export const tagOf = (lo: number, hi: number): number => mixed(lo, hi) >>> 5
/** Of the two, the one to try first. */
export const bucketOf = (lo: number, hi: number): number => mixed(hi ^ 0x3c6ef372, lo) >>> 22
/** The other bucket of a slot; of that one, this one. */
export const otherBucket = (bucket: number, tag: number): number => bucket ^ (Math.imul(tag, 0x9e3779b1) >>> 22 || 1)
export const segmentOf = (tag: number, directoryBits: number): number => tag >>> (tagBits - directoryBits)
export const slotTag = (word: number): number => word & tagMask
export const slotSize = (word: number): number => word >>> tagBits

/** Buckets looked at for one that can be made room in. */
const searchMax = 400
const searchBucket = new Int32Array(searchMax)
const searchFrom = new Int32Array(searchMax)
const searchSlot = new Int32Array(searchMax)

export class NodeIndex {
  /** Top bits of a tag that the directory goes by. */
  bits = 0
  count = 0
  /** Splits so far: a reader with another number reads the directory anew. */
  version = 0
  /** Place in the directory that `shrink` has come to. */
  private hand = 0
  private readonly words: Int32Array
  private readonly directory: Int32Array
  private readonly pages: NodePages
  private readonly depth: Uint8Array
  private readonly filled: Uint16Array

  /** `directory`: 2^16 words of the header. */
  constructor(words: Int32Array, directory: Int32Array, pages: NodePages) {
    this.words = words
    this.directory = directory
    this.pages = pages
    this.depth = new Uint8Array(pages.pagesMax)
    this.filled = new Uint16Array(pages.pagesMax)
  }

  /** Takes the first page. */
  begin(): void {
    this.directory[0] = this.pages.takeIndexPage()
  }

  /** Granule of the record of the node that begins with a key; 0 when there is none. */
  find(lo: number, hi: number): number {
    const { words } = this
    const word = this.slotOf(lo, hi)
    return word < 0 ? 0 : words[word]! >>> 0
  }

  /** Whether `insert` needs a page first: `split` takes it. */
  isTight(lo: number, hi: number): boolean {
    return this.filled[this.segment(tagOf(lo, hi))]! >= splitAt
  }

  /** Splits a key's segment in two. False without a free page, or when the directory cannot tell more apart. */
  split(lo: number, hi: number): boolean {
    const { depth, directory, filled, words } = this
    const tag = tagOf(lo, hi)
    const from = this.segment(tag)
    const bit = depth[from]!
    // Taking a page may move records, never slots.
    const page = bit === directoryBitsMax ? 0 : this.pages.takeIndexPage()
    if (page === 0) return false
    if (bit === this.bits) {
      for (let i = (1 << bit) - 1; i >= 0; i--) directory[2 * i + 1] = directory[2 * i] = directory[i]!
      this.bits++
    }
    const shift = tagBits - 1 - bit
    const source = from * pageWords
    const target = page * pageWords
    let moved = 0
    for (let at = 0; at < pageWords; at += 2) {
      if (words[source + at] === 0 || ((words[source + at + 1]! >>> shift) & 1) === 0) continue
      words[target + at] = words[source + at]!
      words[target + at + 1] = words[source + at + 1]!
      moved++
    }
    const span = 1 << (this.bits - bit)
    const first = segmentOf(tag, this.bits) & -span
    for (let i = first + span / 2; i < first + span; i++) directory[i] = page
    for (let at = 0; at < pageWords; at += 2)
      if (words[target + at] !== 0) words[source + at] = words[source + at + 1] = 0
    depth[from] = depth[page] = bit + 1
    filled[page] = moved
    filled[from]! -= moved
    this.version++
    return true
  }

  /** Makes one of the next two segments that would both fit in half of one, if there are any near the hand. True when it did. */
  shrink(): boolean {
    const { bits, depth, directory, filled } = this
    for (let looked = 0; looked < 256; looked++) {
      this.hand = (this.hand + 1) & ((1 << bits) - 1)
      const page = directory[this.hand]!
      const span = 1 << (bits - depth[page]!)
      const other = directory[this.hand ^ span]!
      if (depth[page] === 0 || depth[other] !== depth[page] || filled[page]! + filled[other]! > mergeAt) continue
      return this.merge(this.hand & -(2 * span), span)
    }
    return false
  }

  /** Two neighbours, from place `first` of the directory on, become the first of them. */
  private merge(first: number, span: number): boolean {
    const { depth, directory, filled, words } = this
    const [page, other] = [directory[first]!, directory[first + span]!]
    const shift = tagBits - depth[page]!
    for (let at = other * pageWords; at < (other + 1) * pageWords; at += 2) {
      if (words[at] === 0 || this.slip(page, Math.floor((at % pageWords) / bucketWords), words[at]!, words[at + 1]!))
        continue
      // It does not fit after all: what has come goes again.
      for (let back = page * pageWords; back < (page + 1) * pageWords; back += 2) {
        if (words[back] !== 0 && (words[back + 1]! >>> shift) & 1) words[back] = words[back + 1] = 0
      }
      return false
    }
    for (let i = first + span; i < first + 2 * span; i++) directory[i] = page
    filled[page]! += filled[other]!
    filled[other] = 0
    depth[page]!--
    this.version++
    this.pages.releaseIndexPage(other)
    return true
  }

  private slip(page: number, bucket: number, granule: number, slot: number): boolean {
    const { words } = this
    const two = otherBucket(bucket, slot & tagMask)
    let word = this.emptyIn(page, bucket)
    if (word < 0) word = this.emptyIn(page, two)
    if (word < 0) word = this.makeRoom(page, bucket, two)
    if (word < 0) return false
    words[word + 1] = slot
    words[word] = granule
    return true
  }

  /** Adds a key that is not there. False when no room can be made: the segment must be split. */
  insert(lo: number, hi: number, granule: number, size: number): boolean {
    const tag = tagOf(lo, hi)
    const page = this.segment(tag)
    if (!this.slip(page, bucketOf(lo, hi), granule, (size << tagBits) | tag)) return false
    this.filled[page]!++
    this.count++
    return true
  }

  /** The record of a key is elsewhere now. */
  point(lo: number, hi: number, from: number, to: number, size: number): void {
    const word = this.slotAt(lo, hi, from)
    if (word < 0) return
    this.words[word + 1] = (size << tagBits) | tagOf(lo, hi)
    this.words[word] = to
  }

  remove(lo: number, hi: number, granule: number): void {
    const word = this.slotAt(lo, hi, granule)
    if (word < 0) return
    this.words[word] = 0
    this.words[word + 1] = 0
    this.filled[this.segment(tagOf(lo, hi))]!--
    this.count--
  }

  private segment(tag: number): number {
    return this.directory[segmentOf(tag, this.bits)]!
  }

  private slotOf(lo: number, hi: number): number {
    const { words } = this
    const tag = tagOf(lo, hi)
    const page = this.segment(tag) * pageWords
    let bucket = bucketOf(lo, hi)
    for (let choice = 0; choice < 2; choice++, bucket = otherBucket(bucket, tag)) {
      const first = page + bucket * bucketWords
      for (let word = first; word < first + bucketWords; word += 2) {
        if ((words[word + 1]! & tagMask) !== tag || words[word] === 0) continue
        const key = (words[word]! >>> 0) * granuleWords + firstKeyWord
        if (words[key] === lo && words[key + 1] === hi) return word
      }
    }
    return -1
  }

  private slotAt(lo: number, hi: number, granule: number): number {
    const { words } = this
    const tag = tagOf(lo, hi)
    const page = this.segment(tag) * pageWords
    let bucket = bucketOf(lo, hi)
    for (let choice = 0; choice < 2; choice++, bucket = otherBucket(bucket, tag)) {
      const first = page + bucket * bucketWords
      for (let word = first; word < first + bucketWords; word += 2) {
        if (words[word]! >>> 0 === granule) return word
      }
    }
    return -1
  }

  private emptyIn(page: number, bucket: number): number {
    const first = page * pageWords + bucket * bucketWords
    for (let word = first; word < first + 2 * slotsPerBucket; word += 2) if (this.words[word] === 0) return word
    return -1
  }

  /** Moves slots on to their other buckets, breadth first, until one of two buckets has an empty slot. */
  private makeRoom(page: number, one: number, two: number): number {
    const { words } = this
    searchBucket[0] = one
    searchBucket[1] = two
    searchFrom[0] = searchFrom[1] = -1
    let ends = 2
    for (let at = 0; at < ends; at++) {
      const bucket = searchBucket[at]!
      const first = page * pageWords + bucket * bucketWords
      for (let slot = 0; slot < slotsPerBucket; slot++) {
        const to = otherBucket(bucket, words[first + 2 * slot + 1]! & tagMask)
        const empty = this.emptyIn(page, to)
        if (empty >= 0) return this.shift(page, at, slot, empty)
        if (ends === searchMax) continue
        searchBucket[ends] = to
        searchFrom[ends] = at
        searchSlot[ends++] = slot
      }
    }
    return -1
  }

  /** Moves along a path that `makeRoom` found, from its end. A path that meets itself ends early; what has moved is right. */
  private shift(page: number, end: number, endSlot: number, empty: number): number {
    const { words } = this
    let to = empty
    for (let at = end, slot = endSlot; at >= 0; slot = searchSlot[at]!, at = searchFrom[at]!) {
      const bucket = searchBucket[at]!
      const from = page * pageWords + bucket * bucketWords + 2 * slot
      const target = Math.floor((to - page * pageWords) / bucketWords)
      if (words[from] === 0 || otherBucket(bucket, words[from + 1]! & tagMask) !== target) return -1
      words[to + 1] = words[from + 1]!
      words[to] = words[from]!
      words[from] = 0
      to = from
    }
    words[to + 1] = 0
    return to
  }
}
