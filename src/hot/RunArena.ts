/**
 * Runs: their ids, their headers, and the cells of keys they live in.
 *
 * A cell holds 4 to 256 keys, in 13 classes. A run grows in place, then moves to a larger cell; no reference changes,
 * because references name the run. When memory is short a run gets whatever cell is left, and a chain is cut into more
 * runs: the arena is full only when no cell at all is free.
 */
import * as KeySlots from "./KeySlots.ts"
import {
  ARENA_TOP,
  BASE,
  BLOCKS,
  CELL_FREE,
  CELL_KEYS,
  CHILDREN,
  CLASS_SHIFT,
  DEPTH,
  EPOCH,
  LEN_MASK,
  LINK,
  PARENT,
  PARENT_LO,
  PARENT_VERSION,
  QUEUED,
  RUN_FREE,
  RUN_MAX,
  RUN_TOP,
  RUNS,
  SHAPE,
  STAMP,
  type TableMemory,
  VERSION
} from "./TableMemory.ts"

const classFor = new Uint8Array(257)
for (let keys = 0, cell = 0; keys <= 256; keys++) {
  if (keys > CELL_KEYS[cell]!) cell++
  classFor[keys] = cell
}

/** Keys the run's present cell has room for. */
export const roomOf = (t: TableMemory, run: number): number =>
  CELL_KEYS[(t.runs[run * t.stride + SHAPE]! >>> CLASS_SHIFT) & 15]!

/** A new run without keys or holders, with room for `keys` if memory allows, less if not; 0 when there is none. */
export const open = (t: TableMemory, keys: number): number => {
  const { runs, head, stride } = t
  let run = head[RUN_FREE]!
  if (run === 0 && head[RUN_TOP]! > t.runsMax) return 0
  const cell = takeCell(t, classFor[keys]!)
  if (cell < 0) return 0
  if (run === 0) run = head[RUN_TOP]!++
  else head[RUN_FREE] = runs[run * stride + LINK]!
  const at = run * stride
  const version = runs[at + VERSION]!
  for (let i = at; i < at + stride; i++) runs[i] = 0
  runs[at + VERSION] = version
  runs[at + BASE] = cell
  runs[at + SHAPE] = taken << CLASS_SHIFT
  runs[at + STAMP] = head[EPOCH]!
  head[RUNS]!++
  return run
}

/** Ends a run nobody holds: its keys leave the table, its cell and its id can be used again. */
export const close = (t: TableMemory, run: number): void => {
  const { runs, head } = t
  const at = run * t.stride
  const shape = runs[at + SHAPE]!
  const length = shape & LEN_MASK
  KeySlots.eraseAll(t, run, 0, length)
  head[BLOCKS]! -= length
  freeCell(t, runs[at + BASE]!, (shape >>> CLASS_SHIFT) & 15)
  unlinkParent(t, at)
  runs[at + CHILDREN] = 0
  runs[at + VERSION]!++
  head[RUNS]!--
  // A queued id is still named by the queue, which frees it when it gets there.
  runs[at + SHAPE] = shape & QUEUED
  if ((shape & QUEUED) === 0) freeId(t, run)
}

export const freeId = (t: TableMemory, run: number): void => {
  t.runs[run * t.stride + LINK] = t.head[RUN_FREE]!
  t.head[RUN_FREE] = run
}

/** Cuts a run to its first `length` keys, at least one. */
export const shrink = (t: TableMemory, run: number, length: number): void => {
  const { runs, head } = t
  const at = run * t.stride
  const shape = runs[at + SHAPE]!
  const before = shape & LEN_MASK
  KeySlots.eraseAll(t, run, length, before)
  head[BLOCKS]! -= before - length
  runs[at + SHAPE] = (shape & ~LEN_MASK) | length
  // Engines free chains from the tail, often block by block: have the misses of the next eight overlap.
  if ((length & 7) === 0) KeySlots.stage(t, t.keys, runs[at + BASE]! + length - 8, 8)
  if (length << 2 <= CELL_KEYS[(shape >>> CLASS_SHIFT) & 15]!) move(t, at, length, length)
}

/** Gives a run room for `keys`, as far as memory allows. Returns the room it has. */
export const widen = (t: TableMemory, run: number, keys: number): number => {
  const { runs } = t
  const at = run * t.stride
  const shape = runs[at + SHAPE]!
  const room = CELL_KEYS[(shape >>> CLASS_SHIFT) & 15]!
  if (room >= keys) return room
  const length = shape & LEN_MASK
  // At least twice as much, so that a chain that grows turn by turn is copied a few times only.
  return move(t, at, length, Math.min(RUN_MAX, Math.max(keys, length << 1)))
}

/** Names the block before this run (`run << 8 | offset`), unless the right one is named already. For eviction order and places. */
export const linkParent = (t: TableMemory, run: number, parent: number): void => {
  const { runs, stride } = t
  const at = run * stride
  if (run === parent >>> 8 || parentOf(t, at) !== 0) return
  unlinkParent(t, at)
  const parentAt = (parent >>> 8) * stride
  runs[at + PARENT] = parent
  runs[at + PARENT_VERSION] = runs[parentAt + VERSION]!
  runs[at + PARENT_LO] = t.keys[(runs[parentAt + BASE]! + (parent & 255)) << 1]!
  runs[parentAt + CHILDREN]!++
}

