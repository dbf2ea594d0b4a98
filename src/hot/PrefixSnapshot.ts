/**
 * The table as bytes, and back: warm restarts, a new replica, the admin dump.
 *
 * A snapshot is a row of chunks, each complete in itself, so that neither side must stop for long. Installing stores
 * what a chunk says; doing it twice, or into a table that has more, changes nothing else. A table that is written to
 * while its chunks are taken gives no single moment: apply the changes seen since the first chunk after installing.
 * A chunk, in little-endian Int32: magic, holdersMax, runs, then per run: length, full holders, spans, parent key
 * `lo hi` (both 0 at the start of a chain or when unknown), holders, spans (holder, `lo | hi << 16`), keys.
 */
import type { KeyLanes } from "../domain/Block.ts"
import * as KeySlots from "./KeySlots.ts"
import * as PrefixWrite from "./PrefixWrite.ts"
import {
  BASE,
  COVER,
  FULL,
  LEN_MASK,
  PARENT,
  PARENT_VERSION,
  RUN_TOP,
  SHAPE,
  SPAN_WORDS,
  SPANS,
  type TableMemory,
  VERSION,
  WORDS
} from "./TableMemory.ts"

const MAGIC = 0x31575057 // "WPW1"
const HEADER = 3
const RUN_HEADER = 5

/** A chain of blocks and who holds it. */
export interface Run {
  readonly keys: KeyLanes
  /** Holders that hold all of it. */
  readonly holders: ReadonlyArray<number>
  /** Holders that hold `[from, to)` of it, several times for one with holes. */
  readonly parts: ReadonlyArray<{ readonly holder: number; readonly from: number; readonly to: number }>
}

/** Every run, in no particular order. For tests and the admin page: allocates. */
export function* dump(t: TableMemory): Generator<Run> {
  for (let run = 1; run < t.head[RUN_TOP]!; run++) {
    const at = run * t.stride
    const length = t.runs[at + SHAPE]! & LEN_MASK
    if (length === 0) continue
    const base = t.runs[at + BASE]! << 1
    const isLive = (holder: number) => (t.live[holder >>> 5]! & (1 << (holder & 31))) !== 0
    yield {
      keys: t.keys.slice(base, base + (length << 1)),
      holders: holdersOf(t, at).filter(isLive),
      parts: partsOf(t, at).filter(({ holder }) => isLive(holder))
    }
  }
}

/** Keys of a holder. O(runs); allocates. */
export const keysOf = (t: TableMemory, holder: number): KeyLanes => {
  const pieces: Array<KeyLanes> = []
  let size = 0
  for (const { holders, keys, parts } of dump(t)) {
    const mine = holders.includes(holder) ? [keys] : []
    for (const part of parts) if (part.holder === holder) mine.push(keys.subarray(part.from << 1, part.to << 1))
    for (const piece of mine) {
      pieces.push(piece)
      size += piece.length
    }
  }
  const all = new Int32Array(size)
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}

/** True when the holder holds this very block, whatever it holds before it. */
export const holds = (t: TableMemory, holder: number, lo: number, hi: number): boolean => {
  const ref = KeySlots.find(t, lo, hi)
  const bit = 1 << (holder & 31)
  if (ref === 0 || (t.live[holder >>> 5]! & bit) === 0) return false
  const at = (ref >>> 8) * t.stride
  const offset = ref & 255
  if ((t.runs[at + COVER + (holder >>> 5)]! & bit) !== 0) return true
  return partsOf(t, at).some((part) => part.holder === holder && part.from <= offset && offset < part.to)
}

/**
 * Up to `runsMax` runs from run id `from` on (0 to begin), and the id to go on from; 0 when that was the last chunk.
 * Holders that were cleared are left out.
 */
export const snapshot = (t: TableMemory, from = 0, runsMax = 4_096): { bytes: Uint8Array; next: number } => {
  const out: Array<number> = [MAGIC, t.holdersMax, 0]
  let run = Math.max(1, from)
  for (; run < t.head[RUN_TOP]! && out[2]! < runsMax; run++) {
    const at = run * t.stride
    const length = t.runs[at + SHAPE]! & LEN_MASK
    if (length === 0) continue
    const isLive = (holder: number) => (t.live[holder >>> 5]! & (1 << (holder & 31))) !== 0
    const holders = holdersOf(t, at).filter(isLive)
    const parts = partsOf(t, at).filter(({ holder }) => isLive(holder))
    if (holders.length + parts.length === 0) continue
    const parent = parentKey(t, at)
    out.push(length, holders.length, parts.length, parent[0], parent[1], ...holders)
    for (const { holder, from: lo, to: hi } of parts) out.push(holder, lo | (hi << 16))
    const base = t.runs[at + BASE]! << 1
    for (let i = 0; i < length << 1; i++) out.push(t.keys[base + i]!)
    out[2]!++
  }
  const bytes = new Uint8Array(out.length * 4)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < out.length; i++) view.setInt32(i * 4, out[i]!, true)
  return { bytes, next: run < t.head[RUN_TOP]! ? run : 0 }
}

