/**
 * What every worker has been given and has not finished yet. Arrays are indexed by slot; times are ms of the caller's
 * one monotonic clock; tokens and microseconds are integers, so that sums of them return to 0 exactly.
 *
 *   book ──▶ queued (no first token) ──firstByte──▶ active (decoding) ──settle──▶ gone
 *                       └──────────────────settle───────────────────────────────▶ gone
 *
 * A booking is a number: pool index and generation in one. Settling it twice, or after its worker left, does nothing.
 * `busyUntilMs` grows by the predicted prefill on booking and is reset on each first token to now plus what is still
 * queued, so that prediction errors do not add up.
 *
 * An answer that is not streamed shows no first token. Its prefill is taken as done when it was due, or as soon as a
 * request booked after it on the same worker shows one.
 */
import * as BookingPool from "./BookingPool.ts"
import * as RateModel from "./RateModel.ts"
import * as ReuseAges from "./ReuseAges.ts"

export const NONE = BookingPool.NONE

export interface LoadTable {
  readonly workersMax: number
  /** Slots in use are below this. */
  slots: number
  /** Workers present: joined and not left. */
  workers: number
  readonly present: Uint8Array
  /** 1 when the worker may be given new work. */
  readonly eligible: Uint8Array
  /** Requests without a first token, their predicted prefill in µs, and their prompt tokens. */
  readonly queued: Int32Array
  readonly queuedUs: Float64Array
  readonly queuedTokens: Float64Array
  readonly busyUntilMs: Float64Array
  /** Requests decoding, and the context tokens they hold. */
  readonly active: Int32Array
  readonly activeTokens: Float64Array
  /** Tokens the worker's cache can hold; 0 when unknown. */
  readonly capacityTokens: Float64Array
  /** Share of the overlap to believe, 0 to 1. */
  readonly credit: Float64Array
  /**
   * Prefill given, ms, newer weighing more: only ratios between workers mean anything. It fades with the traffic (some
   * 32 requests per worker) and not with the clock, so that one request an hour spreads as well as a hundred a second.
   */
  readonly recent: Float64Array
  recentTotal: number
  recentWeight: number
  /** From the engine: cache in use (0 to 1, NaN unknown), requests waiting that we did not send, and when it said so. */
  readonly hintUsage: Float64Array
  readonly hintForeign: Float64Array
  /** Most requests queued since the engine's last report. */
  readonly queuedPeak: Int32Array
  readonly hintOwnTokens: Float64Array
  readonly hintMs: Float64Array
  /** Predicted tokens that were delivered from cache, as a share, exponentially averaged; NaN before the first. */
  readonly deliveredShare: Float64Array
  readonly rates: RateModel.RateModel
  readonly ages: ReuseAges.ReuseAges
  /** Fleet-wide: requests without a first token; the 10 s mean of that per worker; mean output tokens. */
  queuedTotal: number
  queuedMean: number
  queuedMeanMs: number
  outputMean: number
  outputSamples: number
  ownMeanMs: number
  /** Bookings refused because the pool was full. */
  dropped: number
  readonly epoch: Uint32Array
  /** Oldest and newest queued booking of a worker, and how many of its queued ones are not streamed. */
  readonly head: Int32Array
  readonly tail: Int32Array
  readonly silent: Int32Array
  /** The stretch since the worker was last idle, or last observed: what it had to prefill. */
  readonly spanSinceMs: Float64Array
  readonly spanRequests: Int32Array
  readonly spanTokens: Float64Array
  readonly spanPairs: Float64Array
  readonly spanSpoilt: Uint8Array
  pool: BookingPool.BookingPool
}

/** Most prefills summed into one observation: a worker that is never idle is observed all the same. */
const spanRequestsMax = 8
const queuedMeanWindowMs = 10_000
const recentRequests = 32

