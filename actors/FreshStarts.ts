/**
 * FreshStarts: forgetting a publisher and reading it from the start, because what was published of it no longer adds up.
 *
 * Until the start is due what comes is dropped (`shedding`). When too many in a row were in vain they are given up for a
 * while, and what comes is read (`resting`). Pure; told the time.
 */
import type { RecoveryPace } from "./RecoveryPace.ts"

/**
 * A fresh start that has held for so long was not in vain. After too many that did not, the next is so far off; that
 * doubles, up to the second.
 */
const pauseMsMin = 60_000
const pauseMsMax = 3_600_000

export class FreshStarts {
  /** What comes is dropped, for this reason, until `atMs`. */
  shedding: string | null = null
  /** Fresh starts were given up for a while, for this reason. */
  resting: string | null = null
  /** When the next fresh start is due, or the last was. */
  atMs = -Infinity
  private count = 0
  private pauseMs = pauseMsMin
  private readonly attemptsMax: number
  private readonly pace: RecoveryPace

  constructor(attemptsMax: number, pace: RecoveryPace) {
    this.attemptsMax = attemptsMax
    this.pace = pace
  }

  shed(why: string, nowMs: number): void {
    this.shedding = why
    if (nowMs - this.atMs > pauseMsMin) {
      this.count = 0
      this.pauseMs = pauseMsMin
    }
    this.count++
    this.atMs = nowMs + this.pace.pauseMs(this.count)
  }

  /** What comes is read again, and no start is due. */
  end(): void {
    this.shedding = null
    this.resting = null
  }

  /** A rest is over: one more start, and no more, if that is in vain. */
  wake(): void {
    this.count = this.attemptsMax
  }

  /** Too many were in vain. */
  get exhausted(): boolean {
    return this.count > this.attemptsMax
  }

  rest(why: string, nowMs: number): void {
    this.resting = why
    this.atMs = nowMs + this.pauseMs
    this.pauseMs = Math.min(pauseMsMax, this.pauseMs * 2)
  }
}
