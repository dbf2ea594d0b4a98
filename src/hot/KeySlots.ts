/**
 * From a key to its place: open addressing in sub-tables that grow one at a time.
 *
 * A slot is two words: a 32-bit tag mixed from both lanes of the key, and `run << 8 | offset`, 0 when empty. The tag's
 * top bits pick the sub-table, its next 16 bits the home in it, so slots lie in tag order: growing reads and writes
 * straight through. Linear probing, at most 70 % full (90 % at the reserved size), no tombstones.
 * A tag can repeat (0.2 % of 10 M keys), so a find compares the key itself, in the arena.
 */
import { BASE, LEN_MASK, limitOf, SHAPE, SLOT_COUNT, SUB_WORDS, TAIL_SHIFT, type TableMemory } from "./TableMemory.ts"

/** Words from a home to where the search for a new key ends on average, at 60 to 70 % full. */
const REACHED = 8

const tagOf = (lo: number, hi: number): number => Math.imul(hi ^ Math.imul(lo, 0x85ebca6b), 0x9e3779b1)

/** First word of the slot where the search for a tag begins. */
const homeOf = (t: TableMemory, tag: number): number => {
  const sub = tag >>> (32 - t.subBits)
  const at = Math.imul((tag << t.subBits) >>> 16, t.subs[sub * SUB_WORDS]!) >>> 16
  return (Math.imul(sub, t.reach) + at) << 1
}

/** `run << 8 | offset` of a key, or 0 when it is not in the table. */
export const find = (t: TableMemory, lo: number, hi: number): number => {
  const { slots, subBits } = t
  const tag = Math.imul(hi ^ Math.imul(lo, 0x85ebca6b), 0x9e3779b1)
  const sub = tag >>> (32 - subBits)
  const size = t.subs[sub * SUB_WORDS]!
  const first = sub * t.reach
  let at = Math.imul((tag << subBits) >>> 16, size) >>> 16
  for (;;) {
    const slot = (first + at) << 1
    const ref = slots[slot + 1]!
    if (ref === 0) return 0
    if (slots[slot] === tag) {
      const key = (t.runs[(ref >>> 8) * t.stride + BASE]! + (ref & 255)) << 1
      if (t.keys[key] === lo && t.keys[key + 1] === hi) return ref
    }
    if (++at === size) at = 0
  }
}

/** First word of the slot where the search for a key begins. */
export const home = (t: TableMemory, lo: number, hi: number): number => homeOf(t, tagOf(lo, hi))

/** Reads the slot a search begins at, and where it is likely to end. What it returns means nothing. */
export const touch = (t: TableMemory, home: number): number => t.slots[home]! ^ t.slots[home + REACHED]!

/** As `find`, but the first with the same tag, unverified: reads slots only. */
export const likely = (t: TableMemory, lo: number, hi: number): number => {
  const { slots, subBits } = t
  const tag = tagOf(lo, hi)
  const sub = tag >>> (32 - subBits)
  const size = t.subs[sub * SUB_WORDS]!
  const first = sub * t.reach
  let at = Math.imul((tag << subBits) >>> 16, size) >>> 16
  for (;;) {
    const slot = (first + at) << 1
    const ref = slots[slot + 1]!
    if (ref === 0 || slots[slot] === tag) return ref
    if (++at === size) at = 0
  }
}

/**
 * As `find`, for a key that a store ended with lately: the next event of its chain names it as parent. Answers 0 more often,
 * but spares the miss of a slot. What is remembered may be long gone, so the key itself is compared, within its run.
 */
export const recall = (t: TableMemory, lo: number, hi: number): number => {
  const ref = t.tails[tagOf(lo, hi) >>> TAIL_SHIFT]!
  const at = (ref >>> 8) * t.stride
  const key = (t.runs[at + BASE]! + (ref & 255)) << 1
  if ((ref & 255) >= (t.runs[at + SHAPE]! & LEN_MASK)) return 0
  return t.keys[key] === lo && t.keys[key + 1] === hi ? ref : 0
}

export const remember = (t: TableMemory, lo: number, hi: number, ref: number): void => {
  t.tails[tagOf(lo, hi) >>> TAIL_SHIFT] = ref
}

/** True when no key with this tag is in the table: a find would answer 0. Reads one or two cache lines of slots only. */
export const isAbsent = (t: TableMemory, lo: number, hi: number): boolean => {
  const { slots, subBits } = t
  const tag = Math.imul(hi ^ Math.imul(lo, 0x85ebca6b), 0x9e3779b1)
  const sub = tag >>> (32 - subBits)
  const size = t.subs[sub * SUB_WORDS]!
  const first = sub * t.reach
  let at = Math.imul((tag << subBits) >>> 16, size) >>> 16
  for (;;) {
    const slot = (first + at) << 1
    if (slots[slot + 1] === 0) return true
    if (slots[slot] === tag) return false
    if (++at === size) at = 0
  }
}

/**
 * Adds the `count` keys staged last, `source[from …]`, as offsets `offset …` of a run whose cell has room, and writes
 * them to the arena. Stops at a key that is already in the table, or when a sub-table is full at its reserved size.
 * Returns how many were added.
 */
