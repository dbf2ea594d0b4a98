/**
 * Storing and removing: the two writes of the prefix table.
 *
 * Both go run by run. A known stretch costs one comparison and one bit, however long; new blocks cost a slot each.
 */
import type { KeyLanes } from "../domain/Block.ts"
import { anyChain } from "../domain/KvEvent.ts"
import * as KeySlots from "./KeySlots.ts"
import { matching } from "./PrefixMatch.ts"
import * as PrefixSweep from "./PrefixSweep.ts"
import * as RunArena from "./RunArena.ts"
import * as RunHolders from "./RunHolders.ts"
import {
  BASE,
  BLOCKS,
  COVER,
  DEPTH,
  DROPPED,
  EPOCH,
  EPOCH_LEFT,
  FULL,
  KNOWN,
  LAST_NEW,
  LEN_MASK,
  MEMBERSHIPS,
  ORPHANS,
  REFUSED,
  RUN_MAX,
  SHAPE,
  STAMP,
  type TableMemory,
  UNKNOWN,
  WORDS
} from "./TableMemory.ts"

/** Every block is in the table. */
export const STORED = 0
/** Stored, but the parent is not in the table: credited to nobody until the blocks before it are stored. */
export const ORPHANED = 1
/** Some blocks were not stored: nothing could be evicted, or a pool is full. */
export const FULL_TABLE = 2
/** Nothing was stored: the holder is out of range, or was cleared and not yet swept (`free` is false). */
export const CLOSED = 3
export type StoreStatus = typeof STORED | typeof ORPHANED | typeof FULL_TABLE | typeof CLOSED

/**
 * The holder now holds `count` keys of `keys` from `first` on: one chain, continuing `parent` (null at the start of a
 * sequence; `anyChain`: they are blocks of several). The parent only helps to keep chains together: a store is exact without it.
 */
export const store = (
  t: TableMemory,
  holder: number,
  parent: KeyLanes | null,
  keys: KeyLanes,
  count: number = keys.length >>> 1,
  first = 0
): StoreStatus => {
  if (!PrefixSweep.free(t, holder)) {
    t.counters[REFUSED]!++
    return CLOSED
  }
  const { head, held, keys: arena, runs, stride } = t
  const epoch = head[EPOCH]!
  if (head[WORDS]! <= holder >>> 5) head[WORDS] = (holder >>> 5) + 1
  const word = COVER + (holder >>> 5)
  const bit = 1 << (holder & 31)
  let status: StoreStatus = STORED
  let run = 0
  let end = 0 // offset after the last key stored or found
  let added = 0
  const isChain = parent !== anyChain
  /** Place of the first key in its chain, plus one; 0 while it is not known. */
  let origin = parent === null ? 1 : 0
  const dropped = t.counters[DROPPED]!
  // New blocks come in rows: if the last store had some, the slots of these are read ahead before anything is decided. A
  // known stretch after a parent that was stored lately needs no slot at all.
  let isNew = false
  if (head[LAST_NEW] !== 0 && count > 0) {
    KeySlots.stage(t, keys, first, Math.min(count, RUN_MAX))
    isNew = KeySlots.isAbsent(t, keys[first << 1]!, keys[(first << 1) + 1]!)
    head[LAST_NEW] = 0
  }
  if (parent !== null && isChain) {
    let ref = KeySlots.recall(t, parent[0]!, parent[1]!)
    if (ref === 0) ref = KeySlots.find(t, parent[0]!, parent[1]!)
    if (ref === 0) {
      status = ORPHANED
      t.counters[ORPHANS]!++
    } else {
      run = ref >>> 8
      end = (ref & 255) + 1
      runs[run * stride + STAMP] = epoch
      const depth = runs[run * stride + DEPTH]!
      if (depth !== 0) origin = depth + end
    }
  }
  const stop = first + count
  let i = first
  while (i < stop) {
    const lo = keys[i << 1]!
    const hi = keys[(i << 1) + 1]!
    let at = run * stride
    // The next key of the same run, else wherever the table says.
    let ref = 0
    if (!isNew && run !== 0 && end < (runs[at + SHAPE]! & LEN_MASK)) {
      const key = (runs[at + BASE]! + end) << 1
      if (arena[key] === lo && arena[key + 1] === hi) ref = (run << 8) | end
    }
    if (ref === 0 && !isNew) ref = KeySlots.find(t, lo, hi)
    if (ref !== 0) {
      const next = ref >>> 8
      const offset = ref & 255
      at = next * stride
      const size = matching(
        arena,
        runs[at + BASE]! + offset,
        (runs[at + SHAPE]! & LEN_MASK) - offset,
        keys,
        i,
        stop - i
      )
      if ((runs[at + word]! & bit) === 0) added += RunHolders.cover(t, next, holder, offset, offset + size)
      if (runs[at + STAMP] !== epoch) runs[at + STAMP] = epoch
      if (isChain) {
        const depth = runs[at + DEPTH]!
        if (depth !== 0) {
          if (origin === 0) origin = depth + offset - (i - first)
        } else if (origin !== 0 && origin + i > first + offset) runs[at + DEPTH] = origin + i - first - offset
      }
      if (run !== 0 && run !== next && offset === 0 && isChain) RunArena.linkParent(t, next, (run << 8) | (end - 1))
      run = next
      end = offset + size
      i += size
      continue
    }
    // Unknown keys, up to the next known one: at the end of the holder's own run, or in a new run.
    let want = isChain ? Math.min(stop - i, RUN_MAX) : 1
    let room = 0
    let isStaged = isNew
    isNew = false
    head[LAST_NEW] = 1
    if (head[BLOCKS]! + want > t.blocksMax) {
      while (head[BLOCKS]! + want > t.blocksMax && PrefixSweep.evict(t, run)) {}
      want = Math.min(want, t.blocksMax - head[BLOCKS]!)
      isStaged = false // What was evicted took its place.
    }
    if (want > 0 && end === (runs[at + SHAPE]! & LEN_MASK) && end < RUN_MAX && run !== 0 && isChain) {
      const own = (runs[at + word]! & bit) !== 0 && (runs[at + FULL] === 1 || RunHolders.isOfRing(t, at, holder))
      if (own) room = RunArena.widen(t, run, Math.min(RUN_MAX, end + want)) - end
    }
    let target = run
    if (room <= 0) {
      target = want > 0 ? RunArena.open(t, want) : 0
      while (target === 0 && want > 0 && PrefixSweep.evict(t, run)) {
        target = RunArena.open(t, want)
        isStaged = false
      }
      if (target === 0) {
        status = FULL_TABLE
        break
      }
      room = RunArena.roomOf(t, target)
    }
    if (want > room) want = room
    if (!isStaged) KeySlots.stage(t, keys, i, want)
    const offset = target === run ? end : 0
    const size = KeySlots.insertStaged(t, keys, i, want, target, offset)
    at = target * stride
    runs[at + SHAPE]! += size
    head[BLOCKS]! += size
    added += size
    if (target !== run) {
      if (size === 0) RunArena.close(t, target)
      else {
        runs[at + word]! |= bit
        runs[at + FULL] = 1
        if (origin !== 0) runs[at + DEPTH] = origin + i - first
        if (run !== 0 && isChain) RunArena.linkParent(t, target, (run << 8) | (end - 1))
        else if (parent !== null && isChain && i === first) RunArena.awaitParent(t, target, parent[0]!, parent[1]!)
      }
    } else if (size !== 0 && runs[at + FULL] !== 1) RunHolders.leaveBehind(t, at, holder, offset)
    if (size === 0) {
      // The key was unknown a moment ago, so its sub-table is full at its reserved size.
      status = FULL_TABLE
      break
    }
    head[EPOCH_LEFT]! -= size
    if (head[EPOCH_LEFT]! <= 0) {
      head[EPOCH]!++
      head[EPOCH_LEFT] = t.epochBlocks
    }
    run = target
    end = offset + size
    i += size
  }
  if (i > first) KeySlots.remember(t, keys[(i - 1) << 1]!, keys[((i - 1) << 1) + 1]!, (run << 8) | (end - 1))
  held[holder]! += added
  head[MEMBERSHIPS]! += added
  t.counters[KNOWN]! += i - first - added
  return t.counters[DROPPED] === dropped ? status : FULL_TABLE
}