/**
 * Stores what a chunk says. `rename` numbers holders anew; a negative number leaves one out. Returns how many runs were
 * installed, or -1 when the bytes are no chunk, and then nothing was changed.
 */
export const install = (
  t: TableMemory,
  bytes: Uint8Array,
  rename: (holder: number) => number = (holder) => holder
): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const words = new Int32Array(bytes.byteLength >>> 2)
  for (let i = 0; i < words.length; i++) words[i] = view.getInt32(i * 4, true)
  if (!isChunk(words, bytes.byteLength)) return -1
  let at = HEADER
  for (let run = 0; run < words[2]!; run++) {
    const length = words[at]!
    const holders = at + RUN_HEADER
    const parts = holders + words[at + 1]!
    const keysAt = parts + (words[at + 2]! << 1)
    const parent = words[at + 3] === 0 && words[at + 4] === 0 ? null : words.subarray(at + 3, at + 5)
    const keys = words.subarray(keysAt, keysAt + (length << 1))
    for (let i = holders; i < parts; i++) PrefixWrite.store(t, rename(words[i]!), parent, keys, length)
    for (let i = parts; i < keysAt; i += 2) {
      const from = words[i + 1]! & 0xffff
      const to = words[i + 1]! >>> 16
      const before = from === 0 ? parent : keys.subarray((from - 1) << 1, from << 1)
      PrefixWrite.store(t, rename(words[i]!), before, keys.subarray(from << 1, to << 1), to - from)
    }
    at = keysAt + (length << 1)
  }
  return words[2]!
}

/** Checks every length before anything is stored. */
const isChunk = (words: Int32Array, byteLength: number): boolean => {
  if (byteLength % 4 !== 0 || words.length < HEADER || words[0] !== MAGIC || words[2]! < 0) return false
  let at = HEADER
  for (let run = 0; run < words[2]!; run++) {
    if (at + RUN_HEADER > words.length) return false
    const length = words[at]!
    const holders = words[at + 1]!
    const parts = words[at + 2]!
    if (length < 1 || length > 256 || holders < 0 || holders > 65_536 || parts < 0 || parts > 1 << 25) return false
    const partsAt = at + RUN_HEADER + holders
    const keysAt = partsAt + parts * 2
    if (keysAt + length * 2 > words.length) return false
    for (let i = partsAt; i < keysAt; i += 2) {
      const from = words[i + 1]! & 0xffff
      const to = words[i + 1]! >>> 16
      if (from >= to || to > length) return false
    }
    at = keysAt + length * 2
  }
  return at === words.length
}

const holdersOf = (t: TableMemory, at: number): Array<number> => {
  const holders: Array<number> = []
  if (t.runs[at + FULL] === 0) return holders
  for (let w = 0; w < t.head[WORDS]!; w++) {
    for (let set = t.runs[at + COVER + w]!; set !== 0; set &= set - 1) {
      holders.push((w << 5) + 31 - Math.clz32(set & -set))
    }
  }
  return holders
}

const partsOf = (t: TableMemory, at: number) => {
  const parts: Array<{ holder: number; from: number; to: number }> = []
  for (let span = t.runs[at + SPANS]!; span !== 0; span = t.spans[span * SPAN_WORDS + 2]!) {
    const bounds = t.spans[span * SPAN_WORDS + 1]!
    parts.push({ holder: t.spans[span * SPAN_WORDS]!, from: bounds & 0xffff, to: bounds >>> 16 })
  }
  return parts
}

const parentKey = (t: TableMemory, at: number): readonly [number, number] => {
  const parent = t.runs[at + PARENT]!
  const parentAt = (parent >>> 8) * t.stride
  const offset = parent & 255
  if (parent === 0 || t.runs[parentAt + VERSION] !== t.runs[at + PARENT_VERSION]) return [0, 0]
  if (offset >= (t.runs[parentAt + SHAPE]! & LEN_MASK)) return [0, 0]
  const key = (t.runs[parentAt + BASE]! + offset) << 1
  return [t.keys[key]!, t.keys[key + 1]!]
}
