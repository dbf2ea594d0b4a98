/**
 * PrefixTable: which holder holds which block, and how many leading blocks of a request each holder has.
 *
 * A holder is a small dense number that stands for one layer of one worker's cache; whose, the caller knows.
 * Chains of blocks lie in runs of consecutive keys; a holder that holds a whole run is one bit on it. Membership is a
 * set: storing what is known and removing what is not change nothing (both are counted). Exact under holes: a holder
 * is credited up to its first missing block, and in full again when that block comes back.
 * Bounded: memory is reserved once. When it is full, whole runs are evicted, ends of chains and least recently used
 * first; holders may be forgotten early, never invented.
 *
 * Keys must be chained (one key stands for one block and all before it). Single writer; reads on the same thread.
 * Layout, costs and limits: README.md, "Prefix table".
 */
import * as EvictedKeys from "./EvictedKeys.ts"
import * as Memory from "./TableMemory.ts"

export { copy, join } from "./PrefixCopy.ts"
export { type Levels, levels, makeLevels, overlap } from "./PrefixMatch.ts"
export { dump, holds, keysOf, type Run, snapshot, stored } from "./PrefixSnapshot.ts"
export { clear, free, sweep } from "./PrefixSweep.ts"
export { CLOSED, FULL_TABLE, ORPHANED, remove, STORED, type StoreStatus, store } from "./PrefixWrite.ts"
export type { Options } from "./TableMemory.ts"

export type PrefixTable = Memory.TableMemory

/** Reserves a table. Throws a RangeError when a size makes no sense. */
export const make = (options: Memory.Options): PrefixTable => Memory.make(options)

/** What the table holds and has done. */
export const stats = (t: PrefixTable) => ({
  blocks: t.head[Memory.BLOCKS]!,
  blocksMax: t.blocksMax,
  runs: t.head[Memory.RUNS]!,
  runsMax: t.runsMax,
  spans: t.head[Memory.SPANS_USED]!,
  memberships: t.head[Memory.MEMBERSHIPS]!,
  bytes: Memory.bytesUsed(t),
  bytesMax: t.bytesMax,
  known: t.counters[Memory.KNOWN]!,
  unknown: t.counters[Memory.UNKNOWN]!,
  orphans: t.counters[Memory.ORPHANS]!,
  evictedBlocks: t.counters[Memory.EVICTED_BLOCKS]!,
  evictedMemberships: t.counters[Memory.EVICTED_MEMBERSHIPS]!,
  dropped: t.counters[Memory.DROPPED]!,
  refused: t.counters[Memory.REFUSED]!
})

/** Whether the table had this block and gave it up to make room: lately, and probably. */
export const hasEvicted = (t: PrefixTable, lo: number, hi: number): boolean => EvictedKeys.has(t.evicted, lo, hi)

/** Blocks a holder holds. */
export const heldBy = (t: PrefixTable, holder: number): number => t.held[holder] ?? 0
