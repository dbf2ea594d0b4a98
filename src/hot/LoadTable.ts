/**
 * What every worker has been given and has not finished yet: the columns that `Bookings.ts` changes and `Cost.ts` reads.
 *
 * Arrays are indexed by slot; times are ms of the caller's one monotonic clock; tokens and microseconds are integers, so
 * that sums of them return to 0 exactly.
 */
import * as BookingPool from "./BookingPool.ts"
import * as RateModel from "./RateModel.ts"

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
  /** Tokens that the worker's device can hold; 0 when unknown. */
  readonly capacityTokens: Float64Array
  /** Priority of a request that has none, lower first; NaN where the worker serves first come, first served. */
  readonly unsetPriority: Float64Array
  /** Where the worker serves by priority: the queued booking whose prefill it has probably begun; else `NONE`. */
  readonly running: Int32Array
  /** What the request to be placed next would pass: prefill in ms, and prompts with a mean answer each, in tokens. */
  readonly passedMs: Float64Array
  readonly passedTokens: Float64Array
  /** Prefill that waits in the router for the worker, and goes before the request to be placed next, ms. */
  readonly aheadMs: Float64Array
  /** Share of the overlap to believe, 0 to 1. */
  readonly credit: Float64Array
  /**
   * Prefill given, ms, newer weighing more: only ratios between workers mean anything. It fades with the traffic (some
   * 32 requests per worker) and not with the clock, so that one request an hour spreads as well as a hundred a second.
   */
  readonly recent: Float64Array
  recentTotal: number
  recentWeight: number
  /**
   * From the engine: requests waiting that we did not send, tokens pinned beyond what we know of (negative: fewer, as a
   * shared prefix is pinned once), and when it said so.
   */
  readonly hintForeign: Float64Array
  readonly hintTokens: Float64Array
  /** Most requests queued since the engine's last report. */
  readonly queuedPeak: Int32Array
  readonly hintMs: Float64Array
  readonly rates: RateModel.RateModel
  /** Fleet-wide: workers with a request queued; the 10 s mean of their share; requests of the last minute, the newer heavier. */
  busy: number
  busyMean: number
  arrivals: number
  meansMs: number
  /** Mean output tokens. */
  outputMean: number
  outputSamples: number
  ownMeanMs: number
  /** What a whole prompt takes: mean. */
  coldMeanMs: number
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

const busyWindowMs = 10_000
const arrivalsWindowMs = 60_000
const recentRequests = 32

/** `observed`: see `RateModel`. */
export const make = (workersMax: number, observed = 1): LoadTable => ({
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
  unsetPriority: new Float64Array(workersMax).fill(Number.NaN),
  running: new Int32Array(workersMax).fill(NONE),
  passedMs: new Float64Array(workersMax),
  passedTokens: new Float64Array(workersMax),
  aheadMs: new Float64Array(workersMax),
  credit: new Float64Array(workersMax).fill(1),
  recent: new Float64Array(workersMax),
  recentTotal: 0,
  recentWeight: 1,
  hintForeign: new Float64Array(workersMax),
  queuedPeak: new Int32Array(workersMax),
  hintTokens: new Float64Array(workersMax),
  hintMs: new Float64Array(workersMax).fill(-Infinity),
  rates: RateModel.make(workersMax, observed),
  busy: 0,
  busyMean: 0,
  arrivals: 0,
  meansMs: Number.NaN,
  outputMean: 256, // Between the public chat trace's mean (343) and the tool trace's (176).
  outputSamples: 0,
  ownMeanMs: 100,
  coldMeanMs: 500,
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
  if (load.queued[slot]! > 0) load.busy--
  load.recentTotal = Math.max(0, load.recentTotal - load.recent[slot]!)
  for (const column of [
    load.queued,
    load.queuedUs,
    load.queuedTokens,
    load.busyUntilMs,
    load.active,
    load.activeTokens,
    load.capacityTokens,
    load.passedMs,
    load.passedTokens,
    load.recent,
    load.hintForeign,
    load.hintTokens,
    load.queuedPeak,
    load.silent,
    load.spanRequests,
    load.spanTokens,
    load.spanPairs,
    load.spanSpoilt
  ]) {
    column[slot] = 0
  }
  load.unsetPriority[slot] = Number.NaN
  load.credit[slot] = 1
  load.hintMs[slot] = -Infinity
  load.head[slot] = load.tail[slot] = load.running[slot] = NONE
  RateModel.reset(load.rates, slot)
  while (load.slots > 0 && load.present[load.slots - 1] === 0) load.slots--
}

/** The worker serves by priority, and this is what a request without one counts as, lower first; null: by arrival. */
export const setPriority = (load: LoadTable, slot: number, unset: number | null): void => {
  const next = unset ?? Number.NaN
  if (Object.is(load.unsetPriority[slot], next)) return
  load.unsetPriority[slot] = next
  load.running[slot] = unset === null ? NONE : load.head[slot]!
  load.passedMs[slot] = load.passedTokens[slot] = 0
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
  // Of a cache whose size is not known, its use says nothing.
  const pinned = load.capacityTokens[slot]! > 0 ? kvUsage * load.capacityTokens[slot]! : Number.NaN
  // Between what surely has its room, answers half done, and what is known of, it says nothing new.
  const least = load.activeTokens[slot]! + (load.active[slot]! * load.outputMean) / 2
  const most = pinnedTokens(load, slot)
  load.hintTokens[slot] = pinned > most ? pinned - most : pinned < least ? pinned - least : 0
  load.hintMs[slot] = nowMs
}

/** Context that the worker's requests will have pinned by their ends, each answer taken for a mean one. */
const pinnedTokens = (load: LoadTable, slot: number): number =>
  load.activeTokens[slot]! + load.queuedTokens[slot]! + load.outputMean * (load.active[slot]! + load.queued[slot]!)

/** Moves the fleet's averages on to now. Cheap; called by every verb. */
export const advance = (load: LoadTable, nowMs: number): void => {
  const passed = nowMs - load.meansMs
  if (!(passed <= 0)) {
    // NaN on the first call: start from what is true now.
    const keep = passed > 0 ? Math.exp(-passed / busyWindowMs) : 0
    const share = load.workers > 0 ? load.busy / load.workers : 0
    load.busyMean = share + (load.busyMean - share) * keep
    load.arrivals *= passed > 0 ? Math.exp(-passed / arrivalsWindowMs) : 1
    load.meansMs = nowMs
  }
}

/** Requests that a worker is sent, on average, per ms. */
export const arrivalsPerMs = (load: LoadTable): number => load.arrivals / (arrivalsWindowMs * Math.max(1, load.workers))

/** Notes work given, the newer the heavier. */
export const addRecent = (load: LoadTable, slot: number, ms: number): void => {
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
