/**
 * Who holds how much of a run: one bit per holder that holds all of it, and spans `[lo, hi)` for those that hold part.
 *
 * Kept true here: a holder has its bit or spans, never both; its spans neither touch nor cover the whole run; the last
 * key of a run has a holder, unless the run waits in the queue that clearing leaves behind.
 * A key in the middle that nobody holds any more stays until its run shrinks past it or ends; it is credited to nobody.
 */
import * as RunArena from "./RunArena.ts"
import {
  COVER,
  DROPPED,
  FULL,
  LEN_MASK,
  MEMBERSHIPS,
  SHAPE,
  SPAN_FREE,
  SPAN_TOP,
  SPAN_WORDS,
  SPANS,
  SPANS_USED,
  type TableMemory,
  WORDS
} from "./TableMemory.ts"

/** The holder now holds offsets `lo … hi`. Returns how many of them are news. */
export const cover = (t: TableMemory, run: number, holder: number, lo: number, hi: number): number => {
  const { runs, spans } = t
  const at = run * t.stride
  const word = at + COVER + (holder >>> 5)
  const bit = 1 << (holder & 31)
  if ((runs[word]! & bit) !== 0) return 0
  const length = runs[at + SHAPE]! & LEN_MASK
  let first = lo
  let last = hi
  let had = 0
  let before = 0
  for (let span = runs[at + SPANS]!; span !== 0; ) {
    const s = span * SPAN_WORDS
    const next = spans[s + 2]!
    if (spans[s] === holder) {
      const from = spans[s + 1]! & 0xffff
      const to = spans[s + 1]! >>> 16
      if (from <= lo && to >= hi) return 0
      if (from <= hi && to >= lo) {
        had += to - from
        if (from < first) first = from
        if (to > last) last = to
        unlink(t, at, before, span)
        span = next
        continue
      }
    }
    before = span
    span = next
  }
  if (first === 0 && last === length) {
    runs[word]! |= bit
    runs[at + FULL]!++
  } else if (!link(t, at, holder, first, last)) {
    t.counters[DROPPED]! += last - first
    return 0
  }
  return last - first - had
}

/** The holder no longer holds offsets `lo … hi`. Returns how many of them it held. The run may shrink or end. */
export const uncover = (t: TableMemory, run: number, holder: number, lo: number, hi: number): number => {
  const { runs, spans } = t
  const at = run * t.stride
  const word = at + COVER + (holder >>> 5)
  const bit = 1 << (holder & 31)
  const length = runs[at + SHAPE]! & LEN_MASK
  let removed = 0
  if ((runs[word]! & bit) !== 0) {
    removed = hi - lo
    // The common case: the only holder drops the tail.
    if (hi === length && lo > 0 && runs[at + FULL] === 1 && runs[at + SPANS] === 0) {
      RunArena.shrink(t, run, lo)
      return removed
    }
    runs[word]! &= ~bit
    runs[at + FULL]!--
    if (lo > 0 && !link(t, at, holder, 0, lo)) drop(t, holder, lo)
    if (hi < length && !link(t, at, holder, hi, length)) drop(t, holder, length - hi)
  } else {
    let before = 0
    for (let span = runs[at + SPANS]!; span !== 0; ) {
      const s = span * SPAN_WORDS
      const next = spans[s + 2]!
      const from = spans[s + 1]! & 0xffff
      const to = spans[s + 1]! >>> 16
      if (spans[s] === holder && from < hi && to > lo) {
        removed += Math.min(to, hi) - Math.max(from, lo)
        if (from < lo) {
          spans[s + 1] = from | (lo << 16)
          // The new span goes to the front of the list, behind this walk.
          if (to > hi && !link(t, at, holder, hi, to)) drop(t, holder, to - hi)
        } else if (to > hi) spans[s + 1] = hi | (to << 16)
        else {
          unlink(t, at, before, span)
          span = next
          continue
        }
      }
      before = span
      span = next
    }
  }
  if (removed !== 0 && runs[at + FULL] === 0) settle(t, run)
  return removed
}

/** Gives a holder that has nothing of a run all that another has of it. Returns how many blocks that is. */
export const copy = (t: TableMemory, run: number, from: number, to: number): number => {
  const { runs, spans } = t
  const at = run * t.stride
  if ((runs[at + COVER + (from >>> 5)]! & (1 << (from & 31))) !== 0) {
    runs[at + COVER + (to >>> 5)]! |= 1 << (to & 31)
    runs[at + FULL]!++
    return runs[at + SHAPE]! & LEN_MASK
  }
  let copied = 0
  for (let span = runs[at + SPANS]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) {
    const s = span * SPAN_WORDS
    if (spans[s] !== from) continue
    const lo = spans[s + 1]! & 0xffff
    const hi = spans[s + 1]! >>> 16
    // New spans go to the front of the list, behind this walk.
    if (link(t, at, to, lo, hi)) copied += hi - lo
    else t.counters[DROPPED]! += hi - lo
  }
  return copied
}

