/**
 * Who holds how many leading blocks of a request.
 *
 * Walks run by run, not block by block. Keys are chained, so two chains that agree on a key agree on all before it:
 * comparing the last key of the overlap is enough, and where it differs a bisection finds the first difference.
 * A holder stays in the race while its bit is set; one with spans stops where its span ends, so holes never count.
 */
import type { KeyLanes } from "../domain/Block.ts"
import * as KeySlots from "./KeySlots.ts"
import * as PrefixAhead from "./PrefixAhead.ts"
import {
  BASE,
  COVER,
  EPOCH,
  LEN_MASK,
  RUN_MAX,
  SHAPE,
  SPAN_WORDS,
  SPANS,
  STAMP,
  type TableMemory,
  WORDS
} from "./TableMemory.ts"

/**
 * The answer: who holds how many leading blocks. A holder in none of it holds not even the first. Reused between calls.
 *
 * Levels: `masks[level * words …]` is a set of holders whose prefix ends after exactly `depths[level]` blocks. Stops: single
 * holders whose prefix ends within a run. Each holder is in one of either, once.
 */
export interface Levels {
  count: number
  /** Words per mask: as many as the table had in use. */
  words: number
  readonly depths: Int32Array
  readonly masks: Int32Array
  stops: number
  readonly stopHolders: Int32Array
  readonly stopDepths: Int32Array
}

export const makeLevels = (t: TableMemory): Levels => ({
  count: 0,
  words: t.words,
  depths: new Int32Array(t.holdersMax),
  masks: new Int32Array(t.holdersMax * t.words),
  stops: 0,
  stopHolders: new Int32Array(t.holdersMax),
  stopDepths: new Int32Array(t.holdersMax)
})

/**
 * Fills `out` for the first `count` keys of `query`. Returns how many leading blocks anyone holds.
 * O(runs + log run length); allocates nothing, never throws. Marks the runs it walks as recently used.
 */
export const levels = (t: TableMemory, query: KeyLanes, count: number, out: Levels): number => {
  const { alive, head, keys, live, race, rest, runs, stride } = t
  const epoch = head[EPOCH]!
  const words = head[WORDS]!
  for (let w = 0; w < words; w++) {
    alive[w] = live[w]!
    race[w] = w
  }
  /** Words of `alive` that may have a holder in them: the first of `race`. Long prompts soon have few. */
  let racing = words
  out.count = 0
  out.stops = 0
  out.words = words
  let depth = 0
  /** Keys found ahead, the next of them and which block it is; blocks before `ahead` were looked at. */
  let found = 0
  let next = 0
  let nextBlock = 0
  let ahead = RUN_MAX
  while (depth < count) {
    if (depth >= ahead) {
      found = PrefixAhead.read(t, query, depth, count, racing)
      next = 0
      nextBlock = depth + RUN_MAX - 1
      ahead = depth + PrefixAhead.keysAhead * RUN_MAX
    }
    for (; next < found && nextBlock < depth; next++) nextBlock += RUN_MAX
    // In the run of a key found ahead when that begins here or before.
    const back = nextBlock - depth
    const ref =
      next < found && back <= (t.refs[next]! & 255)
        ? t.refs[next]! - back
        : KeySlots.find(t, query[depth << 1]!, query[(depth << 1) + 1]!)
    if (ref === 0) break
    const at = (ref >>> 8) * stride
    const offset = ref & 255
    if (runs[at + STAMP] !== epoch) runs[at + STAMP] = epoch
    const size = matching(
      keys,
      runs[at + BASE]! + offset,
      (runs[at + SHAPE]! & LEN_MASK) - offset,
      query,
      depth,
      count - depth
    )
    let lost = 0
    let any = 0
    for (let i = 0; i < racing; i++) {
      const w = race[i]!
      const before = alive[w]!
      const stay = before & runs[at + COVER + w]!
      alive[w] = stay
      rest[w] = before ^ stay
      any |= stay
      lost |= before ^ stay
    }
    if (lost !== 0) {
      if (runs[at + SPANS] !== 0) {
        const further = followSpans(t, at, offset, size, depth, out)
        if (any === 0 && further < size) return depth + further
        any = 1
      } else if (depth !== 0) emit(out, depth, rest)
      // For one run more it does not pay.
      if (count - depth > RUN_MAX) racing = staying(t, racing)
    }
    if (any === 0) return depth
    depth += size
  }
  if (depth !== 0) emit(out, depth, alive)
  return depth
}

