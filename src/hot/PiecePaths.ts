/**
 * Which pieces of their chains some blocks of the prefix table lie in, and by which path: what a `Share` of the metadata store
 * is made of.
 *
 * A piece is an aligned stretch of `stride` blocks of a chain. It may lie in several runs, so a path is followed back over
 * parent runs to its first block. Where a run's place is not known, or its parent not there any more, nobody can say.
 */
import type { KeyLanes } from "../domain/Block.ts"
import * as KeySlots from "./KeySlots.ts"
import { strideMax } from "./PieceNode.ts"
import * as RunArena from "./RunArena.ts"
import { BASE, LEN_MASK, SHAPE, type TableMemory } from "./TableMemory.ts"

/** One path through one piece, and which of its places are spoken of. Reused between calls. */
export interface PiecePath {
  piece: number
  /** Two lanes per key: of the block before the piece, both 0 when it begins its chain; then those of the path. */
  readonly lanes: Int32Array
  /** Keys of the path. */
  count: number
  /** First place in the same run as the path's last: keys of one run follow on each other. */
  from: number
  /** A bit for each place spoken of, the last of the path among them. */
  told: number
  /** Of the keys last given: not in the table; in it, but by no known path. */
  missing: number
  unplaced: number
}

export const make = (): PiecePath => ({
  piece: 0,
  lanes: new Int32Array(2 * (strideMax + 1)),
  count: 0,
  from: 0,
  told: 0,
  missing: 0,
  unplaced: 0
})

/**
 * Calls `take` for every run and piece that these keys touch, in the order met; neighbours in a chain cost least side by
 * side, either way round. O(keys + stride · pieces). Allocates nothing.
 */
export const pieces = (
  t: TableMemory,
  keys: KeyLanes,
  stride: number,
  out: PiecePath,
  take: (path: PiecePath) => void
): void => {
  const count = keys.length >>> 1
  out.missing = 0
  out.unplaced = 0
  let ref = 0
  let run = 0
  /** Place of the run's first key; -1 when it is not known. */
  let place = -1
  /** The piece under way, the deepest offset of it met, and its places. */
  let piece = -1
  let deepest = 0
  let told = 0
  for (let i = 0; i < count; i++) {
    const lo = keys[i << 1]!
    const hi = keys[(i << 1) + 1]!
    if (ref !== 0) ref = beside(t, ref, lo, hi)
    if (ref === 0) ref = KeySlots.find(t, lo, hi)
    if (ref === 0) {
      out.missing++
      continue
    }
    const offset = ref & 255
    if (ref >>> 8 !== run) {
      if (told !== 0) emit(t, run, deepest, piece, stride, told, out, take)
      told = 0
      piece = -1
      run = ref >>> 8
      place = RunArena.placeOf(t, run) - 1
    }
    if (place < 0) {
      out.unplaced++
      continue
    }
    const at = Math.trunc((place + offset) / stride)
    if (at !== piece) {
      if (told !== 0) emit(t, run, deepest, piece, stride, told, out, take)
      told = 0
      piece = at
      deepest = offset
    } else if (offset > deepest) deepest = offset
    told |= 1 << (place + offset - at * stride)
  }
  if (told !== 0) emit(t, run, deepest, piece, stride, told, out, take)
}

/** The key after the one found last, or before it, when it is this one; else 0. */
const beside = (t: TableMemory, ref: number, lo: number, hi: number): number => {
  const { keys, runs } = t
  const at = (ref >>> 8) * t.stride
  const offset = ref & 255
  const key = (runs[at + BASE]! + offset) << 1
  if (offset + 1 < (runs[at + SHAPE]! & LEN_MASK) && keys[key + 2] === lo && keys[key + 3] === hi) return ref + 1
  return offset > 0 && keys[key - 2] === lo && keys[key - 1] === hi ? ref - 1 : 0
}

const emit = (
  t: TableMemory,
  run: number,
  deepest: number,
  piece: number,
  stride: number,
  told: number,
  out: PiecePath,
  take: (path: PiecePath) => void
): void => {
  if (trace(t, run, deepest, piece, stride, out)) {
    out.told = told
    take(out)
  } else for (let left = told; left !== 0; left &= left - 1) out.unplaced++
}

/**
 * Writes the path that ends with this offset of a run, whose place is known, from its piece's first block on. False when it is
 * not known. O(stride).
 */
export const trace = (
  t: TableMemory,
  run: number,
  offset: number,
  piece: number,
  stride: number,
  out: PiecePath
): boolean => {
  const { keys, runs } = t
  const { lanes } = out
  const first = piece * stride
  let place = RunArena.placeOf(t, run) - 1
  /** Keys left to be written, of which the last goes to this place of `lanes`; the parent's is place 0. */
  let left = place + offset - first + 1
  let at = run * t.stride
  let end = offset
  out.piece = piece
  out.count = left
  out.from = Math.max(0, place - first)
  for (;;) {
    const from = Math.max(0, end - left + 1)
    for (let key = (runs[at + BASE]! + end) << 1; end >= from; end--, left--, key -= 2) {
      lanes[left << 1] = keys[key]!
      lanes[(left << 1) + 1] = keys[key + 1]!
    }
    if (left === 0 && (first === 0 || end >= 0)) break
    const parent = RunArena.parentOf(t, at)
    const before = RunArena.placeOf(t, parent >>> 8) - 1
    end = parent & 255
    if (parent === 0 || before < 0 || before + end + 1 !== place) return false
    at = (parent >>> 8) * t.stride
    place = before
  }
  const key = (runs[at + BASE]! + end) << 1
  lanes[0] = first === 0 ? 0 : keys[key]!
  lanes[1] = first === 0 ? 0 : keys[key + 1]!
  return true
}