/** True when nobody but the holder's ring holds the whole run, and there are spans enough for the others to be left behind. */
export const isOfRing = (t: TableMemory, at: number, holder: number): boolean => {
  const { runs, sibling } = t
  let others = 0
  for (let other = sibling[holder]!; other !== holder; other = sibling[other]!) {
    others += (runs[at + COVER + (other >>> 5)]! >>> (other & 31)) & 1
  }
  return runs[at + FULL] === others + 1 && t.spansMax - t.head[SPANS_USED]! >= others
}

/** The run has grown by what only one holder of its ring stored: the others still hold its first `length` keys. */
export const leaveBehind = (t: TableMemory, at: number, holder: number, length: number): void => {
  const { runs, sibling } = t
  for (let other = sibling[holder]!; other !== holder; other = sibling[other]!) {
    const word = at + COVER + (other >>> 5)
    const bit = 1 << (other & 31)
    if ((runs[word]! & bit) === 0) continue
    runs[word]! &= ~bit
    runs[at + FULL]!--
    link(t, at, other, 0, length)
  }
}

/** Drops the holders of a set from a run, which neither shrinks nor ends yet. Returns how many blocks they held. */
export const strip = (t: TableMemory, run: number, set: Int32Array): number => {
  const { head, runs, spans, held } = t
  const at = run * t.stride
  const length = runs[at + SHAPE]! & LEN_MASK
  let removed = 0
  for (let w = 0; w < head[WORDS]!; w++) {
    let gone = runs[at + COVER + w]! & set[w]!
    if (gone === 0) continue
    runs[at + COVER + w]! &= ~gone
    while (gone !== 0) {
      const low = gone & -gone
      held[(w << 5) + 31 - Math.clz32(low)]! -= length
      removed += length
      runs[at + FULL]!--
      gone ^= low
    }
  }
  let before = 0
  for (let span = runs[at + SPANS]!; span !== 0; ) {
    const s = span * SPAN_WORDS
    const next = spans[s + 2]!
    const holder = spans[s]!
    if ((set[holder >>> 5]! & (1 << (holder & 31))) !== 0) {
      const size = (spans[s + 1]! >>> 16) - (spans[s + 1]! & 0xffff)
      held[holder]! -= size
      removed += size
      unlink(t, at, before, span)
    } else before = span
    span = next
  }
  return removed
}

/** For a run without a full holder: ends it when nobody holds any of it, else cuts the tail nobody holds. */
export const settle = (t: TableMemory, run: number): void => {
  const { runs, spans } = t
  const at = run * t.stride
  let longest = 0
  for (let span = runs[at + SPANS]!; span !== 0; span = spans[span * SPAN_WORDS + 2]!) {
    const to = spans[span * SPAN_WORDS + 1]! >>> 16
    if (to > longest) longest = to
  }
  if (longest === (runs[at + SHAPE]! & LEN_MASK)) return
  if (longest === 0) {
    RunArena.close(t, run)
    return
  }
  RunArena.shrink(t, run, longest)
  // Who held all but the tail holds everything now.
  let before = 0
  for (let span = runs[at + SPANS]!; span !== 0; ) {
    const s = span * SPAN_WORDS
    const next = spans[s + 2]!
    if (spans[s + 1] === longest << 16) {
      const holder = spans[s]!
      runs[at + COVER + (holder >>> 5)]! |= 1 << (holder & 31)
      runs[at + FULL]!++
      unlink(t, at, before, span)
    } else before = span
    span = next
  }
}

/** No span was left for what the holder still holds: forgetting it is allowed, inventing is not. */
const drop = (t: TableMemory, holder: number, count: number): void => {
  t.counters[DROPPED]! += count
  t.held[holder]! -= count
  t.head[MEMBERSHIPS]! -= count
}

const link = (t: TableMemory, at: number, holder: number, lo: number, hi: number): boolean => {
  const { head, runs, spans } = t
  let span = head[SPAN_FREE]!
  if (span !== 0) head[SPAN_FREE] = spans[span * SPAN_WORDS + 2]!
  else {
    if (head[SPAN_TOP]! > t.spansMax) return false
    span = head[SPAN_TOP]!++
  }
  const s = span * SPAN_WORDS
  spans[s] = holder
  spans[s + 1] = lo | (hi << 16)
  spans[s + 2] = runs[at + SPANS]!
  runs[at + SPANS] = span
  head[SPANS_USED]!++
  return true
}

const unlink = (t: TableMemory, at: number, before: number, span: number): void => {
  const { head, runs, spans } = t
  const s = span * SPAN_WORDS
  if (before === 0) runs[at + SPANS] = spans[s + 2]!
  else spans[before * SPAN_WORDS + 2] = spans[s + 2]!
  spans[s + 2] = head[SPAN_FREE]!
  head[SPAN_FREE] = span
  head[SPANS_USED]!--
}
