/**
 * The cost of sending a request to a worker, in ms, and the worker where it is least.
 *
 *   cost = wait + (1 + price) · own + decode + recent          Terms, units and sources: README.md, "Cost".
 *
 * `cheapest` and `explain` use the same `costOf`, so that what is explained is what was done. Arrays are indexed by slot.
 */
import type { Candidate, Placement } from "../domain/Placement.ts"
import { type LoadTable, NONE, pinnedTokens } from "./LoadTable.ts"
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

/** What is the same for all workers of one decision, and the terms of the worker looked at last. Typed: no boxing. */
const ask = new Float64Array(5)
const [PROMPT, NOW, PRICE, RECENT_MAX, RECENT_MEAN] = [0, 1, 2, 3, 4] as const
const term = new Float64Array(4)
const [WAIT, OWN, DECODE, RECENT] = [0, 1, 2, 3] as const

/** What one ms of added work costs those behind it: min(50, 1 + 4 · mean queued requests per worker over 10 s). */
export const priceOf = (load: LoadTable): number =>
  Math.min(priceMax, weights.price + weights.queuedPrice * load.queuedMean)

/**
 * Slot of the cheapest eligible worker, or `NONE` when there is none. `cachedTokens` are leading prompt tokens held, by
 * slot. Ties go to the first slot at or after `start`. O(workers), never throws; no objects, at most some boxed numbers.
 */
export const cheapest = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  start: number,
  eligible: Uint8Array = load.eligible
): number => {
  const count = load.slots
  if (count === 0) return NONE
  begin(load, promptTokens, nowMs)
  let best = NONE
  let bestCost = Infinity
  for (let i = 0, slot = start % count; i < count; i++, slot = slot + 1 === count ? 0 : slot + 1) {
    if (eligible[slot] === 0) continue
    const cost = costOf(load, slot, cachedTokens[slot]!)
    // Strictly less, so that on a tie the earlier slot in the rotation wins.
    if (cost < bestCost) {
      best = slot
      bestCost = cost
    }
  }
  return best
}

/** The same decision with every candidate's terms, for receipts and `explain`. Allocates. */
export const explain = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  start: number,
  eligible: Uint8Array = load.eligible
): Placement => {
  const slot = cheapest(load, cachedTokens, promptTokens, nowMs, start, eligible)
  return {
    slot,
    policy: "eta",
    price: ask[PRICE]!,
    candidates: candidates(load, cachedTokens, promptTokens, nowMs, eligible)
  }
}

/** Every eligible worker's terms, by slot. */
export const candidates = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  eligible: Uint8Array = load.eligible
): ReadonlyArray<Candidate> => {
  const found: Array<Candidate> = []
  begin(load, promptTokens, nowMs)
  for (let slot = 0; slot < load.slots; slot++) {
    if (eligible[slot] === 0) continue
    const costMs = costOf(load, slot, cachedTokens[slot]!)
    found.push({
      slot,
      cachedTokens: cachedTokens[slot]!,
      waitMs: term[WAIT]!,
      ownMs: term[OWN]!,
      decodeMs: term[DECODE]!,
      recentMs: term[RECENT]!,
      costMs
    })
  }
  return found
}

/**
 * Predicted ms of prefill ahead of a new request. Once all should be done and is not, the worker is slower than thought:
 * what is queued counts again, as far as it is late, and half of the lateness.
 */
export const aheadMs = (load: LoadTable, slot: number, nowMs: number): number => {
  let ahead = 0
  if (load.queued[slot]! > 0) {
    const left = load.busyUntilMs[slot]! - nowMs
    ahead = left > 0 ? left : Math.min(-left, load.queuedUs[slot]! / 1000) - left / 2
  }
  const age = nowMs - load.hintMs[slot]!
  if (age < hintMsMax) ahead += load.hintForeign[slot]! * load.ownMeanMs * (1 - age / hintMsMax)
  return ahead
}

const begin = (load: LoadTable, promptTokens: number, nowMs: number): void => {
  const { rates } = load
  const price = priceOf(load)
  ask[PROMPT] = promptTokens
  ask[NOW] = nowMs
  ask[PRICE] = price
  ask[RECENT_MEAN] = load.workers > 0 ? load.recentTotal / load.workers : 0
  const fleet = rates.workersMax
  const fixedMs = RateModel.prefillMs(rates, fleet, 0, 0)
  const halfBlockMs = RateModel.prefillMs(rates, fleet, recentTokens, recentTokens) - fixedMs
  const coldMs = RateModel.prefillMs(rates, fleet, promptTokens, promptTokens) - fixedMs
  ask[RECENT_MAX] = weights.recent * (1 + price) * Math.max(halfBlockMs, recentShare * coldMs)
}

const costOf = (load: LoadTable, slot: number, cached: number): number => {
  const promptTokens = ask[PROMPT]!
  const nowMs = ask[NOW]!
  const price = ask[PRICE]!
  // The last token is always computed: its logits are the answer.
  const uncached = Math.max(1, promptTokens - cached * load.credit[slot]!)
  const ownMs = RateModel.prefillMs(load.rates, slot, promptTokens, uncached)
  let pinned = pinnedTokens(load, slot)
  if (nowMs - load.hintMs[slot]! < hintMsMax) pinned = Math.max(0, pinned + load.hintTokens[slot]!)
  const waitMs = Math.max(aheadMs(load, slot, nowMs), spaceWaitMs(load, slot, promptTokens, pinned))
  const decodeMs = weights.decode * load.outputMean * RateModel.decodeContextMs(load.rates, slot) * pinned
  const recent = load.recent[slot]!
  const recentMs = recent > 0 ? (ask[RECENT_MAX]! * recent) / (recent + ask[RECENT_MEAN]!) : 0
  term[WAIT] = waitMs
  term[OWN] = ownMs
  term[DECODE] = decodeMs
  term[RECENT] = recentMs
  return waitMs + (1 + price) * ownMs + decodeMs + recentMs
}

/**
 * Until the worker's running requests have freed the room this request needs to its end. 0 when capacity is unknown.
 *
 * An engine that finds no room for the first in its queue lets all behind it wait too, so what is about to be pinned
 * counts as much as what is.
 */
const spaceWaitMs = (load: LoadTable, slot: number, promptTokens: number, pinned: number): number => {
  const capacity = load.capacityTokens[slot]!
  const missing = pinned + promptTokens + load.outputMean - capacity
  if (missing <= 0 || capacity === 0) return 0
  const active = load.activeTokens[slot]!
  const decodeMs =
    load.outputMean * (RateModel.decodeFloorMs(load.rates, slot) + RateModel.decodeContextMs(load.rates, slot) * active)
  return Math.min(spaceWaitMsMax, (weights.space * missing * decodeMs) / Math.max(active, 1))
}