export const make = (workersMax: number): LoadTable => ({
  workersMax,
  slots: 0,
  workers: 0,
  present: new Uint8Array(workersMax),
  eligible: new Uint8Array(workersMax),
  queued: new Int32Array(workersMax),
  queuedUs: new Float64Array(workersMax),
  queuedTokens: new Float64Array(workersMax),
  busyUntilMs: new Float64Array(workersMax),
  active: new Int32Array(workersMax),
  activeTokens: new Float64Array(workersMax),
  capacityTokens: new Float64Array(workersMax),
  credit: new Float64Array(workersMax).fill(1),
  recent: new Float64Array(workersMax),
  recentTotal: 0,
  recentWeight: 1,
  hintUsage: new Float64Array(workersMax).fill(Number.NaN),
  hintForeign: new Float64Array(workersMax),
  queuedPeak: new Int32Array(workersMax),
  hintOwnTokens: new Float64Array(workersMax),
  hintMs: new Float64Array(workersMax).fill(-Infinity),
  deliveredShare: new Float64Array(workersMax).fill(Number.NaN),
  rates: RateModel.make(workersMax),
  ages: ReuseAges.make(workersMax),
  queuedTotal: 0,
  queuedMean: 0,
  queuedMeanMs: Number.NaN,
  outputMean: 256, // Between the public chat trace's mean (343) and the tool trace's (176).
  outputSamples: 0,
  ownMeanMs: 100,
  dropped: 0,
  epoch: new Uint32Array(workersMax),
  head: new Int32Array(workersMax).fill(NONE),
  tail: new Int32Array(workersMax).fill(NONE),
  silent: new Int32Array(workersMax),
  spanSinceMs: new Float64Array(workersMax),
  spanRequests: new Int32Array(workersMax),
  spanTokens: new Float64Array(workersMax),
  spanPairs: new Float64Array(workersMax),
  spanSpoilt: new Uint8Array(workersMax),
  pool: BookingPool.make(64)
})

/** A worker takes this slot: empty, eligible. `capacityTokens` 0 when the engine does not tell. */
export const join = (load: LoadTable, slot: number, capacityTokens: number): void => {
  if (load.present[slot] === 1) reset(load, slot)
  load.present[slot] = 1
  load.eligible[slot] = 1
  load.capacityTokens[slot] = capacityTokens
  load.workers++
  if (slot >= load.slots) load.slots = slot + 1
}

/** The worker left or crashed: all it was given is forgotten, and its open bookings will settle into nothing. */
export const reset = (load: LoadTable, slot: number): void => {
  if (load.present[slot] === 1) load.workers--
  load.present[slot] = 0
  load.eligible[slot] = 0
  load.epoch[slot] = (load.epoch[slot]! + 1) >>> 0
  load.queuedTotal -= load.queued[slot]!
  load.recentTotal = Math.max(0, load.recentTotal - load.recent[slot]!)
  for (const column of [
    load.queued,
    load.queuedUs,
    load.queuedTokens,
    load.busyUntilMs,
    load.active,
    load.activeTokens,
    load.capacityTokens,
    load.recent,
    load.hintForeign,
    load.queuedPeak,
    load.silent,
    load.spanRequests,
    load.spanTokens,
    load.spanPairs,
    load.spanSpoilt
  ]) {
    column[slot] = 0
  }
  load.credit[slot] = 1
  load.hintUsage[slot] = Number.NaN
  load.hintMs[slot] = -Infinity
  load.deliveredShare[slot] = Number.NaN
  load.head[slot] = load.tail[slot] = NONE
  RateModel.reset(load.rates, slot)
  ReuseAges.reset(load.ages, slot)
  while (load.slots > 0 && load.present[load.slots - 1] === 0) load.slots--
}

/**
 * What the engine says of itself. Unknown values are NaN. A hint: it counts what others sent (requests waiting beyond
 * our own) and what blocks are really pinned (a prefix shared by many is one), and is believed for a few seconds.
 */
export const hint = (load: LoadTable, slot: number, waiting: number, kvUsage: number, nowMs: number): void => {
  // The report is a little old: against the most we had queued since the last one, or our own would look foreign.
  const foreign = waiting - load.queuedPeak[slot]!
  load.hintForeign[slot] = foreign > 0 ? foreign : 0
  load.queuedPeak[slot] = load.queued[slot]!
  load.hintUsage[slot] = kvUsage
  load.hintOwnTokens[slot] = load.activeTokens[slot]! + load.queuedTokens[slot]!
  load.hintMs[slot] = nowMs
}

