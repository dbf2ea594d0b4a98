/**
 * BpeMerge: the arithmetic of byte-pair encoding, over flat tables that threads can share.
 *
 * Merges are an open-addressing table, four Int32 per slot: left, right, rank, merged; `left` is -1 when empty.
 * Of all adjacent pairs the lowest rank merges first, the leftmost on a tie (huggingface/tokenizers, `Word::merge_all`).
 * Short pieces scan for it; long ones keep a heap, so that a word of n bytes costs n log n and never n².
 */

export interface BpeTables {
  /** Token id of each single byte. */
  readonly byteIds: Int32Array
  readonly merges: Int32Array
  /** Bytes of token i are `bytes[starts[i] .. starts[i + 1]]`. */
  readonly bytes: Uint8Array
  readonly starts: Uint32Array
  /** Open addressing from a token's bytes to its id; -1 when empty. Empty when whole pieces are not looked up. */
  readonly wholes: Int32Array
}

/** A growing list of token ids. */
export interface Ids {
  ids: Uint32Array
  length: number
}

export interface Scratch {
  bytes: Uint8Array
  symbols: Int32Array
  ranks: Int32Array
  next: Int32Array
  previous: Int32Array
  heap: Float64Array
}

/** Longest piece, in bytes, for which scanning beats the heap. */
const scanMax = 64
const none = 0x7fffffff
/** Ranks stay below 2^21 and positions below 2^32, so that rank · 2^32 + position is an exact double. */
const positions = 2 ** 32
export const ranksMax = 2 ** 21

export const makeIds = (capacity: number): Ids => ({ ids: new Uint32Array(capacity), length: 0 })

export const push = (out: Ids, id: number): void => {
  if (out.length === out.ids.length) reserve(out, 1)
  out.ids[out.length++] = id
}

export const append = (out: Ids, ids: Uint32Array): void => {
  if (out.length + ids.length > out.ids.length) reserve(out, ids.length)
  out.ids.set(ids, out.length)
  out.length += ids.length
}

const reserve = (out: Ids, more: number): void => {
  const grown = new Uint32Array(Math.max(out.length + more, out.ids.length * 2, 64))
  grown.set(out.ids.subarray(0, out.length))
  out.ids = grown
}

export const makeScratch = (): Scratch => scratchOf(1024)

const scratchOf = (capacity: number): Scratch => ({
  bytes: new Uint8Array(capacity),
  symbols: new Int32Array(capacity),
  ranks: new Int32Array(capacity),
  next: new Int32Array(capacity),
  previous: new Int32Array(capacity),
  heap: new Float64Array(capacity * 3)
})

/** Room for a piece of `length` UTF-16 units: three bytes each at most. */
export const fit = (scratch: Scratch, length: number): void => {
  if (length * 3 > scratch.bytes.length) Object.assign(scratch, scratchOf(length * 3))
}

/** Gives back what one huge piece made the scratch grow to. */
export const shrink = (scratch: Scratch): void => {
  if (scratch.bytes.length > 1 << 20) Object.assign(scratch, scratchOf(1024))
}

/** UTF-8 of a well-formed string into `scratch.bytes`; returns the length. `fit` first. */
export const utf8 = (scratch: Scratch, text: string): number => {
  const { bytes } = scratch
  let at = 0
  for (let i = 0; i < text.length; i++) {
    let unit = text.charCodeAt(i)
    if (unit < 0x80) bytes[at++] = unit
    else if (unit < 0x800) {
      bytes[at++] = 0xc0 | (unit >> 6)
      bytes[at++] = 0x80 | (unit & 63)
    } else {
      if ((unit & 0xfc00) === 0xd800) {
        unit = 0x10000 + ((unit & 0x3ff) << 10) + (text.charCodeAt(++i) & 0x3ff)
        bytes[at++] = 0xf0 | (unit >> 18)
        bytes[at++] = 0x80 | ((unit >> 12) & 63)
      } else bytes[at++] = 0xe0 | (unit >> 12)
      bytes[at++] = 0x80 | ((unit >> 6) & 63)
      bytes[at++] = 0x80 | (unit & 63)
    }
  }
  return at
}

const pairSlot = (merges: Int32Array, left: number, right: number): number =>
  Math.imul(Math.imul(left, 0x9e3779b1) + right, 0x85ebca6b) >>> (Math.clz32(merges.length >> 2) + 1)

/** Index of the pair's slot, or -1 when the pair does not merge. */
const find = (merges: Int32Array, left: number, right: number): number => {
  const wrap = merges.length - 1
  let at = pairSlot(merges, left, right) << 2
  for (;;) {
    const found = merges[at]!
    if (found === left && merges[at + 1] === right) return at
    if (found === -1) return -1
    at = (at + 4) & wrap
  }
}

const rankOf = (merges: Int32Array, left: number, right: number): number => {
  const at = find(merges, left, right)
  return at === -1 ? none : merges[at + 2]!
}

/** Adds a merge; the later of two equal pairs wins. `merges.length` is four times a power of two, at most half full. */
export const addMerge = (merges: Int32Array, left: number, right: number, rank: number, merged: number): void => {
  const wrap = merges.length - 1
  let at = pairSlot(merges, left, right) << 2
  while (merges[at] !== -1 && !(merges[at] === left && merges[at + 1] === right)) at = (at + 4) & wrap
  merges[at] = left
  merges[at + 1] = right
  merges[at + 2] = rank
  merges[at + 3] = merged
}