/**
 * The holder no longer holds `count` keys of `keys` from `first` on, in any order; neighbours in a chain cost least side
 * by side, either way round. Returns how many it held. Removing from a holder that was cleared does nothing.
 */
export const remove = (
  t: TableMemory,
  holder: number,
  keys: KeyLanes,
  count: number = keys.length >>> 1,
  first = 0
): number => {
  if (!PrefixSweep.free(t, holder)) return 0
  const { refs } = t
  let removed = 0
  for (let start = 0; start < count; start += refs.length) {
    const size = Math.min(refs.length, count - start)
    locate(t, keys, first + start, size)
    removed += removeLocated(t, holder, size)
  }
  t.held[holder]! -= removed
  t.head[MEMBERSHIPS]! -= removed
  t.counters[UNKNOWN]! += count - removed
  return removed
}

/** First pass: where every key is. Neighbours of the key before are read from the run, without a probe. */
const locate = (t: TableMemory, keys: KeyLanes, start: number, size: number): void => {
  const { keys: arena, refs, runs, stride } = t
  let ref = 0
  for (let i = 0; i < size; i++) {
    const lo = keys[(start + i) << 1]!
    const hi = keys[((start + i) << 1) + 1]!
    if (ref !== 0) {
      const at = (ref >>> 8) * stride
      const offset = ref & 255
      const key = (runs[at + BASE]! + offset) << 1
      if (offset > 0 && arena[key - 2] === lo && arena[key - 1] === hi) {
        refs[i] = --ref
        continue
      }
      if (offset + 1 < (runs[at + SHAPE]! & LEN_MASK) && arena[key + 2] === lo && arena[key + 3] === hi) {
        refs[i] = ++ref
        continue
      }
    }
    ref = KeySlots.find(t, lo, hi)
    refs[i] = ref
  }
}

/** Second pass: neighbours together. A run may have shrunk or ended since the first pass, never moved or been reused. */
const removeLocated = (t: TableMemory, holder: number, size: number): number => {
  const { refs, runs, stride } = t
  let removed = 0
  for (let i = 0; i < size; ) {
    const ref = refs[i++]!
    if (ref === 0) continue
    const run = ref >>> 8
    let lo = ref & 255
    let hi = lo + 1
    for (; i < size; i++) {
      const next = refs[i]!
      if (next >>> 8 !== run) break
      const offset = next & 255
      if (offset === lo - 1) lo = offset
      else if (offset === hi) hi++
      else if (offset < lo || offset > hi) break
    }
    const length = runs[run * stride + SHAPE]! & LEN_MASK
    if (hi > length) hi = length
    if (lo < hi) removed += RunHolders.uncover(t, run, holder, lo, hi)
  }
  return removed
}
