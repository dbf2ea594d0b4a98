/**
 * PieceNode: one record of the metadata store as bytes: a path through a piece of a chain, and who holds which of its blocks.
 *
 *    0 u32 touched, in seconds since 1970        4 u32 number of the piece in its chain
 *    8 u8 base: place in the piece of its first key       9 u8 n keys      10 u8 stride: places in a piece      11 u8 format
 *   12 u16 children: nodes that branch off it            14 u16 h holders
 *   16 lo, hi of the key before its first; 0 0 at the start of a chain
 *   24 n × key (lo, hi), then h × entry: u32 tag (tenure << 3 | layer), u32 mask of places in the piece, not from `base`
 *
 * Little-endian, all of it words. A node is named by the key of its piece's first block (the head) and its own first key. The
 * *aligned* one has both alike, and base 0; others begin where their path leaves that of another, which never is at its end,
 * since nodes only grow.
 */
import type { KeyLanes } from "../domain/Block.ts"

/** Its words, no more and no fewer. */
export type PieceNode = Int32Array

export const strideMax = 32
/** Longer records are slow to read; of more holders the oldest tenure goes. */
export const holdersMax = 4_096
export const headBytes = 24
export const bytesMax = headBytes + 8 * strideMax + 8 * holdersMax
/** 29 bits: with the layer it makes a tag. */
export const tenureMax = 2 ** 29 - 1

const format = 1
const headWords = headBytes >> 2
const childrenMax = 0xffff

/** Mask of the places before this one. */
export const before = (place: number): number => (place >= 32 ? -1 : (1 << place) - 1)
/** How many places from the first on are all in a mask. */
export const leading = (mask: number): number => (mask === -1 ? 32 : 31 - Math.clz32(~mask & (mask + 1)))

export const tagOf = (tenure: number, layer: number): number => ((tenure << 3) | layer) >>> 0
export const tenureOf = (tag: number): number => tag >>> 3
export const layerOf = (tag: number): number => tag & 7

export const touched = (node: PieceNode): number => node[0]! >>> 0
export const piece = (node: PieceNode): number => node[1]! >>> 0
export const base = (node: PieceNode): number => node[2]! & 0xff
export const count = (node: PieceNode): number => (node[2]! >>> 8) & 0xff
export const stride = (node: PieceNode): number => (node[2]! >>> 16) & 0xff
export const children = (node: PieceNode): number => node[3]! & 0xffff
export const holders = (node: PieceNode): number => node[3]! >>> 16
/** Both 0 at the start of a chain. */
export const parentLo = (node: PieceNode): number => node[4]!
export const parentHi = (node: PieceNode): number => node[5]!
/** Of the node; callers copy. */
export const keys = (node: PieceNode): KeyLanes => node.subarray(headWords, headWords + 2 * count(node))
export const tag = (node: PieceNode, holder: number): number => node[entriesAt(node) + 2 * holder]! >>> 0
/** Only places that the node has. */
export const mask = (node: PieceNode, holder: number): number =>
  node[entriesAt(node) + 2 * holder + 1]! & before(base(node) + count(node)) & ~before(base(node))

const entriesAt = (node: PieceNode): number => headWords + 2 * count(node)

/** The words of what a server gave; null when that is no node. A copy only where the bytes do not lie on words. */
export const of = (bytes: Uint8Array): PieceNode | null => {
  if (bytes.length < headBytes || bytes.length > bytesMax || (bytes.length & 3) !== 0) return null
  const aligned = (bytes.byteOffset & 3) === 0 ? bytes : new Uint8Array(bytes)
  const node = new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2)
  return isNode(node) ? node : null
}

/** Every length that others go by, checked. */
const isNode = (node: PieceNode): boolean => {
  const n = count(node)
  const h = holders(node)
  if (node[2]! >>> 24 !== format || n === 0 || stride(node) > strideMax || base(node) + n > stride(node)) return false
  return h <= holdersMax && node.length === headWords + 2 * (n + h)
}

export const bytesOf = (node: PieceNode): Uint8Array => new Uint8Array(node.buffer, node.byteOffset, node.byteLength)

