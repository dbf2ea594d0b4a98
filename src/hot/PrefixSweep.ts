/**
 * Letting go: holders that were cleared, runs nobody holds, and runs evicted to make room.
 *
 * Clearing is one bit: from then on nothing of the holder counts. A sweep then strips it from every run, in slices the
 * caller sizes, and after one pass its number can be used again. Runs left without full holders wait in a queue and shrink
 * or end later still, unless somebody stores them again first.
 */
import * as EvictedKeys from "./EvictedKeys.ts"
import * as RunArena from "./RunArena.ts"
import * as RunHolders from "./RunHolders.ts"
import {
  BASE,
  BLOCKS,
  CHILDREN,
  DEAD,
  EPOCH,
  EVICTED_BLOCKS,
  EVICTED_MEMBERSHIPS,
  FULL,
  HAND,
  LEN_MASK,
  LINK,
  MEMBERSHIPS,
  QUEUED,
  RUN_TOP,
  SHAPE,
  STAMP,
  SWEEP_HAND,
  type TableMemory,
  WORDS
} from "./TableMemory.ts"

/** Runs a sweep strips in the time it takes to end one block. */
const RUNS_PER_BLOCK = 4
/** Live runs the eviction hand compares, and most it looks at while all of them are inner runs. */
const SAMPLE = 16
const LOOK_MAX = 1_024

/** Forgets all a holder holds, at once; it leaves its ring. It refuses stores until `free` says otherwise. */
export const clear = (t: TableMemory, holder: number): void => {
  const word = holder >>> 5
  const bit = 1 << (holder & 31)
  if (!free(t, holder)) return
  let before = holder
  while (t.sibling[before] !== holder) before = t.sibling[before]!
  t.sibling[before] = t.sibling[holder]!
  t.sibling[holder] = holder
  // One that never stored, and none with a higher number either: there is nothing to sweep.
  if (word >= t.head[WORDS]!) return
  t.live[word]! &= ~bit
  t.waiting[word]! |= bit
  if (t.head[SWEEP_HAND] === 0) nextPass(t)
}

/** True when the holder takes stores: it was never cleared, or its sweep is done. */
export const free = (t: TableMemory, holder: number): boolean =>
  holder >= 0 && holder < t.holdersMax && (t.live[holder >>> 5]! & (1 << (holder & 31))) !== 0

/**
 * One slice of the work that clearing left behind, costing about as much as removing `budgetBlocks` blocks (near 0.1 us
 * each). True while more is left.
 */
export const sweep = (t: TableMemory, budgetBlocks: number): boolean => {
  const { head, runs, stride } = t
  let left = budgetBlocks
  while (head[SWEEP_HAND] !== 0 && left > 0) {
    const from = head[SWEEP_HAND]!
    const to = Math.min(head[RUN_TOP]!, from + left * RUNS_PER_BLOCK)
    for (let run = from; run < to; run++) {
      if ((runs[run * stride + SHAPE]! & LEN_MASK) === 0) continue
      const removed = RunHolders.strip(t, run, t.clearing)
      if (removed === 0) continue
      head[MEMBERSHIPS]! -= removed
      if (runs[run * stride + FULL] === 0) enqueue(t, run)
    }
    left -= Math.ceil((to - from) / RUNS_PER_BLOCK)
    head[SWEEP_HAND] = to
    if (to >= head[RUN_TOP]!) endPass(t)
  }
  while (head[DEAD] !== 0 && left > 0) left -= endDead(t)
  return head[SWEEP_HAND] !== 0 || head[DEAD] !== 0
}

/**
 * Ends one run to make room, never `pinned`: first one nobody holds, else the least recently stored or matched of
 * the next runs under the hand that no other run continues, so that what stays is still whole prefixes. False when
 * there is nothing to evict.
 */
export const evict = (t: TableMemory, pinned: number): boolean => {
  const { head, runs, stride } = t
  // A pinned run at the front blocks the queue until its store is done.
  while (head[DEAD] !== 0 && head[DEAD] !== pinned) {
    const blocks = head[BLOCKS]!
    endDead(t)
    if (head[BLOCKS] !== blocks) return true
  }
  const top = head[RUN_TOP]!
  const now = head[EPOCH]!
  let run = head[HAND]!
  let victim = 0
  let victimAge = -1
  let inner = 0
  let innerAge = -1
  let seen = 0
  let looked = 0
  for (let left = top - 1; left > 0; left--) {
    if (++run >= top) run = 1
    const at = run * stride
    if ((runs[at + SHAPE]! & LEN_MASK) === 0 || run === pinned) continue
    const age = (now - runs[at + STAMP]!) | 0
    if (runs[at + CHILDREN] === 0) {
      if (age > victimAge) {
        victim = run
        victimAge = age
      }
      seen++
    } else if (age > innerAge) {
      inner = run
      innerAge = age
    }
    if (seen === SAMPLE || (++looked >= LOOK_MAX && victim !== 0)) break
    if (looked >= LOOK_MAX * 4) break
  }
  head[HAND] = run
  if (victim === 0) victim = inner
  if (victim === 0) return false
  const length = runs[victim * stride + SHAPE]! & LEN_MASK
  const removed = RunHolders.strip(t, victim, everyone(t))
  head[MEMBERSHIPS]! -= removed
  t.counters[EVICTED_BLOCKS]! += length
  t.counters[EVICTED_MEMBERSHIPS]! += removed
  EvictedKeys.add(t.evicted, t.keys, runs[victim * stride + BASE]!, length)
  RunArena.close(t, victim)
  return true
}

const everyone = (t: TableMemory): Int32Array => {
  t.rest.fill(-1)
  return t.rest
}

const enqueue = (t: TableMemory, run: number): void => {
  const at = run * t.stride
  if ((t.runs[at + SHAPE]! & QUEUED) !== 0) return
  t.runs[at + SHAPE]! |= QUEUED
  t.runs[at + LINK] = t.head[DEAD]!
  t.head[DEAD] = run
}

/** Takes the first run off the queue; ends it, or cuts what nobody holds any more. Returns what that cost, in blocks. */
const endDead = (t: TableMemory): number => {
  const { head, runs } = t
  const run = head[DEAD]!
  const at = run * t.stride
  const blocks = head[BLOCKS]!
  head[DEAD] = runs[at + LINK]!
  runs[at + SHAPE]! &= ~QUEUED
  if ((runs[at + SHAPE]! & LEN_MASK) === 0) RunArena.freeId(t, run)
  else if (runs[at + FULL] === 0) RunHolders.settle(t, run)
  return 1 + blocks - head[BLOCKS]!
}

const nextPass = (t: TableMemory): void => {
  let any = 0
  for (let w = 0; w < t.head[WORDS]!; w++) {
    const set = t.waiting[w]!
    t.clearing[w] = set
    t.waiting[w] = 0
    any |= set
  }
  t.head[SWEEP_HAND] = any === 0 ? 0 : 1
}

const endPass = (t: TableMemory): void => {
  for (let w = 0; w < t.head[WORDS]!; w++) t.live[w]! |= t.clearing[w]!
  nextPass(t)
}