/** Writes each holder's overlap, in blocks, into `out[holder]`. O(holders) on top of `levels`. */
export const overlap = (t: TableMemory, query: KeyLanes, count: number, scratch: Levels, out: Uint32Array): void => {
  out.fill(0, 0, t.holdersMax)
  levels(t, query, count, scratch)
  const { words } = scratch
  for (let level = 0; level < scratch.count; level++) {
    const depth = scratch.depths[level]!
    for (let w = 0; w < words; w++) {
      let set = scratch.masks[level * words + w]!
      while (set !== 0) {
        const low = set & -set
        out[(w << 5) + 31 - Math.clz32(low)] = depth
        set ^= low
      }
    }
  }
  for (let i = 0; i < scratch.stops; i++) out[scratch.stopHolders[i]!] = scratch.stopDepths[i]!
}

/** How many keys agree from arena key `base` on and from `query[from]` on, given that the first does. */
export const matching = (
  keys: Int32Array,
  base: number,
  runLeft: number,
  query: KeyLanes,
  from: number,
  queryLeft: number
): number => {
  let high = runLeft < queryLeft ? runLeft : queryLeft
  let a = (base + high - 1) << 1
  let b = (from + high - 1) << 1
  if (keys[a] === query[b] && keys[a + 1] === query[b + 1]) return high
  let low = 1
  while (low < high - 1) {
    const middle = (low + high) >>> 1
    a = (base + middle - 1) << 1
    b = (from + middle - 1) << 1
    if (keys[a] === query[b] && keys[a + 1] === query[b + 1]) low = middle
    else high = middle
  }
  return low
}

/**
 * Holders in `rest` do not hold the whole run: those with a span here go on to its end, the others stopped at `depth`.
 * Returns how far into this stretch the furthest of them goes: `size` when one goes on past it.
 */
const followSpans = (t: TableMemory, at: number, offset: number, size: number, depth: number, out: Levels): number => {
  const { alive, rest, runs, spans } = t
  const { stopDepths, stopHolders, words } = out
  let { stops } = out
  let furthest = 0
  for (let span = runs[at + SPANS]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) {
    const s = span * SPAN_WORDS
    const holder = spans[s]!
    const bit = 1 << (holder & 31)
    const from = spans[s + 1]! & 0xffff
    const to = spans[s + 1]! >>> 16
    if ((rest[holder >>> 5]! & bit) === 0 || from > offset || to <= offset) continue
    rest[holder >>> 5]! ^= bit
    const reach = to - offset
    if (reach >= size) {
      alive[holder >>> 5]! |= bit
      furthest = size
      continue
    }
    stopHolders[stops] = holder
    stopDepths[stops++] = depth + reach
    if (reach > furthest) furthest = reach
  }
  out.stops = stops
  if (depth !== 0) {
    let left = 0
    for (let w = 0; w < words; w++) left |= rest[w]!
    if (left !== 0) emit(out, depth, rest)
  }
  return furthest
}

/** Leaves those words in `race` that have a holder in them, and `rest` empty. Returns how many. */
const staying = (t: TableMemory, racing: number): number => {
  const { alive, race, rest } = t
  let stay = 0
  for (let i = 0; i < racing; i++) {
    const w = race[i]!
    rest[w] = 0
    if (alive[w] !== 0) race[stay++] = w
  }
  return stay
}

const emit = (out: Levels, depth: number, set: Int32Array): void => {
  const { count, words, masks } = out
  out.depths[count] = depth
  for (let w = 0; w < words; w++) masks[count * words + w] = set[w]!
  out.count = count + 1
}
