/**
 * The cost of sending a request to a worker, in ms, and the worker where it is least.
 *
 *   cost = wait + own + others + decode + recent          Terms, units and sources: README.md, "Cost".
 *
 * `cheapest` and `explain` run the same loop, so that what is explained is what was done. Arrays are indexed by slot.
 */
import type { Candidate, Placement } from "../domain/Placement.ts"
import { arrivalsPerMs, type LoadTable, NONE } from "./LoadTable.ts"
import * as RateModel from "./RateModel.ts"
import { weights } from "./Weights.ts"

const priceMax = 50
/** A KV-space wait above this is "very long" either way. */
const spaceWaitMsMax = 120_000
const hintMsMax = 5_000
/**
 * What recent work may weigh at most: the prefill of half a 16-token block, or a fifth of the whole prompt's. So it
 * decides between workers that hold about as much (a common system prompt is no reason to pile up), never against more.
 */
const recentTokens = 8
const recentShare = 0.2

/** Terms of one candidate in `found`, in the order they are added up. */
export const terms = 5

/**
 * What one ms of work added costs others, however short: b / (1 − b), b the share of workers with a request queued, 10 s
 * average, which is the queue that random arrivals make; a little more, so that siblings stay together; 50 at most.
 */
export const priceOf = (load: LoadTable): number =>
  Math.min(priceMax, weights.basePrice + (weights.busyPrice * load.busyMean) / Math.max(1e-3, 1 - load.busyMean))

/** The cost of a candidate, added up as `cheapest` does. */
export const total = ({ decodeMs, othersMs, ownMs, recentMs, waitMs }: Omit<Candidate, "costMs">): number =>
  waitMs + ownMs + othersMs + decodeMs + recentMs

/**
 * Slot of the cheapest eligible worker, or `NONE` when there is none. `cachedTokens` are leading prompt tokens held, by
 * slot. Ties go to the first slot at or after `start`. O(workers), allocates nothing, never throws.
 */
export const cheapest = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  start: number,
  eligible: Uint8Array = load.eligible
): number => scan(load, cachedTokens, promptTokens, nowMs, start, eligible, null)

/** The same decision with every candidate's terms, for receipts and `explain`. Allocates. */
export const explain = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  start: number,
  eligible: Uint8Array = load.eligible
): Placement => {
  const found = new Float64Array(load.slots * terms)
  const slot = scan(load, cachedTokens, promptTokens, nowMs, start, eligible, found)
  const candidates: Array<Candidate> = []
  for (let slot = 0; slot < load.slots; slot++) {
    if (eligible[slot] === 0) continue
    const [waitMs, ownMs, othersMs, decodeMs, recentMs] = found.subarray(slot * terms) as unknown as Terms
    const candidate = { slot, cachedTokens: cachedTokens[slot]!, waitMs, ownMs, othersMs, decodeMs, recentMs }
    candidates.push({ ...candidate, costMs: total(candidate) })
  }
  return { slot, policy: "eta", price: priceOf(load), arrivalsPerMs: arrivalsPerMs(load), candidates }
}

/** What each eligible worker would cost, by slot. Allocates. */
export const costs = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  start: number,
  eligible: Uint8Array
): Float64Array => {
  const found = new Float64Array(load.slots * terms)
  scan(load, cachedTokens, promptTokens, nowMs, start, eligible, found)
  const sums = new Float64Array(load.slots)
  for (let slot = 0, at = 0; slot < load.slots; slot++, at += terms) {
    sums[slot] = found[at]! + found[at + 1]! + found[at + 2]! + found[at + 3]! + found[at + 4]!
  }
  return sums
}

/** Where it would go, and of that candidate, in ms: slot `NONE` where there is none. */
export interface Outlook {
  slot: number
  /**
   * What it would wait behind requests of ours, sent there or held back, or for the space that they hold. Where none are,
   * nothing is gained by waiting; and behind others' requests it is better off in line.
   */
  waitMs: number
  /** Its own prefill. */
  ownMs: number
  /** What prefill of a request takes on average, fleet-wide. */
  meanMs: number
}

/** As `cheapest`, with what is to be known of the choice. `found` has room for `terms` of every slot; both are written over. */
export const outlook = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  start: number,
  eligible: Uint8Array,
  found: Float64Array,
  into: Outlook
): Outlook => {
  const slot = scan(load, cachedTokens, promptTokens, nowMs, start, eligible, found)
  into.slot = slot
  into.waitMs = slot === NONE ? 0 : behindOursMs(load, slot, nowMs, found[slot * terms]!)
  into.ownMs = slot === NONE ? 0 : found[slot * terms + 1]!
  into.meanMs = load.ownMeanMs
  return into
}

/** `waitMs`: as the cost has it. */
const behindOursMs = (load: LoadTable, slot: number, nowMs: number, waitMs: number): number => {
  const heldMs = load.aheadMs[slot]!
  if (load.queued[slot] === 0 && (load.active[slot] === 0 || foreignMs(load, slot, nowMs) > 0)) return heldMs
  if (foreignMs(load, slot, nowMs) === 0) return waitMs
  const passed = load.passedMs[slot]!
  return leftMs(load.busyUntilMs[slot]! - nowMs - passed, load.queuedUs[slot]! / 1000 - passed) + heldMs
}

type Terms = readonly [waitMs: number, ownMs: number, othersMs: number, decodeMs: number, recentMs: number]

