/**
 * The memory under the prefix index: one buffer, reserved once, cut into fixed Int32Array views.
 *
 * The operating system backs a page when it is first written, so a large reservation costs address space, not memory.
 * The buffer may be a SharedArrayBuffer. Nothing here or above it ever allocates again on a hot path.
 * Layout, drawn: README.md, "Prefix table".
 */
import * as EvictedKeys from "./EvictedKeys.ts"

/** Words of a run header before its coverage bits. */
export const BASE = 0 // first key of the run, as an index of keys into the arena
export const SHAPE = 1 // length (9 bits) | cell class << 9 | queued << 16
export const SPANS = 2 // first span of the partial holders; 0 = none
export const FULL = 3 // holders of the whole run
export const VERSION = 4 // bumped when the run ends; never reset, so that an id that came back is recognised
export const STAMP = 5 // epoch of the last store or match
export const PARENT = 6 // block before this run, `run << 8 | offset`; 0 = none or unknown
export const PARENT_VERSION = 7
export const CHILDREN = 8 // runs that name this one as parent
export const LINK = 9 // next free id, or next in the queue that clearing leaves behind
export const PARENT_LO = 10 // low lane of the key named by PARENT, or of the parent an orphan waits for (its high lane: PARENT_VERSION)
export const DEPTH = 11 // place of the run's first key in its chain, plus one; 0 = not known. A key's place never changes
export const COVER = 12 // one bit per holder that holds the whole run

export const LEN_MASK = 0x1ff
export const CLASS_SHIFT = 9
export const QUEUED = 1 << 16

/** Words of one span: holder, `lo | hi << 16`, next. */
export const SPAN_WORDS = 3

/** Words of one sub-table's entry in `subs`: slots in use of the reach, keys, keys at which it grows. */
export const SUB_WORDS = 4

/** Tags above this shift pick among 16 384 remembered tails: 64 KiB, which stays in a core's own cache. */
export const TAIL_SHIFT = 18

/** Longest run, in keys: offsets have 8 bits. */
export const RUN_MAX = 256
/** Most runs: ids have 24 bits, and 0 means none. */
export const RUNS_LIMIT = (1 << 24) - 1
/** Keys a cell of each class has room for. Steps of 1.33 to 1.5 keep the slack near 15 %. */
export const CELL_KEYS = Int32Array.of(4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)

/** Indexes into `head`, the scalars of the table. */
export const BLOCKS = 0 // distinct keys
export const RUNS = 1 // runs in use
export const MEMBERSHIPS = 2 // (holder, key) pairs
export const RUN_TOP = 3 // ids ever used, plus one
export const RUN_FREE = 4 // first free id
export const ARENA_TOP = 5 // keys of the arena ever used
export const SPAN_TOP = 6
export const SPAN_FREE = 7
export const SPANS_USED = 8
export const SLOT_COUNT = 9 // slots of all sub-tables at their present size
export const EPOCH = 10 // coarse clock for eviction
export const EPOCH_LEFT = 11 // new blocks until the next epoch
export const HAND = 12 // eviction hand, a run id
export const SWEEP_HAND = 13 // next run to strip; 0 = no pass under way
export const DEAD = 14 // first run of the queue that clearing leaves behind
export const LAST_NEW = 15 // 1 when the last store had unknown keys
export const CELL_FREE = 16 // first free cell per class
export const WORDS = 29 // bitset words in use: one more than the word of the highest holder that ever stored
export const HEAD_WORDS = 32

/** Indexes into `counters`, which only grow. */
export const KNOWN = 0 // stored pairs that were known
export const UNKNOWN = 1 // removed pairs that were not known
export const ORPHANS = 2 // stores whose parent was not in the table
export const EVICTED_BLOCKS = 3
export const EVICTED_MEMBERSHIPS = 4
export const DROPPED = 5 // memberships given up because a pool was full
export const REFUSED = 6 // stores for a holder that was being cleared or out of range
export const COUNTERS = 8

export interface Options {
  /** Holder ids, 1 to 65 536. Every 32 of them cost 4 bytes per run; those never used cost no time. */
  readonly holdersMax: number
  /** Memory the table may ever use. Give this or `blocksMax`; the other follows. */
  readonly bytesMax?: number
  /** Distinct blocks the table may ever hold. */
  readonly blocksMax?: number
  /** Puts the table into a SharedArrayBuffer. Reads and writes cost the same there. */
  readonly shared?: boolean
  /** Expected mean length of a run; sizes the room for run headers. 8 unless told: a run is usually a turn or more. */
  readonly blocksPerRun?: number
  /** Sizes the room for holders that hold part of a run: one such part for this many blocks. 4 unless told. */
  readonly blocksPerSpan?: number
}

