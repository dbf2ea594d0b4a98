/** Reconnects: how often the subscription to a publisher was made anew, and how long to wait then. Pure; told the time. */
import type { RecoveryPace } from "./RecoveryPace.ts"

export class Reconnects {
  /** It was connected at least once. */
  ever = false
  private count = 0
  private fromMs = 0
  private lastAtMs = -Infinity
  private readonly calmMs: number
  private readonly pace: RecoveryPace

  constructor(calmMs: number, pace: RecoveryPace) {
    this.calmMs = calmMs
    this.pace = pace
  }

  /** It is connected. Returns how long to wait before it is asked, in ms. */
  connected(nowMs: number): number {
    if (!this.ever) {
      this.ever = true
      return 0
    }
    if (nowMs - this.lastAtMs > this.calmMs) {
      this.count = 0
      this.fromMs = nowMs
    }
    this.count++
    this.lastAtMs = nowMs
    return this.pace.reconnect(nowMs)
  }

  /** What to say of them when they follow each other; null when there was no more than one. */
  why(nowMs: number): string | null {
    if (this.count < 2) return null
    const seconds = Math.max(1, Math.round((nowMs - this.fromMs) / 1_000))
    return `${this.count} reconnects in ${seconds} s`
  }
}
