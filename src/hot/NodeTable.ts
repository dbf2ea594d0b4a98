/**
 * NodeTable: the memory node's table of `PieceNode`s: one fixed memory that others may read while it changes.
 *
 * Grows from its first limit to all of the memory, which the operating system backs as it is touched. When it is full, leaves
 * go (`NodeEvict.ts`). Layout: `NodeLayout.ts`; what is kept of an earlier life: `NodeReopen.ts`.
 */
import { crc32c } from "./Crc32c.ts"
import * as NodeEvict from "./NodeEvict.ts"
import { NodeIndex } from "./NodeIndex.ts"
import * as Layout from "./NodeLayout.ts"
import type { NodeNames } from "./NodeNames.ts"
import { classGranules, classOf, granuleWords, NodePages, pageBytes } from "./NodePages.ts"
import * as PieceMerge from "./PieceMerge.ts"
import * as PieceNode from "./PieceNode.ts"

/** What a life begins with. */
export interface Life {
  readonly generationLo: number
  readonly generationHi: number
  readonly bornS: number
  /** Four words that are others after the machine has booted. */
  readonly boot: Int32Array
}

export class NodeTable {
  readonly words: Int32Array
  readonly pages: NodePages
  readonly names: NodeNames
  readonly index: NodeIndex
  readonly isAlive: (tenure: number) => boolean
  readonly hands = NodeEvict.hands()
  /** Blocks in all nodes. */
  blocks = 0
  /** Writes that found no room, for which nothing could go. */
  refused = 0
  /** Head of the piece that is being written: none of its nodes goes meanwhile. */
  busyLo = 0
  busyHi = 0
  /** Names of the nodes that the present write asked for, in the order of its path. */
  private readonly path: Array<number> = []
  private tag = 0

  /** All of `words`, of which the first `limitBytes` are used at first, and `stepBytes` more whenever they are full. */
  constructor(words: Int32Array, limitBytes: number, stepBytes: number, names: NodeNames) {
    this.words = words
    this.names = names
    this.isAlive = (tenure) => names.slotOf(tenure) !== undefined
    const pagesOf = (bytes: number) => Math.max(1, Math.floor(bytes / pageBytes))
    this.pages = new NodePages(words, Layout.headerPages, pagesOf(limitBytes), pagesOf(stepBytes), {
      moved: (from, to) => this.moved(from, to)
    })
    this.index = new NodeIndex(words, Layout.directoryOf(words), this.pages)
  }

  get generation(): string {
    return Layout.generationOf(this.words)
  }

  /** Begins its life, once what was there before is claimed. */
  begin(life: Life): void {
    const { words } = this
    words[Layout.MAGIC] = Layout.magic
    words[Layout.VERSION] = Layout.layoutVersion
    words[Layout.GENERATION_LO] = life.generationLo
    words[Layout.GENERATION_HI] = life.generationHi
    words[Layout.PAGES_MAX] = this.pages.pagesMax
    words[Layout.BORN] = life.bornS
    words.set(life.boot, Layout.BOOT)
    words[Layout.DIRECTORY_CHECKSUM] = 0
    this.publish()
  }

  /** Tells readers elsewhere of what changed in index and names. */
  publish(): void {
    const { words } = this
    if (words[Layout.INDEX_VERSION] !== this.index.version || words[Layout.DIRECTORY_CHECKSUM] === 0) {
      words[Layout.DIRECTORY_CHECKSUM] = crc32c(Layout.directoryOf(words), 0, 1 << this.index.bits)
    }
    words[Layout.DIRECTORY_BITS] = this.index.bits
    words[Layout.INDEX_VERSION] = this.index.version
    words[Layout.NAMES_VERSION] = this.names.version
    words[Layout.TENURE_NEXT] = this.names.tenureNext
    Layout.seal(words)
  }

  /** Writes a share of a tenure that counts; others are lost. */
  write(share: PieceMerge.Share, nowS: number): void {
    if (!PieceMerge.isShare(share) || share.keys.length === 0 || !this.isAlive(share.tenure)) return
    this.path.length = 0
    this.busyLo = share.keys[0]!
    this.busyHi = share.keys[1]!
    this.tag = PieceNode.tagOf(share.tenure, share.layer)
    const { version } = this.index
    PieceMerge.merge(this.bag, share, nowS, this.isAlive)
    this.busyLo = this.busyHi = 0
    if (version !== this.index.version) this.publish()
  }

  /** Word at which the record of the node that begins with a key begins; 0 when there is none. */
  find(lo: number, hi: number): number {
    return this.index.find(lo, hi) * granuleWords
  }

  /** The node of a record at a word, as it lies there until the next write. */
  node(at: number): PieceNode.PieceNode {
    const first = at + Layout.recordWords
    return this.words.subarray(first, first + Layout.nodeWords(this.words, at))
  }

  /** Whether a record is of the piece with this head. */
  isOf(at: number, headLo: number, headHi: number): boolean {
    const { words } = this
    const head = Layout.headAt(words, at)
    return words[head] === headLo && words[head + 1] === headHi
  }

  /** Another node in the place of one with the same first key, no longer; where it takes less, in less room if there is some. */
  rewrite(granule: number, node: PieceNode.PieceNode): void {
    const tail = Layout.tailOf(this.words, granule * granuleWords)
    const size = classOf(Layout.recordWords + node.length + tail.length)
    const isSmaller = classGranules[size]! < this.pages.granulesAt(granule)
    const to = isSmaller ? this.pages.alloc(size, true) : 0
    this.place(to === 0 ? granule : to, node, tail)
    if (to === 0) return
    this.index.point(node[6]!, node[7]!, granule, to, size)
    this.pages.free(granule)
  }