/** Charges a request to a worker. The booking, or `NONE` when the pool is full (then nothing was charged). */
export const book = (
  load: LoadTable,
  slot: number,
  promptTokens: number,
  cachedTokens: number,
  streams: boolean,
  nowMs: number
): number => {
  if (BookingPool.isFull(load.pool)) load.pool = BookingPool.grown(load.pool)
  const at = BookingPool.take(load.pool)
  if (at === NONE) {
    load.dropped++
    return NONE
  }
  advance(load, nowMs)
  release(load, slot, nowMs)
  const uncached = Math.max(1, promptTokens - cachedTokens * load.credit[slot]!)
  const ownUs = Math.max(1, Math.round(RateModel.prefillMs(load.rates, slot, promptTokens, uncached) * 1000))
  const { pool } = load
  pool.state[at] = 1
  pool.slot[at] = slot
  pool.epoch[at] = load.epoch[slot]!
  pool.ownUs[at] = ownUs
  pool.promptTokens[at] = promptTokens
  pool.cachedTokens[at] = Math.min(cachedTokens, promptTokens)
  pool.uncachedTokens[at] = uncached
  pool.bookedMs[at] = nowMs
  pool.streams[at] = streams ? 1 : 0
  const alone = load.queued[slot] === 0
  pool.alone[at] = alone ? 1 : 0
  if (alone) beginSpan(load, slot, nowMs)
  if (!streams) {
    load.silent[slot] = load.silent[slot]! + 1
    load.spanSpoilt[slot] = 1
  }
  const due = Math.max(nowMs, load.busyUntilMs[slot]!) + ownUs / 1000
  load.busyUntilMs[slot] = pool.dueMs[at] = due
  load.queued[slot] = load.queued[slot]! + 1
  if (load.queued[slot]! > load.queuedPeak[slot]!) load.queuedPeak[slot] = load.queued[slot]!
  load.queuedTotal++
  load.queuedUs[slot] = load.queuedUs[slot]! + ownUs
  load.queuedTokens[slot] = load.queuedTokens[slot]! + promptTokens
  const tail = load.tail[slot]!
  pool.prev[at] = tail
  pool.next[at] = NONE
  if (tail === NONE) load.head[slot] = at
  else pool.next[tail] = at
  load.tail[slot] = at
  load.ownMeanMs += (ownUs / 1000 - load.ownMeanMs) / 64
  addRecent(load, slot, ownUs / 1000)
  ReuseAges.inserted(load.ages, slot, uncached, load.capacityTokens[slot]!, nowMs)
  return BookingPool.handle(pool, at)
}

/** The first token of a booking was seen: its prefill is done. Later calls do nothing. */
export const firstByte = (load: LoadTable, booking: number, nowMs: number): void => {
  const at = BookingPool.find(load.pool, booking)
  if (at === NONE || load.pool.state[at] !== 1) return
  advance(load, nowMs)
  const { pool } = load
  const slot = pool.slot[at]!
  if (pool.epoch[at] !== load.epoch[slot]) return
  // First come, first served: what was booked before and shows no first token has been prefilled too.
  for (let i = load.head[slot]!; i !== NONE && i !== at && load.silent[slot]! > 0; ) {
    const next = pool.next[i]!
    if (pool.streams[i] === 0) activate(load, i, nowMs)
    i = next
  }
  if (pool.streams[at] === 1) {
    const uncached = pool.uncachedTokens[at]!
    load.spanRequests[slot] = load.spanRequests[slot]! + 1
    load.spanTokens[slot] = load.spanTokens[slot]! + uncached
    load.spanPairs[slot] = load.spanPairs[slot]! + RateModel.attentionPairs(pool.promptTokens[at]!, uncached)
  }
  activate(load, at, nowMs)
  if (load.queued[slot] === 0 || load.spanRequests[slot]! >= spanRequestsMax) {
    if (load.spanSpoilt[slot] === 0) {
      const { spanRequests, spanTokens, spanPairs, spanSinceMs, rates } = load
      const ms = nowMs - spanSinceMs[slot]!
      RateModel.learn(rates, slot, spanRequests[slot]!, spanTokens[slot]!, spanPairs[slot]!, 0, 0, ms, nowMs)
    }
    if (load.queued[slot] !== 0 && load.silent[slot] === 0) beginSpan(load, slot, nowMs)
  }
  load.busyUntilMs[slot] = nowMs + load.queuedUs[slot]! / 1000
}

/**
 * The booking is over, however it ended. `outputTokens` and `cachedTokens` as the engine reported them, NaN when it did
 * not; `complete` is false when the answer was cut short. Later calls do nothing; false then.
 */
export const settle = (
  load: LoadTable,
  booking: number,
  outputTokens: number,
  cachedTokens: number,
  complete: boolean,
  nowMs: number
): boolean => {
  const at = BookingPool.find(load.pool, booking)
  if (at === NONE) return false
  advance(load, nowMs)
  const { pool } = load
  const slot = pool.slot[at]!
  if (pool.epoch[at] === load.epoch[slot]) {
    if (complete) observe(load, at, slot, outputTokens, cachedTokens, nowMs)
    if (pool.state[at] === 1) {
      unqueue(load, at)
      load.spanSpoilt[slot] = 1
      load.busyUntilMs[slot] = Math.min(load.busyUntilMs[slot]!, nowMs + load.queuedUs[slot]! / 1000)
    } else {
      load.active[slot] = load.active[slot]! - 1
      load.activeTokens[slot] = load.activeTokens[slot]! - pool.promptTokens[at]!
    }
  }
  BookingPool.give(pool, at)
  return true
}

/** Moves the fleet's averages on to now. Cheap; called by every verb. */
export const advance = (load: LoadTable, nowMs: number): void => {
  const passed = nowMs - load.queuedMeanMs
  if (!(passed <= 0)) {
    // NaN on the first call: start from what is true now.
    const keep = passed > 0 ? Math.exp(-passed / queuedMeanWindowMs) : 0
    const perWorker = load.workers > 0 ? load.queuedTotal / load.workers : 0
    load.queuedMean = perWorker + (load.queuedMean - perWorker) * keep
    load.queuedMeanMs = nowMs
  }
}