export const insertStaged = (
  t: TableMemory,
  source: Int32Array,
  from: number,
  count: number,
  run: number,
  offset: number
): number => {
  const { homes, slots, subs, keys, runs, stride, subBits, reach, tags } = t
  const shift = 32 - subBits
  let key = (runs[run * stride + BASE]! + offset) << 1
  let ref = (run << 8) | offset
  for (let i = 0; i < count; i++) {
    const tag = tags[i]!
    const sub = tag >>> shift
    const entry = sub * SUB_WORDS
    if (subs[entry + 1]! >= subs[entry + 2]!) {
      if (!grow(t, sub)) return i
      // The homes in this sub-table have moved.
      stage(t, source, from, count)
    }
    const end = (Math.imul(sub, reach) + subs[entry]!) << 1
    const lo = source[(from + i) << 1]!
    const hi = source[((from + i) << 1) + 1]!
    let slot = homes[i]!
    for (;;) {
      const found = slots[slot + 1]!
      if (found === 0) break
      if (slots[slot] === tag) {
        const other = (runs[(found >>> 8) * stride + BASE]! + (found & 255)) << 1
        if (keys[other] === lo && keys[other + 1] === hi) return i
      }
      slot += 2
      if (slot === end) slot = Math.imul(sub, reach) << 1
    }
    slots[slot] = tag
    slots[slot + 1] = ref++
    subs[entry + 1]!++
    keys[key] = lo
    keys[key + 1] = hi
    key += 2
  }
  return count
}

/** Takes offsets `from … to` of a run out of the table. The arena still has their keys. */
export const eraseAll = (t: TableMemory, run: number, from: number, to: number): void => {
  const { slots, subs, keys, subBits, reach } = t
  const shift = 32 - subBits
  const base = t.runs[run * t.stride + BASE]!
  if (to - from > 1) stage(t, keys, base + from, to - from)
  for (let offset = from; offset < to; offset++) {
    const key = (base + offset) << 1
    const tag = Math.imul(keys[key + 1]! ^ Math.imul(keys[key]!, 0x85ebca6b), 0x9e3779b1)
    const ref = (run << 8) | offset
    const sub = tag >>> shift
    const entry = sub * SUB_WORDS
    const size = subs[entry]!
    const first = sub * reach
    let hole = Math.imul((tag << subBits) >>> 16, size) >>> 16
    while (slots[((first + hole) << 1) + 1] !== ref) if (++hole === size) hole = 0
    // Close the gap: a later entry moves back into it when it lies at least that far behind its home.
    let next = hole
    for (let gap = 1; ; gap++) {
      if (++next === size) next = 0
      const slot = (first + next) << 1
      const moved = slots[slot + 1]!
      if (moved === 0) break
      const movedTag = slots[slot]!
      let behind = next - (Math.imul((movedTag << subBits) >>> 16, size) >>> 16)
      if (behind < 0) behind += size
      if (behind < gap) continue
      const target = (first + hole) << 1
      slots[target] = movedTag
      slots[target + 1] = moved
      hole = next
      gap = 0
    }
    slots[((first + hole) << 1) + 1] = 0
    subs[entry + 1]!--
  }
}

/**
 * Works out the tags and home slots of up to 256 keys, and reads the slots, so that their cache misses overlap: twice as
 * fast as taking them one by one. The second loop is short, so that many misses are under way at a time; it also reads
 * where a search is likely to end, often one line on.
 */
export const stage = (t: TableMemory, source: Int32Array, from: number, count: number): void => {
  const { homes, slots, tags } = t
  for (let i = 0; i < count; i++) {
    const tag = tagOf(source[(from + i) << 1]!, source[((from + i) << 1) + 1]!)
    tags[i] = tag
    homes[i] = homeOf(t, tag)
  }
  let sum = 0
  for (let i = 0; i < count; i++) {
    const home = homes[i]!
    sum ^= slots[home]! ^ slots[home + REACHED]!
  }
  // Kept, so that the compiler keeps the reads.
  t.sink[0] = sum
}

/** Doubles one sub-table in place, up to its reach. False when it has that size already. */
const grow = (t: TableMemory, sub: number): boolean => {
  const { slots, subs, scratch, subBits, reach } = t
  const entry = sub * SUB_WORDS
  const size = subs[entry]!
  if (size >= reach) return false
  const grown = Math.min(reach, size << 1)
  const first = sub * reach
  const words = size << 1
  const start = first << 1
  // What is in use, one after the other. Without a branch: which slots are empty, no processor can predict.
  let used = 0
  for (let i = start; i < start + words; i += 2) {
    const ref = slots[i + 1]!
    scratch[used] = slots[i]!
    scratch[used + 1] = ref
    used += ((ref | -ref) >>> 31) << 1
  }
  // Also the part never used: written once in a row, its pages cost one fault each, not one to read and one to write.
  slots.fill(0, start, start + (grown << 1))
  const end = start + (grown << 1)
  for (let i = 0; i < used; i += 2) {
    const tag = scratch[i]!
    let slot = start + ((Math.imul((tag << subBits) >>> 16, grown) >>> 16) << 1)
    while (slots[slot + 1] !== 0) {
      slot += 2
      if (slot === end) slot = start
    }
    slots[slot] = tag
    slots[slot + 1] = scratch[i + 1]!
  }
  subs[entry] = grown
  subs[entry + 2] = limitOf(grown, reach)
  t.head[SLOT_COUNT]! += grown - size
  return true
}
