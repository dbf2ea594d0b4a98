/**
 * What some holders hold, as words, and back: for another replica; and dumps for tests and the admin page.
 *
 * A snapshot is a row of chunks, each complete in itself, so that neither side must stop for long. What a chunk says is
 * stored like any news; doing that twice, or into a table that has more, changes nothing else. A table that is written to
 * while its chunks are taken gives no single moment: apply the changes since the first chunk after installing, all of
 * them, in order. That comes out the same, for a key's last change decides; only what copies a holder must not be among them.
 * A chunk, in Int32: magic, runs, then per run: length, names, spans, parent key `lo hi` (both 0 at the start of a chain),
 * names of those that hold all of it, spans (name, `lo | hi << 16`), keys.
 */
import type { KeyLanes } from "../domain/Block.ts"
import * as KeySlots from "./KeySlots.ts"
import * as RunArena from "./RunArena.ts"
import {
  BASE,
  COVER,
  DEPTH,
  FULL,
  LEN_MASK,
  PARENT,
  PARENT_LO,
  PARENT_VERSION,
  RUN_TOP,
  SHAPE,
  SPAN_WORDS,
  SPANS,
  type TableMemory,
  WORDS
} from "./TableMemory.ts"

const MAGIC = 0x32575057 // "WPW2"
const HEADER = 2
const RUN_HEADER = 5
/** Run headers looked at for one chunk: about a millisecond. */
const LOOK_MAX = 16_384

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
    yield {
      keys: t.keys.slice(base, base + (length << 1)),
      holders: holdersOf(t, at).filter((holder) => isLive(t, holder)),
      parts: partsOf(t, at).filter(({ holder }) => isLive(t, holder))
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
 * Runs from run id `from` on (0 to begin), in at most `wordsMax` words, and the id to go on from; 0 when that was the last
 * chunk. `names`: what each holder is called, negative for those that are left out. A chunk may be empty. Of a run so torn
 * that its spans do not fit a chunk some are left out, as is one that more names hold than fit.
 */
export const snapshot = (
  t: TableMemory,
  from: number,
  names: Int32Array,
  wordsMax: number
): { readonly words: Int32Array; readonly next: number } => {
  const { head, keys, runs, spans, stride } = t
  const wanted = new Int32Array(head[WORDS]!)
  for (let holder = 0; holder < wanted.length << 5; holder++) {
    if (names[holder]! >= 0 && isLive(t, holder)) wanted[holder >>> 5]! |= 1 << (holder & 31)
  }
  const out = new Int32Array(wordsMax)
  out[0] = MAGIC
  let to = HEADER
  let run = Math.max(1, from)
  const end = Math.min(head[RUN_TOP]!, run + LOOK_MAX)
  for (; run < end; run++) {
    const at = run * stride
    const length = runs[at + SHAPE]! & LEN_MASK
    if (length === 0) continue
    let put = to + RUN_HEADER
    const stop = wordsMax - (length << 1)
    let full = 0
    if (runs[at + FULL] !== 0) {
      for (let w = 0; w < wanted.length; w++) {
        for (let set = runs[at + COVER + w]! & wanted[w]!; set !== 0; set &= set - 1, full++) {
          if (put < stop) out[put] = names[(w << 5) + 31 - Math.clz32(set & -set)]!
          put++
        }
      }
    }
    let parts = 0
    for (let span = runs[at + SPANS]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) {
      const holder = spans[span * SPAN_WORDS]!
      if ((wanted[holder >>> 5]! & (1 << (holder & 31))) === 0) continue
      if (put + 2 > stop && to === HEADER) break
      if (put + 2 <= stop) {
        out[put] = names[holder]!
        out[put + 1] = spans[span * SPAN_WORDS + 1]!
      }
      put += 2
      parts++
    }
    if (full + parts === 0) continue
    if (put > stop) {
      if (to > HEADER) break
      continue // More names than fit any chunk.
    }
    const parent = parentKey(t, at)
    out[to] = length
    out[to + 1] = full
    out[to + 2] = parts
    out[to + 3] = parent[0]
    out[to + 4] = parent[1]
    const base = runs[at + BASE]! << 1
    out.set(keys.subarray(base, base + (length << 1)), put)
    to = put + (length << 1)
    out[1]!++
  }
  return { words: out.subarray(0, to), next: run < head[RUN_TOP]! ? run : 0 }
}

/**
 * Tells of every stretch of keys that a chunk says a name holds, in the order of chains as far as it is known. False when
 * the words are no chunk, and then nothing was told; or as soon as `take` answers false.
 */
export const stored = (
  words: Int32Array,
  take: (name: number, parent: KeyLanes | null, keys: KeyLanes) => boolean
): boolean => {
  if (!isChunk(words)) return false
  let at = HEADER
  for (let run = 0; run < words[1]!; run++) {
    const length = words[at]!
    const names = at + RUN_HEADER
    const parts = names + words[at + 1]!
    const keysAt = parts + (words[at + 2]! << 1)
    const parent = words[at + 3] === 0 && words[at + 4] === 0 ? null : words.subarray(at + 3, at + 5)
    const keys = words.subarray(keysAt, keysAt + (length << 1))
    for (let i = names; i < parts; i++) if (!take(words[i]!, parent, keys)) return false
    for (let i = parts; i < keysAt; i += 2) {
      const from = words[i + 1]! & 0xffff
      const to = words[i + 1]! >>> 16
      const before = from === 0 ? parent : keys.subarray((from - 1) << 1, from << 1)
      if (!take(words[i]!, before, keys.subarray(from << 1, to << 1))) return false
    }
    at = keysAt + (length << 1)
  }
  return true
}

/** Checks every length before anything is told. */
const isChunk = (words: Int32Array): boolean => {
  if (words.length < HEADER || words[0] !== MAGIC || words[1]! < 0) return false
  let at = HEADER
  for (let run = 0; run < words[1]!; run++) {
    if (at + RUN_HEADER > words.length) return false
    const length = words[at]!
    const names = words[at + 1]!
    const parts = words[at + 2]!
    if (length < 1 || length > 256 || names < 0 || names > 65_536 || parts < 0 || parts > 1 << 25) return false
    const partsAt = at + RUN_HEADER + names
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

const isLive = (t: TableMemory, holder: number): boolean => (t.live[holder >>> 5]! & (1 << (holder & 31))) !== 0

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

/** Both 0 at the start of a chain; `UNKNOWN` where nobody can say. */
const parentKey = (t: TableMemory, at: number): readonly [number, number] => {
  const { keys, runs } = t
  const parent = RunArena.parentOf(t, at)
  if (parent !== 0) {
    const key = (runs[(parent >>> 8) * t.stride + BASE]! + (parent & 255)) << 1
    return [keys[key]!, keys[key + 1]!]
  }
  if (runs[at + DEPTH] === 1) return [0, 0]
  const [lo, hi] = [runs[at + PARENT_LO]!, runs[at + PARENT_VERSION]!]
  return runs[at + PARENT] === 0 && (lo !== 0 || hi !== 0) ? [lo, hi] : UNKNOWN
}

/** No block's key but for one in 2^64. */
const UNKNOWN = [1, 0] as const