/** A new one without holders: the keys of places `at` to `end` of a path whose key before `at` is the parent. */
export const make = (
  stride: number,
  piece: number,
  parentLo: number,
  parentHi: number,
  path: KeyLanes,
  at: number,
  end: number
): PieceNode => {
  const node = new Int32Array(headWords + 2 * (end - at))
  node[1] = piece
  node[2] = at | ((end - at) << 8) | (stride << 16) | (format << 24)
  node[4] = parentLo
  node[5] = parentHi
  node.set(path.subarray(2 * at, 2 * end), headWords)
  return node
}

/** Whether it is the node that a path through pieces of this stride asks for at this place. */
export const fits = (node: PieceNode, ofStride: number, path: KeyLanes, at: number): boolean =>
  stride(node) === ofStride &&
  base(node) === at &&
  node[headWords] === path[2 * at] &&
  node[headWords + 1] === path[2 * at + 1]

/** How many of its keys are those of the path from place `at` to `end`. */
export const matching = (node: PieceNode, path: KeyLanes, at: number, end: number): number => {
  const most = Math.min(count(node), end - at)
  let same = 0
  while (
    same < most &&
    node[headWords + 2 * same] === path[2 * (at + same)] &&
    node[headWords + 2 * same + 1] === path[2 * (at + same) + 1]
  ) {
    same++
  }
  return same
}

/** With the path's keys up to place `end` after its own. Another array. */
export const grown = (node: PieceNode, path: KeyLanes, end: number): PieceNode => {
  const entries = entriesAt(node)
  const has = base(node) + count(node)
  const more = new Int32Array(node.length + 2 * (end - has))
  more.set(node.subarray(0, entries))
  more.set(path.subarray(2 * has, 2 * end), entries)
  more.set(node.subarray(entries), entries + 2 * (end - has))
  more[2] = (node[2]! & ~0xff00) | ((end - base(node)) << 8)
  return more
}

/**
 * Sets of the told places those that are held, and clears the others. The same array when the number of holders stays; an
 * entry without places goes. When one comes, those of tenures that are not alive go, if that can be told.
 */
export const marked = (
  node: PieceNode,
  tag: number,
  told: number,
  held: number,
  isAlive: ((tenure: number) => boolean) | null
): PieceNode => {
  const first = entriesAt(node)
  let at = first
  while (at < node.length && node[at]! >>> 0 !== tag) at += 2
  if (at < node.length) {
    const left = (node[at + 1]! & ~told) | (held & told)
    node[at + 1] = left
    return left === 0 ? without(node, (entry) => entry === at) : node
  }
  if ((held & told) === 0) return node
  const alive = isAlive === null ? node : without(node, (entry) => !isAlive(tenureOf(node[entry]! >>> 0)))
  const room = holders(alive) < holdersMax ? alive : withoutOldest(alive, tenureOf(tag))
  if (room === null) return alive
  const more = new Int32Array(room.length + 2)
  more.set(room)
  more[room.length] = tag
  more[room.length + 1] = held & told
  more[3] = children(room) | ((holders(room) + 1) << 16)
  return more
}

/** Without the entries at these words. */
const without = (node: PieceNode, goes: (entry: number) => boolean): PieceNode => {
  const first = entriesAt(node)
  let to = first
  for (let at = first; at < node.length; at += 2) {
    if (goes(at)) continue
    node[to] = node[at]!
    node[to + 1] = node[at + 1]!
    to += 2
  }
  if (to === node.length) return node
  node[3] = children(node) | (((to - first) >> 1) << 16)
  return node.slice(0, to)
}

/** Null when no entry is of an older tenure than this one. */
const withoutOldest = (node: PieceNode, tenure: number): PieceNode | null => {
  let oldest = -1
  for (let at = entriesAt(node); at < node.length; at += 2) {
    const than = oldest === -1 ? tenure : tenureOf(node[oldest]! >>> 0)
    if (tenureOf(node[at]! >>> 0) < than) oldest = at
  }
  return oldest === -1 ? null : without(node, (entry) => entry === oldest)
}

export const touch = (node: PieceNode, seconds: number): void => {
  node[0] = seconds
}

/** One more node branches off it, or one fewer. Too many to count are never too few. */
export const adopt = (node: PieceNode, more: 1 | -1): void => {
  const has = children(node)
  if (has === childrenMax || has + more < 0) return
  node[3] = (node[3]! & ~0xffff) | (has + more)
}

/** Nobody holds any of it, and nothing branches off: it may go. */
export const isEmpty = (node: PieceNode): boolean => node[3] === 0
