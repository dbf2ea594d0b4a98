/**
 * What happens to a request's load between placement and end.
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
import { addRecent, advance, type LoadTable, NONE } from "./LoadTable.ts"
import * as RateModel from "./RateModel.ts"

/** Most prefills summed into one observation: a worker that is never idle is observed all the same. */
const spanRequestsMax = 8

/** Charges a request to a worker. The booking, or `NONE` when the pool is full (then nothing was charged). */
export const book = (
  load: LoadTable,
  slot: number,
  promptTokens: number,
  cachedTokens: number,
  streams: boolean,
  nowMs: number,
  /** Lower goes first, where the worker serves by it. */
  priority: number | null = null
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
  pool.uncachedTokens[at] = uncached
  pool.bookedMs[at] = nowMs
  const unset = load.unsetPriority[slot]!
  pool.priority[at] = Number.isNaN(unset) ? unset : (priority ?? unset)
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
  load.arrivals++
  if (load.queued[slot] === 1) load.busy++
  load.queuedUs[slot] = load.queuedUs[slot]! + ownUs
  load.queuedTokens[slot] = load.queuedTokens[slot]! + promptTokens
  const tail = load.tail[slot]!
  pool.prev[at] = tail
  pool.next[at] = NONE
  if (tail === NONE) load.head[slot] = at
  else pool.next[tail] = at
  load.tail[slot] = at
  if (alone) begin(load, slot)
  load.ownMeanMs += (ownUs / 1000 - load.ownMeanMs) / 64
  load.coldMeanMs += (RateModel.prefillMs(load.rates, slot, promptTokens, promptTokens) - load.coldMeanMs) / 64
  addRecent(load, slot, ownUs / 1000)
  return BookingPool.handle(pool, at)
}

/**
 * The first token of a booking was seen: its prefill is done. Later calls do nothing. `teaches`: it was seen here and now,
 * so that the time since the worker was idle shows its pace. Heard from another replica it is only part of what was done.
 */
export const firstByte = (load: LoadTable, booking: number, nowMs: number, teaches = true): void => {
  const at = BookingPool.find(load.pool, booking)
  if (at === NONE || load.pool.state[at] !== 1) return
  advance(load, nowMs)
  const { pool } = load
  const slot = pool.slot[at]!
  if (pool.epoch[at] !== load.epoch[slot]) return
  // First come, first served: what was booked before, is not behind it by priority and shows no first token has been
  // prefilled too.
  for (let i = load.head[slot]!; i !== NONE && i !== at && load.silent[slot]! > 0; ) {
    const next = pool.next[i]!
    if (pool.streams[i] === 0 && !(pool.priority[i]! > pool.priority[at]!)) activate(load, i, nowMs)
    i = next
  }
  if (pool.streams[at] === 1) {
    const uncached = pool.uncachedTokens[at]!
    load.spanRequests[slot] = load.spanRequests[slot]! + 1
    load.spanTokens[slot] = load.spanTokens[slot]! + uncached
    load.spanPairs[slot] = load.spanPairs[slot]! + RateModel.attentionPairs(pool.promptTokens[at]!, uncached)
  }
  activate(load, at, nowMs)
  begin(load, slot)
  if (teaches && (load.queued[slot] === 0 || load.spanRequests[slot]! >= spanRequestsMax)) {
    if (load.spanSpoilt[slot] === 0) {
      const { spanRequests, spanTokens, spanPairs, spanSinceMs, rates } = load
      const ms = nowMs - spanSinceMs[slot]!
      RateModel.learn(rates, slot, spanRequests[slot]!, spanTokens[slot]!, spanPairs[slot]!, 0, 0, ms, nowMs)
    }
    if (load.queued[slot] !== 0 && load.silent[slot] === 0) beginSpan(load, slot, nowMs)
  }
  load.busyUntilMs[slot] = nowMs + load.queuedUs[slot]! / 1000
}

/** A request just charged, whose first token was seen before it was heard of: that shows nothing of when. */
export const skipPrefill = (load: LoadTable, booking: number, nowMs: number): void => {
  const at = BookingPool.find(load.pool, booking)
  if (at === NONE) return
  const slot = load.pool.slot[at]!
  load.busyUntilMs[slot] = load.busyUntilMs[slot]! - load.pool.ownUs[at]! / 1000
  activate(load, at, nowMs)
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

/**
 * Notes what a request about to be placed would pass on each worker that serves by priority: all that is queued behind it,
 * but for what the engine is working on, which nobody passes. O(workers + requests queued on those that serve by priority).
 */
export const passing = (load: LoadTable, priority: number | null): void => {
  const { head, outputMean, passedMs, passedTokens, pool, queued, running, slots, unsetPriority } = load
  for (let slot = 0; slot < slots; slot++) {
    const unset = unsetPriority[slot]!
    if (Number.isNaN(unset)) continue
    const own = priority ?? unset
    let us = 0
    let tokens = 0
    // One alone is being worked on, and nothing is behind the last.
    if (queued[slot]! > 1 && own < Infinity) {
      for (let i = head[slot]!; i !== NONE; i = pool.next[i]!) {
        if (i === running[slot] || !(pool.priority[i]! > own)) continue
        us += pool.ownUs[i]!
        tokens += pool.promptTokens[i]! + outputMean
      }
    }
    passedMs[slot] = us / 1000
    passedTokens[slot] = tokens
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

/** What a finished answer teaches: output length and decode pace. */
const observe = (
  load: LoadTable,
  at: number,
  slot: number,
  outputTokens: number,
  cachedTokens: number,
  nowMs: number
): void => {
  const { pool } = load
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

/** The engine is free for another prefill: where it serves by priority, the lowest is next, and the oldest of those. */
const begin = (load: LoadTable, slot: number): void => {
  if (Number.isNaN(load.unsetPriority[slot]!)) return
  const { next, priority } = load.pool
  let first = load.head[slot]!
  for (let i = first; i !== NONE; i = next[i]!) if (priority[i]! < priority[first]!) first = i
  load.running[slot] = first
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
  if (load.queued[slot] === 0) load.busy--
  load.queuedUs[slot] = load.queuedUs[slot]! - pool.ownUs[at]!
  load.queuedTokens[slot] = load.queuedTokens[slot]! - pool.promptTokens[at]!
  if (pool.streams[at] === 0) load.silent[slot] = load.silent[slot]! - 1
  if (load.running[slot] === at) begin(load, slot)
}

const beginSpan = (load: LoadTable, slot: number, nowMs: number): void => {
  load.spanSinceMs[slot] = nowMs
  load.spanRequests[slot] = 0
  load.spanTokens[slot] = 0
  load.spanPairs[slot] = 0
  load.spanSpoilt[slot] = 0
}
