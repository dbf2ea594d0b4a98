/**
 * NodePages: the memory of the node table: pages of 64 KiB, each free, one segment of the index, or cut into records of one size.
 *
 * Sizes are counted in granules of 64 bytes. When no page is free, the emptiest of a size that has a page's worth of holes is
 * emptied into the others, so what churn leaves behind never exceeds one page per size. Which records are in use is known here,
 * not in the memory itself: the index says it, after a restart too.
 */

export const pageBytes = 65_536
export const granuleBytes = 64
export const granuleWords = granuleBytes / 4
const granulesPerPage = pageBytes / granuleBytes
export const pageWords = pageBytes / 4

/** Granules of a record of each size. The largest takes a node with 4 096 holders; steps are at most a quarter. */
export const classGranules = Int32Array.of(
  ...[1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32],
  ...[40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 520]
)
export const classes = classGranules.length

const classOfGranules = new Uint8Array(classGranules.at(-1)! + 1)
for (let granules = 1, size = 0; granules < classOfGranules.length; granules++) {
  if (granules > classGranules[size]!) size++
  classOfGranules[granules] = size
}

/** The smallest size with room for so many words; -1 when none has. */
export const classOf = (words: number): number => {
  const granules = Math.ceil(words / granuleWords)
  return granules < classOfGranules.length ? classOfGranules[granules]! : -1
}

const FREE = 0
const INDEX = 1
const RECORDS = 2
const bitWords = granulesPerPage / 32

export interface Moves {
  /** A record is copied to another place; until this returns, both are there. */
  readonly moved: (from: number, to: number) => void
}

export class NodePages {
  readonly words: Int32Array
  readonly pagesMax: number
  /** Pages that may be used now; grows to `pagesMax`. */
  limit: number
  pagesFree = 0
  indexPages = 0
  canCompact = true
  private readonly first: number
  private readonly step: number
  private readonly moves: Moves
  /** Pages ever used, and the header's. */
  private top: number
  private readonly kind: Uint8Array
  private readonly live: Uint16Array
  private readonly bits: Int32Array
  /** Neighbours in the list of pages of a size with holes, or of free ones; 0 ends it, page 0 being the header's. */
  private readonly next: Int32Array
  private readonly previous: Int32Array
  private readonly holed = new Int32Array(classes)
  private readonly holes = new Int32Array(classes)
  private freeHead = 0

  /** `header`: pages left alone at the start. Limit and step in pages, of all. */
  constructor(words: Int32Array, header: number, limit: number, step: number, moves: Moves) {
    this.words = words
    this.pagesMax = Math.floor(words.length / pageWords)
    this.limit = Math.min(limit, this.pagesMax)
    this.step = step
    this.first = header
    this.top = header
    this.moves = moves
    this.kind = new Uint8Array(this.pagesMax)
    this.live = new Uint16Array(this.pagesMax)
    this.bits = new Int32Array(this.pagesMax * bitWords)
    this.next = new Int32Array(this.pagesMax)
    this.previous = new Int32Array(this.pagesMax)
  }

  /** Pages in use, the header's among them. */
  get used(): number {
    return this.top - this.pagesFree
  }

  /** A page for the index; 0 when there is none. */
  takeIndexPage(): number {
    const page = this.take()
    if (page === 0) return 0
    this.kind[page] = INDEX
    this.indexPages++
    this.words.fill(0, page * pageWords, (page + 1) * pageWords)
    return page
  }

  releaseIndexPage(page: number): void {
    this.indexPages--
    this.release(page)
  }

  /** First granule of room for a record of a size; 0 when there is none. `withinPages`: only in pages of that size already. */
  alloc(size: number, withinPages: boolean): number {
    let page = this.holed[size]!
    if (page === 0) {
      if (withinPages) return 0
      page = this.take()
      // Making room may have left holes in pages of this size.
      if (page === 0 || this.holed[size] !== 0) {
        if (page !== 0) this.release(page)
        page = this.holed[size]!
        if (page === 0) return 0
      } else this.begin(page, size)
    }
    const slot = this.hole(page, size)
    this.occupy(page, slot, size)
    return page * granulesPerPage + slot * classGranules[size]!
  }

  free(granule: number): void {
    const page = Math.floor(granule / granulesPerPage)
    const size = this.kind[page]! - RECORDS
    const slot = (granule - page * granulesPerPage) / classGranules[size]!
    this.bits[page * bitWords + (slot >>> 5)]! &= ~(1 << (slot & 31))
    if (this.live[page]!-- === perPage(size)) this.link(page, size)
    this.holes[size]!++
    if (this.live[page] !== 0) return
    this.unlink(page, size)
    this.holes[size]! -= perPage(size)
    this.release(page)
  }