/** Predicted ms of prefill ahead of a new request that passes none, with what the engine reports of others' requests. */
export const aheadMs = (load: LoadTable, slot: number, nowMs: number): number =>
  sentMs(load, slot, nowMs) + foreignMs(load, slot, nowMs)

/** Of that, what was charged to the worker here. */
export const sentMs = (load: LoadTable, slot: number, nowMs: number): number =>
  load.queued[slot]! > 0 ? leftMs(load.busyUntilMs[slot]! - nowMs, load.queuedUs[slot]! / 1000) : 0

const foreignMs = (load: LoadTable, slot: number, nowMs: number): number => {
  const age = nowMs - load.hintMs[slot]!
  return age < hintMsMax ? load.hintForeign[slot]! * load.ownMeanMs * (1 - age / hintMsMax) : 0
}

/**
 * What is left of the prefill queued. Once all should be done and is not, the worker is slower than thought: what is
 * queued counts again, as far as it is late, and half of the lateness.
 */
const leftMs = (left: number, queuedMs: number): number => (left > 0 ? left : Math.min(-left, queuedMs) - left / 2)

/** One pass over the workers, columns in locals; with `found`, every eligible one's terms are written there. */
const scan = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  start: number,
  eligible: Uint8Array,
  found: Float64Array | null
): number => {
  const { active, activeTokens, busyUntilMs, capacityTokens, credit, hintForeign, hintMs, hintTokens } = load
  const { coldMeanMs, outputMean, ownMeanMs, queued, queuedTokens, queuedUs, rates, recent, slots } = load
  const { aheadMs: held, passedMs, passedTokens } = load
  const { decodes, row, theta } = rates
  const fleet = rates.workersMax
  const price = priceOf(load)
  const perMs = weights.arrivalsPrice * arrivalsPerMs(load)
  const fixedMs = RateModel.prefillMs(rates, fleet, 0, 0)
  const halfBlockMs = RateModel.prefillMs(rates, fleet, recentTokens, recentTokens) - fixedMs
  const coldMs = RateModel.prefillMs(rates, fleet, promptTokens, promptTokens) - fixedMs
  const recentMax = weights.recent * (1 + price) * Math.max(halfBlockMs, recentShare * coldMs)
  const recentMean = load.workers > 0 ? load.recentTotal / load.workers : 0
  const decodeMean = weights.decode * outputMean
  const spaceMean = weights.space * outputMean
  let best = NONE
  let bestCost = Infinity
  for (let i = 0, slot = slots === 0 ? 0 : start % slots; i < slots; i++, slot = slot + 1 === slots ? 0 : slot + 1) {
    if (eligible[slot] === 0) continue
    // The last token is always computed: its logits are the answer.
    const uncached = Math.max(1, promptTokens - cachedTokens[slot]! * credit[slot]!)
    const at = row[slot]! * RateModel.terms
    const ownMs = theta[at]! + theta[at + 1]! * uncached + theta[at + 2]! * uncached * (promptTokens - uncached / 2)
    const othersMs = (price + perMs * Math.min(ownMs, coldMeanMs)) * ownMs
    // The other terms only add to it.
    if (found === null && ownMs + othersMs >= bestCost) continue

    const waiting = queued[slot]!
    const age = nowMs - hintMs[slot]!
    const passed = passedMs[slot]!
    let waitMs = waiting > 0 ? leftMs(busyUntilMs[slot]! - nowMs - passed, queuedUs[slot]! / 1000 - passed) : 0
    if (age < hintMsMax) waitMs += hintForeign[slot]! * ownMeanMs * (1 - age / hintMsMax)
    // Once more, with the wait that is known by now: added up in the same order as the cost, so never above it.
    if (found === null && waitMs + ownMs + othersMs >= bestCost) continue

    const decoding = activeTokens[slot]!
    let pinned = decoding + queuedTokens[slot]! + outputMean * (active[slot]! + waiting)
    if (age < hintMsMax) pinned = Math.max(0, pinned + hintTokens[slot]!)
    const decodeRow = (decodes[slot]! > 0 ? slot : fleet) * RateModel.terms
    const contextMs = theta[decodeRow + 4]!
    // An engine that finds no room for the first in its queue lets all behind it wait too, so what is about to be
    // pinned counts as much as what is, unless this request passes it. Unknown capacity: no wait for room.
    const capacity = capacityTokens[slot]!
    const missing = pinned - passedTokens[slot]! + promptTokens + outputMean - capacity
    if (missing > 0 && capacity > 0) {
      const spaceMs = (missing * spaceMean * (theta[decodeRow + 3]! + contextMs * decoding)) / Math.max(decoding, 1)
      waitMs = Math.max(waitMs, Math.min(spaceWaitMsMax, spaceMs))
    }
    waitMs += held[slot]!
    const decodeMs = decodeMean * contextMs * pinned
    const lately = recent[slot]!
    const recentMs = lately > 0 ? (recentMax * lately) / (lately + recentMean) : 0
    const cost = waitMs + ownMs + othersMs + decodeMs + recentMs
    if (found !== null) {
      const to = slot * terms
      found[to] = waitMs
      found[to + 1] = ownMs
      found[to + 2] = othersMs
      found[to + 3] = decodeMs
      found[to + 4] = recentMs
    }
    // Strictly less, so that on a tie the earlier slot in the rotation wins.
    if (cost < bestCost) {
      best = slot
      bestCost = cost
    }
  }
  return best
}
