/**
 * NodeReopen: a node table begun in memory that may hold an earlier life of it.
 *
 * Its generation stays when the superblock is whole, has our layout, and the machine has not booted since. Then every record that
 * the old index names is looked at: torn ones go, with what branches off them, and all that is derived is built anew.
 */
import { directoryBitsMax, slotSize, slotTag, tagOf } from "./NodeIndex.ts"
import * as Layout from "./NodeLayout.ts"
import { NodeNames } from "./NodeNames.ts"
import { classGranules, granuleWords, pageWords } from "./NodePages.ts"
import { type Life, NodeTable } from "./NodeTable.ts"
import * as PieceNode from "./PieceNode.ts"

export interface Options {
  /** Used at first, of all of the memory, and how much more at a time. */
  readonly limitBytes: number
  readonly stepBytes: number
  /** For a new life: its first tenure, below 2^28, at random. */
  readonly tenure: number
  readonly life: Life
}

export interface Opened {
  readonly table: NodeTable
  /** Whether the earlier life goes on. */
  readonly isKept: boolean
  readonly records: number
  /** Torn, or without what they branched off. */
  readonly dropped: number
}

export const open = (words: Int32Array, options: Options): Opened => {
  const old = words.slice(0, Layout.superWords)
  const isKept =
    Layout.isSuper(old) &&
    options.life.boot.every((word, i) => word === old[Layout.BOOT + i]) &&
    old[Layout.DIRECTORY_BITS]! >>> 0 <= directoryBitsMax
  if (!isKept && words[Layout.MAGIC] !== 0) Layout.namesOf(words).fill(0)
  const found = isKept ? recordsOf(words, old[Layout.DIRECTORY_BITS]!) : { named: [], torn: 0 }
  const names = new NodeNames(Layout.namesOf(words), isKept ? old[Layout.TENURE_NEXT]! : options.tenure)
  const table = new NodeTable(words, options.limitBytes, options.stepBytes, names)
  const life = isKept
    ? { ...options.life, generationLo: old[2]!, generationHi: old[3]!, bornS: old[Layout.BORN]! }
    : options.life
  const dropped = found.torn + refill(table, found.named)
  table.begin(life)
  return { table, isKept, records: table.index.count, dropped }
}

/** Whole records that the index as it was names: granule and size, two by two. */
const recordsOf = (words: Int32Array, bits: number): { readonly named: Array<number>; readonly torn: number } => {
  const named: Array<number> = []
  let torn = 0
  const segments = new Set(Layout.directoryOf(words).subarray(0, 1 << bits))
  for (const page of segments) {
    const first = page * pageWords
    if (page < Layout.headerPages || first + pageWords > words.length) continue
    for (let at = first; at < first + pageWords; at += 2) {
      const granule = words[at]! >>> 0
      if (granule === 0) continue
      if (isWhole(words, granule, words[at + 1]!)) named.push(granule, slotSize(words[at + 1]!))
      else torn++
    }
  }
  return { named, torn }
}

const isWhole = (words: Int32Array, granule: number, slot: number): boolean => {
  const at = granule * granuleWords
  const size = slotSize(slot)
  const room = classGranules[size]! * granuleWords
  if (at < Layout.headerBytes / 4 || at + room > words.length) return false
  if (Layout.nodeIn(words, at, room) === null) return false
  return tagOf(words[at + 8]!, words[at + 9]!) === slotTag(slot)
}

/** Claims the records for the table, and lists them in its index; returns how many were lost. */
const refill = (table: NodeTable, named: ReadonlyArray<number>): number => {
  const { pages, words } = table
  const claimed: Array<number> = []
  for (let i = 0; i < named.length; i += 2) if (pages.claim(named[i]!, named[i + 1]!)) claimed.push(i)
  pages.claimed()
  table.index.begin()
  // By place in the piece: what a node branches off comes before it.
  const byBase: Array<Array<number>> = Array.from({ length: PieceNode.strideMax }, () => [])
  for (const i of claimed) byBase[words[named[i]! * granuleWords + 4]! & 0xff]!.push(i)
  const children = new Map<number, number>()
  let kept = 0
  // What is claimed stays where it is until it is listed.
  pages.canCompact = false
  for (const i of byBase.flat()) {
    const granule = named[i]!
    const from = parentOf(table, granule)
    if (from === null || !table.relist(granule, named[i + 1]!)) {
      pages.free(granule)
      continue
    }
    kept++
    if (from !== 0) children.set(from, (children.get(from) ?? 0) + 1)
  }
  pages.canCompact = true
  for (let granule = pages.recordFrom(0); granule >= 0; granule = pages.recordFrom(granule)) {
    const at = granule * granuleWords
    const count = children.get(granule) ?? 0
    if ((words[at + 5]! & 0xffff) !== count) {
      words[at + 5] = (words[at + 5]! & ~0xffff) | Math.min(count, 0xffff)
      Layout.sealRecord(words, at)
    }
    granule += pages.granulesAt(granule)
  }
  return named.length / 2 - kept
}

/** Granule of the node that a record branches off: 0 for an aligned one, null when it is not there. */
const parentOf = (table: NodeTable, granule: number): number | null => {
  const { words } = table
  const at = granule * granuleWords
  const tail = Layout.tailOf(words, at)
  if (tail.length === 0) return 0
  const from = table.find(tail[2]!, tail[3]!)
  if (from === 0 || !table.isOf(from, tail[0]!, tail[1]!)) return null
  const above = table.node(from)
  const node = table.node(at)
  const place = PieceNode.base(node) - 1 - PieceNode.base(above)
  if (place < 0 || place >= PieceNode.count(above)) return null
  const key = PieceNode.headBytes / 4 + 2 * place
  const isIt = above[key] === PieceNode.parentLo(node) && above[key + 1] === PieceNode.parentHi(node)
  return isIt ? from / granuleWords : null
}