  /** After a restart: a record that was there, told in any order before anything is allocated. False where none can be. */
  claim(granule: number, size: number): boolean {
    const page = Math.floor(granule / granulesPerPage)
    const slot = (granule - page * granulesPerPage) / classGranules[size]!
    if (page < this.first || page >= this.pagesMax || !Number.isInteger(slot) || slot >= perPage(size)) return false
    if (this.kind[page] === FREE) this.begin(page, size)
    const isTaken = (this.bits[page * bitWords + (slot >>> 5)]! >>> (slot & 31)) & 1
    if (this.kind[page] !== RECORDS + size || isTaken) return false
    this.occupy(page, slot, size)
    if (page >= this.top) this.top = page + 1
    return true
  }

  /** After the last claim: the pages between them are free. */
  claimed(): void {
    this.limit = Math.max(this.limit, this.top)
    for (let page = this.top - 1; page >= this.first; page--) if (this.kind[page] === FREE) this.release(page)
  }

  /** The record at or after a granule: its granule; -1 at the end. */
  recordFrom(granule: number): number {
    let page = Math.max(this.first, Math.floor(granule / granulesPerPage))
    let from = Math.max(0, granule - page * granulesPerPage)
    for (; page < this.top; page++, from = 0) {
      if (this.kind[page]! < RECORDS) continue
      const granules = classGranules[this.kind[page]! - RECORDS]!
      const slot = this.slotFrom(page, Math.ceil(from / granules))
      if (slot >= 0) return page * granulesPerPage + slot * granules
    }
    return -1
  }

  /** Granules of the record that begins there. */
  granulesAt(granule: number): number {
    return classGranules[this.kind[Math.floor(granule / granulesPerPage)]! - RECORDS]!
  }

  /** Empties a page where that is possible without giving up a record. */
  compact(): boolean {
    for (let size = 0; size < classes; size++) if (this.holes[size]! >= perPage(size)) return this.evacuate(size)
    return false
  }

  private take(): number {
    if (this.freeHead === 0 && this.top === this.limit) {
      if (!this.canCompact || !this.compact()) this.limit = Math.min(this.pagesMax, this.limit + this.step)
    }
    const page = this.freeHead
    if (page !== 0) {
      this.freeHead = this.next[page]!
      this.pagesFree--
      return page
    }
    return this.top < this.limit ? this.top++ : 0
  }

  private release(page: number): void {
    this.kind[page] = FREE
    this.next[page] = this.freeHead
    this.freeHead = page
    this.pagesFree++
  }

  private begin(page: number, size: number): void {
    this.kind[page] = RECORDS + size
    this.holes[size]! += perPage(size)
    this.link(page, size)
  }

  private occupy(page: number, slot: number, size: number): void {
    this.bits[page * bitWords + (slot >>> 5)]! |= 1 << (slot & 31)
    this.holes[size]!--
    if (++this.live[page]! === perPage(size)) this.unlink(page, size)
  }

  private evacuate(size: number): boolean {
    // The emptiest of the first few: the list may have thousands.
    let from = this.holed[size]!
    for (let page = this.next[from]!, looked = 0; page !== 0 && looked < 64; page = this.next[page]!, looked++) {
      if (this.live[page]! < this.live[from]!) from = page
    }
    const granules = classGranules[size]!
    // Off the list, so that nothing is moved into it.
    this.unlink(from, size)
    for (let slot = this.slotFrom(from, 0); slot >= 0; slot = this.slotFrom(from, slot + 1)) {
      const there = this.alloc(size, true)
      const at = from * granulesPerPage + slot * granules
      this.words.copyWithin(there * granuleWords, at * granuleWords, (at + granules) * granuleWords)
      this.moves.moved(at, there)
    }
    this.bits.fill(0, from * bitWords, (from + 1) * bitWords)
    this.holes[size]! -= perPage(size) - this.live[from]!
    this.live[from] = 0
    this.release(from)
    return true
  }

  /** A page with holes has one. */
  private hole(page: number, size: number): number {
    const first = page * bitWords
    for (let word = 0; word * 32 < perPage(size); word++) {
      const free = ~this.bits[first + word]!
      if (free !== 0) return word * 32 + 31 - Math.clz32(free & -free)
    }
    return -1
  }

  private slotFrom(page: number, slot: number): number {
    const first = page * bitWords
    for (let word = slot >>> 5, mask = -1 << (slot & 31); word < bitWords; word++, mask = -1) {
      const set = this.bits[first + word]! & mask
      if (set !== 0) return word * 32 + 31 - Math.clz32(set & -set)
    }
    return -1
  }

  private link(page: number, size: number): void {
    const head = this.holed[size]!
    this.next[page] = head
    this.previous[page] = 0
    if (head !== 0) this.previous[head] = page
    this.holed[size] = page
  }

  private unlink(page: number, size: number): void {
    const next = this.next[page]!
    const previous = this.previous[page]!
    if (previous === 0) this.holed[size] = next
    else this.next[previous] = next
    if (next !== 0) this.previous[next] = previous
  }
}

const perPage = (size: number): number => Math.floor(granulesPerPage / classGranules[size]!)
