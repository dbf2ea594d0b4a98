/**
 * What holders of the prefix table hold, piece by piece: of one path, and of all there is.
 */
import * as KeySlots from "./KeySlots.ts"
import * as PiecePaths from "./PiecePaths.ts"
import * as PrefixSweep from "./PrefixSweep.ts"
import * as RunArena from "./RunArena.ts"
import {
  BASE,
  COVER,
  LEN_MASK,
  RUN_MAX,
  RUN_TOP,
  SHAPE,
  SPAN_WORDS,
  SPANS,
  type TableMemory,
  WORDS
} from "./TableMemory.ts"

/**
 * Those of the places `told` that a holder holds now. `lanes`: the path's keys from place 0 on, after that of the block before
 * it, as in `PiecePath`. O(told).
 */
export const heldOf = (t: TableMemory, holder: number, lanes: Int32Array, told: number): number => {
  if (!PrefixSweep.free(t, holder)) return 0
  const { keys, runs, spans, stride } = t
  let ref = 0
  let run = 0
  let held = 0
  // Which offsets of the run are alike, and whether they are held.
  let low = 0
  let high = 0
  let isHeld = false
  for (let place = 31 - Math.clz32(told); place >= 0; place--) {
    const lo = lanes[(place << 1) + 2]!
    const hi = lanes[(place << 1) + 3]!
    if ((ref & 255) > 0) {
      const key = (runs[run * stride + BASE]! + (ref & 255) - 1) << 1
      ref = keys[key] === lo && keys[key + 1] === hi ? ref - 1 : 0
    } else ref = 0
    if (((told >>> place) & 1) === 0) continue
    if (ref === 0) ref = KeySlots.find(t, lo, hi)
    if (ref === 0) continue
    const offset = ref & 255
    if (ref >>> 8 !== run || offset < low || offset >= high) {
      run = ref >>> 8
      low = 0
      high = RUN_MAX
      const at = run * stride
      isHeld = (runs[at + COVER + (holder >>> 5)]! & (1 << (holder & 31))) !== 0
      for (let span = isHeld ? 0 : runs[at + SPANS]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) {
        if (spans[span * SPAN_WORDS] !== holder) continue
        const from = spans[span * SPAN_WORDS + 1]! & 0xffff
        const to = spans[span * SPAN_WORDS + 1]! >>> 16
        if (to <= offset) low = Math.max(low, to)
        else if (from > offset) high = Math.min(high, from)
        else {
          low = from
          high = to
          isHeld = true
          break
        }
      }
    }
    if (isHeld) held |= 1 << place
  }
  return held
}

/** Run headers looked at in one call: about half a millisecond. */
const lookMax = 8_192

/**
 * Calls `take(name, path)` for what some holders hold of run `from` and those after it (0 to begin), until so many were told,
 * and answers the run to go on from, 0 when that was the last. `names`: what each holder is called, negative for those left
 * out. Blocks by no known path are counted in `out.unplaced`.
 */
export const walk = (
  t: TableMemory,
  from: number,
  names: Int32Array,
  stride: number,
  sharesMax: number,
  out: PiecePaths.PiecePath,
  take: (name: number, path: PiecePaths.PiecePath) => void
): number => {
  const { head, runs, spans } = t
  const parts: Array<number> = []
  const end = Math.min(head[RUN_TOP]!, Math.max(1, from) + lookMax)
  const words = head[WORDS]!
  const wanted = new Int32Array(words)
  for (let holder = 0; holder < words << 5; holder++) {
    if (names[holder]! >= 0 && PrefixSweep.free(t, holder)) wanted[holder >>> 5]! |= 1 << (holder & 31)
  }
  out.missing = 0
  out.unplaced = 0
  let told = 0
  let run = Math.max(1, from)
  for (; run < end && told < sharesMax; run++) {
    const at = run * t.stride
    const length = runs[at + SHAPE]! & LEN_MASK
    if (length === 0) continue
    parts.length = 0
    for (let w = 0; w < words; w++) {
      for (let set = runs[at + COVER + w]! & wanted[w]!; set !== 0; set &= set - 1) {
        parts.push(names[(w << 5) + 31 - Math.clz32(set & -set)]!, 0, length)
      }
    }
    for (let span = runs[at + SPANS]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) {
      const holder = spans[span * SPAN_WORDS]!
      if ((wanted[holder >>> 5]! & (1 << (holder & 31))) === 0) continue
      const bounds = spans[span * SPAN_WORDS + 1]!
      parts.push(names[holder]!, bounds & 0xffff, bounds >>> 16)
    }
    if (parts.length > 0) told += tell(t, run, length, parts, stride, out, take)
  }
  return run < head[RUN_TOP]! ? run : 0
}

/** Tells of `parts` (name, from, to) of a run, piece by piece. Returns how often. */
const tell = (
  t: TableMemory,
  run: number,
  length: number,
  parts: ReadonlyArray<number>,
  stride: number,
  out: PiecePaths.PiecePath,
  take: (name: number, path: PiecePaths.PiecePath) => void
): number => {
  const place = RunArena.placeOf(t, run) - 1
  let count = 0
  if (place < 0) {
    for (let i = 0; i < parts.length; i += 3) out.unplaced += parts[i + 2]! - parts[i + 1]!
    return 0
  }
  for (let piece = Math.trunc(place / stride); piece * stride < place + length; piece++) {
    /** Offsets of the run that are in the piece. */
    const first = Math.max(0, piece * stride - place)
    const end = Math.min(length, (piece + 1) * stride - place)
    const isKnown = PiecePaths.trace(t, run, end - 1, piece, stride, out)
    for (let i = 0; i < parts.length; i += 3) {
      const from = Math.max(first, parts[i + 1]!)
      const to = Math.min(end, parts[i + 2]!)
      if (from >= to) continue
      if (!isKnown) {
        out.unplaced += to - from
        continue
      }
      const low = place + from - piece * stride
      out.count = low + to - from
      out.told = (to - from === 32 ? -1 : (1 << (to - from)) - 1) << low
      take(parts[i]!, out)
      count++
    }
  }
  return count
}