export interface TableMemory {
  readonly holdersMax: number
  readonly blocksMax: number
  readonly bytesMax: number
  readonly buffer: ArrayBufferLike
  /** Bitset words that a set of all holders takes. `head[WORDS]` of them are in use. */
  readonly words: number
  /** Int32 words per run header. */
  readonly stride: number
  readonly runsMax: number
  readonly spansMax: number
  readonly arenaMax: number
  /** Sub-tables are picked by the top `subBits` of a tag; each may grow to `reach` slots. */
  readonly subBits: number
  readonly reach: number
  readonly epochBlocks: number
  readonly head: Int32Array
  readonly subs: Int32Array
  readonly slots: Int32Array
  readonly keys: Int32Array
  readonly runs: Int32Array
  readonly spans: Int32Array
  /** Holders whose memberships count. */
  readonly live: Int32Array
  /** Holders the present sweep strips, and those the next one will. */
  readonly clearing: Int32Array
  readonly waiting: Int32Array
  /** Blocks held, per holder. */
  readonly held: Int32Array
  /** The next holder of the same ring (`join`); itself for one that is in none. */
  readonly sibling: Int32Array
  readonly counters: Float64Array
  /** Private to the thread: not part of the buffer. */
  readonly refs: Int32Array
  /** Where lately stored chains ended, by the top bits of the last key's tag. */
  readonly tails: Int32Array
  readonly tags: Int32Array
  readonly homes: Int32Array
  readonly scratch: Int32Array
  readonly alive: Int32Array
  readonly rest: Int32Array
  readonly race: Int32Array
  readonly sink: Int32Array
  readonly evicted: EvictedKeys.EvictedKeys
}

const SUB_SLOTS_MAX = 65_536
const SUB_SLOTS_MIN = 64
const KEYS_PER_SUB = 40_000 // 0.61 of the largest sub-table; rehashing one takes well under a millisecond
const LOAD_AT_MAX = 0.66
const ARENA_SLACK = 1.45

const strideOf = (holdersMax: number): number => (COVER + Math.ceil(holdersMax / 32) + 15) & ~15

const bytesPerBlock = (holdersMax: number, blocksPerRun: number, blocksPerSpan: number): number =>
  8 / LOAD_AT_MAX + 8 * ARENA_SLACK + (strideOf(holdersMax) * 4) / blocksPerRun + (SPAN_WORDS * 4) / blocksPerSpan

/** Where everything lies in the buffer, and how much of it there is. */
const sizesOf = (holdersMax: number, blocksMax: number, blocksPerRun: number, blocksPerSpan: number) => {
  let subBits = 1
  while (blocksMax / 2 ** subBits > KEYS_PER_SUB) subBits++
  // Keys spread unevenly over few sub-tables: four standard deviations of room.
  const share = Math.max(0, blocksMax) / 2 ** subBits
  const reach = Math.min(
    SUB_SLOTS_MAX,
    Math.max(SUB_SLOTS_MIN, Math.ceil((share + 4 * Math.sqrt(share)) / LOAD_AT_MAX))
  )
  const words = Math.ceil(holdersMax / 32)
  const stride = strideOf(holdersMax)
  const runsMax = Math.min(RUNS_LIMIT, Math.ceil(blocksMax / blocksPerRun) + 64)
  const spansMax = Math.ceil(blocksMax / blocksPerSpan) + 64
  const arenaMax = Math.ceil(blocksMax * ARENA_SLACK) + RUN_MAX * 4
  const lengths = [
    HEAD_WORDS,
    2 ** subBits * SUB_WORDS,
    words,
    words,
    words,
    holdersMax,
    holdersMax,
    (runsMax + 1) * stride,
    (spansMax + 1) * SPAN_WORDS,
    arenaMax * 2,
    2 ** subBits * reach * 2 + 16
  ]
  let bytes = 0
  // Views begin on a cache line.
  const offsets = lengths.map((length) => {
    const offset = bytes
    bytes += Math.ceil(length / 16) * 64
    return offset
  })
  return { bytes, lengths, offsets, reach, runsMax, spansMax, arenaMax, stride, subBits, words }
}