const wholeSlot = (wholes: Int32Array, bytes: Uint8Array, from: number, to: number): number => {
  let hash = 0x811c9dc5
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> (Math.clz32(wholes.length) + 1)
}

/** Makes token `id` findable by its bytes. The later of two equal tokens wins. */
export const addWhole = (tables: BpeTables, id: number): void => {
  const { bytes, starts, wholes } = tables
  const wrap = wholes.length - 1
  const from = starts[id]!
  let slot = wholeSlot(wholes, bytes, from, starts[id + 1]!)
  while (wholes[slot] !== -1) slot = (slot + 1) & wrap
  wholes[slot] = id
}

const findWhole = (tables: BpeTables, piece: Uint8Array, length: number): number => {
  const { bytes, starts, wholes } = tables
  const wrap = wholes.length - 1
  let slot = wholeSlot(wholes, piece, 0, length)
  for (;;) {
    const id = wholes[slot]!
    if (id === -1) return -1
    const from = starts[id]!
    if (starts[id + 1]! - from === length) {
      let i = 0
      while (i < length && bytes[from + i] === piece[i]) i++
      if (i === length) return id
    }
    slot = (slot + 1) & wrap
  }
}

/** Token ids of the piece in `scratch.bytes[0 .. length]`, appended to `out`. */
export const encode = (tables: BpeTables, scratch: Scratch, length: number, out: Ids): void => {
  if (tables.wholes.length > 0) {
    const id = findWhole(tables, scratch.bytes, length)
    if (id !== -1) {
      push(out, id)
      return
    }
  }
  const { byteIds } = tables
  const { bytes, symbols } = scratch
  for (let i = 0; i < length; i++) symbols[i] = byteIds[bytes[i]!]!
  const left = length <= scanMax ? scan(tables.merges, scratch, length) : heap(tables.merges, scratch, length)
  if (out.length + left > out.ids.length) reserve(out, left)
  const { ids } = out
  let at = out.length
  for (let i = 0; i < left; i++) ids[at++] = symbols[i]!
  out.length = at
}

/** Merges `symbols` in place by looking for the best pair each time; returns how many are left. */
const scan = (merges: Int32Array, scratch: Scratch, length: number): number => {
  const { ranks, symbols } = scratch
  let count = length
  for (let i = 0; i + 1 < count; i++) ranks[i] = rankOf(merges, symbols[i]!, symbols[i + 1]!)
  while (count > 1) {
    let best = none
    let at = 0
    for (let i = 0; i + 1 < count; i++) {
      if (ranks[i]! < best) {
        best = ranks[i]!
        at = i
      }
    }
    if (best === none) break
    symbols[at] = merges[find(merges, symbols[at]!, symbols[at + 1]!) + 3]!
    count--
    for (let i = at + 1; i < count; i++) {
      symbols[i] = symbols[i + 1]!
      ranks[i] = ranks[i + 1]!
    }
    if (at > 0) ranks[at - 1] = rankOf(merges, symbols[at - 1]!, symbols[at]!)
    if (at + 1 < count) ranks[at] = rankOf(merges, symbols[at]!, symbols[at + 1]!)
  }
  return count
}

/** The same, by a heap of rank and position; an entry whose pair has changed since is skipped. */
const heap = (merges: Int32Array, scratch: Scratch, length: number): number => {
  const { heap: queue, next, previous, ranks, symbols } = scratch
  let size = 0
  for (let i = 0; i < length; i++) {
    next[i] = i + 1
    previous[i] = i - 1
    const rank = i + 1 < length ? rankOf(merges, symbols[i]!, symbols[i + 1]!) : none
    ranks[i] = rank
    if (rank !== none) size = offer(queue, size, rank * positions + i)
  }
  while (size > 0) {
    const top = queue[0]!
    size = drop(queue, size)
    const rank = Math.floor(top / positions)
    const at = top - rank * positions
    if (ranks[at] !== rank) continue
    const gone = next[at]!
    symbols[at] = merges[find(merges, symbols[at]!, symbols[gone]!) + 3]!
    ranks[gone] = none
    const after = next[gone]!
    next[at] = after
    if (after < length) previous[after] = at
    const following = after < length ? rankOf(merges, symbols[at]!, symbols[after]!) : none
    ranks[at] = following
    if (following !== none) size = offer(queue, size, following * positions + at)
    const before = previous[at]!
    if (before >= 0) {
      const preceding = rankOf(merges, symbols[before]!, symbols[at]!)
      ranks[before] = preceding
      if (preceding !== none) size = offer(queue, size, preceding * positions + before)
    }
  }
  let count = 0
  for (let i = 0; i < length; i = next[i]!) symbols[count++] = symbols[i]!
  return count
}

const offer = (queue: Float64Array, size: number, key: number): number => {
  let at = size
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (queue[parent]! <= key) break
    queue[at] = queue[parent]!
    at = parent
  }
  queue[at] = key
  return size + 1
}

const drop = (queue: Float64Array, size: number): number => {
  const last = size - 1
  const key = queue[last]!
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= last) break
    if (child + 1 < last && queue[child + 1]! < queue[child]!) child++
    if (queue[child]! >= key) break
    queue[at] = queue[child]!
    at = child
  }
  queue[at] = key
  return last
}
