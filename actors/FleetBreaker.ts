/**
 * The circuit breaker's arithmetic of one worker: when to trip, and how long to stay open. Mutable, no clock of its own.
 *
 * Trips on failures in a row (a dead worker) or on the share of failures in a window (a sick one). A plain 5xx counts
 * towards the share only: one poisoned prompt, retried around, must not open every breaker of the fleet.
 */
export interface Knobs {
  /** Failures in a row that open it. */
  readonly failuresMax: number
  /** Share of failed requests in the window that opens it, 0 to 1. */
  readonly failureShareMax: number
  /** Fewest requests in the window for a share to mean anything. */
  readonly windowRequestsMin: number
  readonly windowMs: number
  /** First time open; doubles with each failed return. */
  readonly openMsMin: number
  readonly openMsMax: number
}

export interface Breaker {
  /** Failures since the last success. */
  inARow: number
  /** Times opened since the last request that succeeded. */
  opened: number
  /** When it may be probed again, ms; meaningful while open. */
  retryAtMs: number
  windowFromMs: number
  good: number
  bad: number
  goodBefore: number
  badBefore: number
}

export const make = (nowMs: number): Breaker => ({
  inARow: 0,
  opened: 0,
  retryAtMs: 0,
  windowFromMs: nowMs,
  good: 0,
  bad: 0,
  goodBefore: 0,
  badBefore: 0
})

/** The window slides in halves: the last full one, and the one being filled. */
const slide = (breaker: Breaker, knobs: Knobs, nowMs: number): void => {
  const half = knobs.windowMs / 2
  const age = nowMs - breaker.windowFromMs
  if (age < half) return
  const adjacent = age < 2 * half
  breaker.goodBefore = adjacent ? breaker.good : 0
  breaker.badBefore = adjacent ? breaker.bad : 0
  breaker.good = 0
  breaker.bad = 0
  breaker.windowFromMs = nowMs
}

export const succeeded = (breaker: Breaker, knobs: Knobs, nowMs: number): void => {
  slide(breaker, knobs, nowMs)
  breaker.good++
  breaker.inARow = 0
  breaker.opened = 0
}

/** True when it trips. `dead`: the failure speaks about the worker and not only about this request. */
export const failed = (breaker: Breaker, knobs: Knobs, nowMs: number, dead: boolean): boolean => {
  slide(breaker, knobs, nowMs)
  breaker.bad++
  if (dead) breaker.inARow++
  const bad = breaker.bad + breaker.badBefore
  const all = bad + breaker.good + breaker.goodBefore
  return breaker.inARow >= knobs.failuresMax || (all >= knobs.windowRequestsMin && bad >= knobs.failureShareMax * all)
}

/** A probe without an answer: counts in a row, not in the share of requests. True when it trips. */
export const silent = (breaker: Breaker, knobs: Knobs): boolean => ++breaker.inARow >= knobs.failuresMax

/** Opens, or stays open after a failed return. `jitter` from 0 to 1 spreads the return of many over a fifth. */
export const open = (breaker: Breaker, knobs: Knobs, nowMs: number, jitter: number): void => {
  const openMs = Math.min(knobs.openMsMax, knobs.openMsMin * 2 ** Math.min(breaker.opened, 30))
  breaker.opened++
  breaker.inARow = 0
  breaker.good = breaker.bad = breaker.goodBefore = breaker.badBefore = 0
  breaker.windowFromMs = nowMs
  breaker.retryAtMs = nowMs + openMs * (1 + jitter / 5)
}
