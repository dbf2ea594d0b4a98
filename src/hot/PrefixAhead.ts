/**
 * Reads ahead of a match: looks up some keys further on in short loops, so that their cache misses overlap. A match that
 * walks runs one after the other waits three times for each.
 *
 * Any key of a run tells which run it is and where it begins; keys are chained, so when one is equal all before it in its
 * run are. So a key every `RUN_MAX` blocks finds each full run, wherever runs begin, and the match need not look for
 * its first key. Short runs between are found as ever.
 */
import type { KeyLanes } from "../domain/Block.ts"
import * as KeySlots from "./KeySlots.ts"
import { BASE, COVER, LEN_MASK, RUN_MAX, SHAPE, type TableMemory } from "./TableMemory.ts"

/** Keys looked up ahead at a time: a core has some twelve misses under way at once. */
export const keysAhead = 16
/** Int32 words of a cache line. */
const lineWords = 16

/**
 * Finds keys of `query` from block `depth` on: `t.refs[i]` is the place of key `depth + (i + 1) · RUN_MAX − 1`. Returns how
 * many in a row were found. Of each run's holders it reads as far as the first `racing` words of `t.race` go.
 */
export const read = (t: TableMemory, query: KeyLanes, depth: number, count: number, racing: number): number => {
  const { homes, keys, race, refs, runs, stride } = t
  const wordFirst = COVER + race[0]!
  const wordLast = COVER + race[racing - 1]!
  const end = Math.min(count, depth + keysAhead * RUN_MAX)
  const first = depth + RUN_MAX - 1
  let found = 0
  let sum = 0
  // The last key of a full run that begins here: the match reads it too.
  for (let at = first; at < end; at += RUN_MAX)
    homes[found++] = KeySlots.home(t, query[at << 1]!, query[(at << 1) + 1]!)
  for (let i = 0; i < found; i++) sum ^= KeySlots.touch(t, homes[i]!)
  found = 0
  for (let at = first; at < end; at += RUN_MAX) {
    const ref = KeySlots.likely(t, query[at << 1]!, query[(at << 1) + 1]!)
    if (ref === 0) break
    refs[found++] = ref
  }
  for (let i = 0; i < found; i++) {
    const at = (refs[i]! >>> 8) * stride
    for (let word = wordFirst; word < wordLast; word += lineWords) sum ^= runs[at + word]!
    sum ^= runs[at + wordLast]! ^ runs[at + SHAPE]!
  }
  let equal = 0
  for (let i = 0; i < found; i++) {
    const at = (refs[i]! >>> 8) * stride
    const base = runs[at + BASE]!
    const key = (base + (refs[i]! & 255)) << 1
    const asked = (first + i * RUN_MAX) << 1
    sum ^= keys[(base + (runs[at + SHAPE]! & LEN_MASK) - 1) << 1]!
    if (equal === i && keys[key] === query[asked] && keys[key + 1] === query[asked + 1]) equal++
  }
  // Kept, so that the compiler keeps the reads.
  t.sink[0] = sum
  return equal
}