  /** Takes a record out. Whoever it branched off is not told. */
  erase(granule: number): void {
    const at = granule * granuleWords
    this.blocks -= (this.words[at + 4]! >>> 8) & 0xff
    this.index.remove(this.words[at + 8]!, this.words[at + 9]!, granule)
    this.pages.free(granule)
  }

  /** After a restart: lists a record that was there. False when its key is known, or there is no room for the slot. */
  relist(granule: number, size: number): boolean {
    const at = granule * granuleWords
    const lo = this.words[at + 8]!
    const hi = this.words[at + 9]!
    if (this.index.find(lo, hi) !== 0) return false
    if (this.index.isTight(lo, hi)) this.index.split(lo, hi)
    while (!this.index.insert(lo, hi, granule, size)) if (!this.index.split(lo, hi)) return false
    this.blocks += (this.words[at + 4]! >>> 8) & 0xff
    return true
  }

  private readonly bag: PieceMerge.Bag = {
    get: (headLo, headHi, lo, hi) => {
      this.path.push(lo, hi)
      const at = this.find(lo, hi)
      if (at === 0 || !this.isOf(at, headLo, headHi)) return null
      // A copy: making room for another node of the path may move this one.
      return PieceNode.bytesOf(this.node(at).slice())
    },
    put: (headLo, headHi, lo, hi, node) => this.put(headLo, headHi, lo, hi, node),
    delete: (_headLo, _headHi, lo, hi) => {
      const granule = this.index.find(lo, hi)
      if (granule !== 0) this.erase(granule)
    },
    // Bytes here are ours: where a node is not as it should be for a share, the piece is that of others, who cut their chains
    // into pieces of another length. It stays, as `put` leaves what is of another chain; when they write no more, it goes.
    drop: () => {
      this.path.length = 0
    }
  }

  private put(headLo: number, headHi: number, lo: number, hi: number, node: PieceNode.PieceNode): void {
    const { index, pages, words } = this
    const known = index.find(lo, hi)
    // Two chains of one key: one of them is not ours.
    if (known !== 0 && !this.isOf(known * granuleWords, headLo, headHi)) return
    const tail = known === 0 ? this.tailFor(headLo, headHi, lo, hi, node) : Layout.tailOf(words, known * granuleWords)
    const size = classOf(Layout.recordWords + node.length + tail.length)
    const isInPlace = known !== 0 && pages.granulesAt(known) === classGranules[size]
    const granule = isInPlace ? known : this.room(lo, hi, size, known === 0)
    if (granule === 0) return this.refuse(lo, hi)
    this.blocks +=
      PieceNode.count(node) - (known === 0 ? 0 : (words[index.find(lo, hi) * granuleWords + 4]! >>> 8) & 0xff)
    this.place(granule, node, tail)
    if (isInPlace) return
    if (known === 0) return this.enlist(lo, hi, granule, size)
    // Making room may have moved it.
    const old = index.find(lo, hi)
    index.point(lo, hi, old, granule, size)
    pages.free(old)
  }

  /** Room for a record, and for its slot when it is new; 0 when nothing can go for it. */
  private room(lo: number, hi: number, size: number, isNew: boolean): number {
    while (isNew && this.index.isTight(lo, hi) && !this.index.split(lo, hi)) if (!NodeEvict.evict(this)) break
    for (;;) {
      const granule = this.pages.alloc(size, false)
      if (granule !== 0 || !NodeEvict.evict(this)) return granule
    }
  }

  private enlist(lo: number, hi: number, granule: number, size: number): void {
    if (this.index.insert(lo, hi, granule, size)) return
    while (!this.index.split(lo, hi)) {
      if (NodeEvict.evict(this)) continue
      this.refused++
      this.blocks -= (this.words[granule * granuleWords + 4]! >>> 8) & 0xff
      return this.pages.free(granule)
    }
    this.enlist(lo, hi, granule, size)
  }

  /** There is no room for what was told. What its tenure held of the node is not known any more. */
  private refuse(lo: number, hi: number): void {
    this.refused++
    const granule = this.index.find(lo, hi)
    if (granule === 0) return
    this.rewrite(granule, PieceNode.marked(this.node(granule * granuleWords).slice(), this.tag, -1, 0, null))
  }

  private place(granule: number, node: PieceNode.PieceNode, tail: Int32Array): void {
    const { words } = this
    const at = granule * granuleWords
    words[at + 1] = node.length + tail.length
    words.set(node, at + Layout.recordWords)
    words.set(tail, at + Layout.recordWords + node.length)
    Layout.sealRecord(words, at)
  }

  /** What follows a new node: nothing when it is aligned, else its head and the node that its last step came from. */
  private tailFor(headLo: number, headHi: number, lo: number, hi: number, node: PieceNode.PieceNode): Int32Array {
    if (PieceNode.base(node) === 0) return new Int32Array(0)
    const { path } = this
    let at = path.length - 2
    while (at > 2 && (path[at] !== lo || path[at + 1] !== hi)) at -= 2
    return Int32Array.of(headLo, headHi, path[at - 2]!, path[at - 1]!)
  }

  private moved(from: number, to: number): void {
    const at = to * granuleWords
    const size = classOf(this.pages.granulesAt(to) * granuleWords)
    this.index.point(this.words[at + 8]!, this.words[at + 9]!, from, to, size)
  }
}