/** Notes which block a new run without a parent continues, so that `placeOf` can find it once it is stored. */
export const awaitParent = (t: TableMemory, run: number, lo: number, hi: number): void => {
  const at = run * t.stride
  t.runs[at + PARENT_LO] = lo
  t.runs[at + PARENT_VERSION] = hi
}

/** The block before the run with this header, `run << 8 | offset`; 0 when there is none, or it is not in its place any more. */
export const parentOf = (t: TableMemory, at: number): number => {
  const { runs } = t
  const parent = runs[at + PARENT]!
  const parentAt = (parent >>> 8) * t.stride
  const offset = parent & 255
  if (parent === 0 || runs[parentAt + VERSION] !== runs[at + PARENT_VERSION]) return 0
  if (offset >= (runs[parentAt + SHAPE]! & LEN_MASK)) return 0
  // The parent may have shrunk and grown again since, as another chain.
  return t.keys[(runs[parentAt + BASE]! + offset) << 1] === runs[at + PARENT_LO] ? parent : 0
}

/** Runs a place is searched back over, and their headers. */
const BACK_MAX = 64
const back = new Int32Array(BACK_MAX)

/**
 * Place of the run's first key in its chain, plus one; 0 when it is not known. A run stored before its parent, or after one
 * that was, is placed here once the parent is known.
 */
export const placeOf = (t: TableMemory, run: number): number => {
  const { runs, stride } = t
  let place = runs[run * stride + DEPTH]!
  if (place !== 0) return place
  let count = 0
  let next = run
  let at = next * stride
  while (place === 0) {
    if (runs[at + PARENT] === 0 && (runs[at + PARENT_LO] !== 0 || runs[at + PARENT_VERSION] !== 0)) {
      const found = KeySlots.find(t, runs[at + PARENT_LO]!, runs[at + PARENT_VERSION]!)
      if (found !== 0) linkParent(t, next, found)
    }
    const parent = parentOf(t, at)
    if (parent === 0 || count === BACK_MAX) return 0
    back[count++] = at
    next = parent >>> 8
    at = next * stride
    place = runs[at + DEPTH]!
  }
  while (count > 0) {
    at = back[--count]!
    place += (runs[at + PARENT]! & 255) + 1
    runs[at + DEPTH] = place
  }
  return place
}

const unlinkParent = (t: TableMemory, at: number): void => {
  const { runs, stride } = t
  const parent = runs[at + PARENT]!
  const parentAt = (parent >>> 8) * stride
  if (parent !== 0 && runs[parentAt + VERSION] === runs[at + PARENT_VERSION]) runs[parentAt + CHILDREN]!--
  runs[at + PARENT] = 0
}

const move = (t: TableMemory, at: number, length: number, keys: number): number => {
  const { runs, keys: arena } = t
  const shape = runs[at + SHAPE]!
  const before = (shape >>> CLASS_SHIFT) & 15
  const wanted = classFor[keys]!
  if (wanted === before) return CELL_KEYS[before]!
  const cell = takeCell(t, wanted)
  if (cell < 0) return CELL_KEYS[before]!
  // Whatever was left may be no better than what the run has.
  if (CELL_KEYS[taken]! < length || (wanted > before ? taken <= before : taken >= before)) {
    freeCell(t, cell, taken)
    return CELL_KEYS[before]!
  }
  const from = runs[at + BASE]!
  arena.copyWithin(cell << 1, from << 1, (from + length) << 1)
  runs[at + BASE] = cell
  runs[at + SHAPE] = (shape & ~(15 << CLASS_SHIFT)) | (taken << CLASS_SHIFT)
  freeCell(t, from, before)
  return CELL_KEYS[taken]!
}

/** Class of the cell `takeCell` found last. */
let taken = 0

/** A free cell of the class, else of the next larger, else of the next smaller; -1 when the arena is full. */
const takeCell = (t: TableMemory, wanted: number): number => {
  const { head, keys } = t
  taken = wanted
  let cell = head[CELL_FREE + wanted]!
  if (cell < 0) {
    const top = head[ARENA_TOP]!
    const size = CELL_KEYS[wanted]!
    if (top + size <= t.arenaMax) {
      head[ARENA_TOP] = top + size
      return top
    }
    while (cell < 0 && ++taken < CELL_KEYS.length) cell = head[CELL_FREE + taken]!
    if (cell < 0) taken = wanted
    while (cell < 0 && --taken >= 0) cell = head[CELL_FREE + taken]!
    if (cell < 0) return -1
  }
  head[CELL_FREE + taken] = keys[cell << 1]!
  return cell
}

const freeCell = (t: TableMemory, cell: number, size: number): void => {
  t.keys[cell << 1] = t.head[CELL_FREE + size]!
  t.head[CELL_FREE + size] = cell
}