/** Keys at which a sub-table of this many slots grows; at full reach it may fill further before it refuses. */
export const limitOf = (slots: number, reach: number): number => Math.floor(slots * (slots < reach ? 0.7 : 0.9))

/**
 * Reserves the memory of a table. Throws a RangeError when a size makes no sense, or when the platform refuses a buffer
 * of that size.
 */
export const make = (options: Options): TableMemory => {
  const { holdersMax, shared = false, blocksPerRun = 8, blocksPerSpan = 4 } = options
  if (!Number.isInteger(holdersMax) || holdersMax < 1 || holdersMax > 65_536) {
    throw new RangeError(`holdersMax is ${holdersMax}; it must be a whole number from 1 to 65536`)
  }
  const perBlock = bytesPerBlock(holdersMax, blocksPerRun, blocksPerSpan)
  const bytesMax = options.bytesMax ?? (options.blocksMax === undefined ? 1 << 30 : Number.POSITIVE_INFINITY)
  let blocksMax = Math.floor(Math.min(options.blocksMax ?? 500_000_000, bytesMax / perBlock))
  let sizes = sizesOf(holdersMax, blocksMax, blocksPerRun, blocksPerSpan)
  while (sizes.bytes > bytesMax) {
    blocksMax -= Math.ceil((sizes.bytes - bytesMax) / perBlock) + 1
    sizes = sizesOf(holdersMax, blocksMax, blocksPerRun, blocksPerSpan)
  }
  if (!(blocksMax >= 1_024 && blocksMax <= 500_000_000)) {
    throw new RangeError(
      `The table would hold ${blocksMax} blocks; set blocksMax from 1024 to 500000000, or bytesMax to ${Math.ceil(perBlock)} bytes for each`
    )
  }
  const { bytes, lengths, offsets, reach, runsMax, spansMax, arenaMax, stride, subBits, words } = sizes
  const subCount = 2 ** subBits
  const buffer = shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes)
  const view = (i: number) => new Int32Array(buffer, offsets[i]!, lengths[i]!)
  const t: TableMemory = {
    holdersMax,
    blocksMax,
    bytesMax: bytes,
    buffer,
    words,
    stride,
    runsMax,
    spansMax,
    arenaMax,
    subBits,
    reach,
    epochBlocks: Math.max(64, Math.floor(blocksMax / 256)),
    head: view(0),
    subs: view(1),
    live: view(2),
    clearing: view(3),
    waiting: view(4),
    held: view(5),
    sibling: view(6),
    runs: view(7),
    spans: view(8),
    keys: view(9),
    slots: view(10),
    counters: new Float64Array(COUNTERS),
    refs: new Int32Array(1_024),
    tails: new Int32Array(1 << (32 - TAIL_SHIFT)),
    tags: new Int32Array(RUN_MAX),
    homes: new Int32Array(RUN_MAX),
    scratch: new Int32Array(reach * 2),
    alive: new Int32Array(words),
    rest: new Int32Array(words),
    race: new Int32Array(words),
    sink: new Int32Array(1),
    evicted: EvictedKeys.make(blocksMax)
  }
  for (let holder = 0; holder < holdersMax; holder++) {
    t.live[holder >>> 5]! |= 1 << (holder & 31)
    t.sibling[holder] = holder
  }
  for (let sub = 0; sub < subCount; sub++) {
    t.subs[sub * SUB_WORDS] = SUB_SLOTS_MIN
    t.subs[sub * SUB_WORDS + 2] = limitOf(SUB_SLOTS_MIN, reach)
  }
  t.head[SLOT_COUNT] = subCount * SUB_SLOTS_MIN
  t.head[RUN_TOP] = 1
  t.head[SPAN_TOP] = 1
  t.head[HAND] = 1
  t.head[EPOCH_LEFT] = t.epochBlocks
  t.head.fill(-1, CELL_FREE, CELL_FREE + CELL_KEYS.length)
  return t
}

/** Bytes written so far: what the operating system has had to back, page rounding apart. */
export const bytesUsed = (t: TableMemory): number => {
  const { head } = t
  return (
    HEAD_WORDS * 4 +
    t.subs.byteLength +
    t.words * 12 +
    t.holdersMax * 8 +
    head[SLOT_COUNT]! * 8 +
    head[ARENA_TOP]! * 8 +
    head[RUN_TOP]! * t.stride * 4 +
    head[SPAN_TOP]! * SPAN_WORDS * 4
  )
}