/** Lets go of the unstreamed prefills that were due, on every worker that has some. */
export const releaseDue = (load: LoadTable, nowMs: number): void => {
  for (let slot = 0; slot < load.slots; slot++) {
    if (load.silent[slot]! > 0) release(load, slot, nowMs)
  }
}

/** Open bookings, on workers present or gone. */
export const open = (load: LoadTable): number => load.pool.used

const release = (load: LoadTable, slot: number, nowMs: number): void => {
  const { pool } = load
  for (let i = load.head[slot]!; i !== NONE && load.silent[slot]! > 0; ) {
    const next = pool.next[i]!
    if (pool.streams[i] === 0 && pool.dueMs[i]! <= nowMs) activate(load, i, pool.dueMs[i]!)
    i = next
  }
}

/** What a finished answer teaches: output length, decode pace, and how true the predicted overlap was. */
const observe = (
  load: LoadTable,
  at: number,
  slot: number,
  outputTokens: number,
  cachedTokens: number,
  nowMs: number
): void => {
  const { pool } = load
  const predicted = pool.cachedTokens[at]!
  if (cachedTokens >= 0 && predicted > 0) {
    const share = Math.min(1, cachedTokens / predicted)
    const before = load.deliveredShare[slot]!
    load.deliveredShare[slot] = Number.isNaN(before) ? share : before + (share - before) / 16
  }
  if (!(outputTokens >= 1)) return
  load.outputSamples++
  load.outputMean += (outputTokens - load.outputMean) / Math.min(64, load.outputSamples + 2)
  const active = (pool.activeThen[at]! + load.activeTokens[slot]!) / 2
  if (pool.streams[at] === 1) {
    if (pool.state[at] === 2 && outputTokens >= 8) {
      RateModel.learn(load.rates, slot, 0, 0, 0, outputTokens - 1, active, nowMs - pool.firstMs[at]!, nowMs)
    }
  } else if (pool.alone[at] === 1) {
    const prompt = pool.promptTokens[at]!
    const uncached = Math.max(1, cachedTokens >= 0 ? prompt - cachedTokens : pool.uncachedTokens[at]!)
    const pairs = RateModel.attentionPairs(prompt, uncached)
    RateModel.learn(load.rates, slot, 1, uncached, pairs, outputTokens - 1, active, nowMs - pool.bookedMs[at]!, nowMs)
  }
}

const activate = (load: LoadTable, at: number, nowMs: number): void => {
  unqueue(load, at)
  const { pool } = load
  const slot = pool.slot[at]!
  pool.state[at] = 2
  pool.firstMs[at] = nowMs
  load.active[slot] = load.active[slot]! + 1
  load.activeTokens[slot] = load.activeTokens[slot]! + pool.promptTokens[at]!
  pool.activeThen[at] = load.activeTokens[slot]!
}

const unqueue = (load: LoadTable, at: number): void => {
  const { pool } = load
  const slot = pool.slot[at]!
  const next = pool.next[at]!
  const prev = pool.prev[at]!
  if (prev === NONE) load.head[slot] = next
  else pool.next[prev] = next
  if (next === NONE) load.tail[slot] = prev
  else pool.prev[next] = prev
  load.queued[slot] = load.queued[slot]! - 1
  load.queuedTotal--
  load.queuedUs[slot] = load.queuedUs[slot]! - pool.ownUs[at]!
  load.queuedTokens[slot] = load.queuedTokens[slot]! - pool.promptTokens[at]!
  if (pool.streams[at] === 0) load.silent[slot] = load.silent[slot]! - 1
}

const beginSpan = (load: LoadTable, slot: number, nowMs: number): void => {
  load.spanSinceMs[slot] = nowMs
  load.spanRequests[slot] = 0
  load.spanTokens[slot] = 0
  load.spanPairs[slot] = 0
  load.spanSpoilt[slot] = 0
}

const addRecent = (load: LoadTable, slot: number, ms: number): void => {
  load.recentWeight *= 1 + 1 / (recentRequests * Math.max(1, load.workers))
  if (load.recentWeight > 1e12) {
    // Weights only grow: start again from 1 before they lose precision.
    load.recentTotal = 0
    for (let i = 0; i < load.slots; i++) load.recentTotal += load.recent[i] = load.recent[i]! / load.recentWeight
    load.recentWeight = 1
  }
  const weighted = ms * load.recentWeight
  load.recent[slot] = load.recent[slot]! + weighted
  load.recentTotal += weighted
}
