/**
 * Reads ahead of a match: where a long chain lies in full runs, the next runs begin where this one ends and every
 * `RUN_MAX` blocks on. Slots, run headers and last keys of several are read in short loops, so that their cache misses
 * overlap; a match that walks them one after the other waits for each. A guess: wrong, it costs some reads.
 */
import type { KeyLanes } from "../domain/Block.ts"
import * as KeySlots from "./KeySlots.ts"
import { BASE, COVER, LEN_MASK, RUN_MAX, SHAPE, type TableMemory, WORDS } from "./TableMemory.ts"

/** Runs read ahead at a time: a core has some twelve misses under way at once, and a run takes three lines and more. */
const runsAhead = 8
/** Int32 words of a cache line. */
const lineWords = 16

/** Reads what a match of `query` from block `depth` on is likely to read next. Returns up to which block that is. */
export const read = (t: TableMemory, query: KeyLanes, depth: number, count: number): number => {
  const { homes, keys, refs, runs, stride } = t
  const lineLast = COVER + t.head[WORDS]! - 1
  const end = Math.min(count, depth + runsAhead * RUN_MAX)
  let found = 0
  let sum = 0
  for (let at = depth; at < end; at += RUN_MAX)
    homes[found++] = KeySlots.home(t, query[at << 1]!, query[(at << 1) + 1]!)
  for (let i = 0; i < found; i++) sum ^= KeySlots.touch(t, homes[i]!)
  found = 0
  for (let at = depth; at < end; at += RUN_MAX) {
    const ref = KeySlots.likely(t, query[at << 1]!, query[(at << 1) + 1]!)
    if (ref === 0) break
    refs[found++] = ref
  }
  for (let i = 0; i < found; i++) {
    const at = (refs[i]! >>> 8) * stride
    for (let line = lineWords; line <= lineLast; line += lineWords) sum ^= runs[at + line]!
    sum ^= runs[at + SHAPE]!
  }
  for (let i = 0; i < found; i++) {
    const at = (refs[i]! >>> 8) * stride
    sum ^= keys[(runs[at + BASE]! + (runs[at + SHAPE]! & LEN_MASK) - 1) << 1]!
  }
  // Kept, so that the compiler keeps the reads.
  t.sink[0] = sum
  return found === 0 ? end : depth + found * RUN_MAX
}
