/**
 * BlockWatch: who waits to hear that events store a block. For requests whose traces are kept: a few, for a while.
 *
 * Owns     the blocks waited for; at most `waitingMax`, each for `waitMs`: what is cached already is never stored anew.
 * Hears    `KvDelta`, in order; while nobody waits, that is one comparison.
 * Answers  by calling back, once, on the turn of who told.
 * Loses    the oldest who wait, when they are too many.
 */
import type { KvDelta } from "../src/domain/KvEvent.ts"
import { GUESS } from "../src/domain/Tier.ts"

interface Waiting {
  readonly slot: number
  readonly lo: number
  readonly hi: number
  readonly untilMs: number
  readonly told: () => void
}

const waitingMax = 1_024
/** A prompt of a hundred thousand tokens behind a queue of them. */
const waitMs = 60_000

export class BlockWatch {
  /** By the low half of the key; the oldest first. */
  private readonly waiting = new Map<number, ReadonlyArray<Waiting>>()
  /** Who waits on each slot. */
  private readonly slots: Uint32Array
  private count = 0
  private readonly now: () => number

  constructor(workersMax: number, now: () => number) {
    this.slots = new Uint32Array(workersMax)
    this.now = now
  }

  /** Waits for the block of this key to be stored at a slot, in whatever tier. */
  wait(slot: number, lo: number, hi: number, told: () => void): void {
    const { now, slots, waiting } = this
    const nowMs = now()
    for (const [key, all] of waiting) {
      if (this.count < waitingMax && all[0]!.untilMs > nowMs) break
      this.remove(key, all)
    }
    const others = waiting.get(lo) ?? []
    waiting.set(lo, [...others, { slot, lo, hi, untilMs: nowMs + waitMs, told }])
    slots[slot]!++
    this.count++
  }

  readonly hear = (delta: KvDelta): void => {
    if (this.count === 0 || delta._tag !== "Stored" || delta.layer === GUESS || this.slots[delta.worker] === 0) return
    const { keys, worker } = delta
    for (let i = 0; i < keys.length; i += 2) {
      const all = this.waiting.get(keys[i]!)
      if (all === undefined) continue
      const found = all.filter(({ hi, slot }) => slot === worker && hi === keys[i + 1])
      if (found.length === 0) continue
      const left = all.filter((each) => !found.includes(each))
      this.remove(keys[i]!, found)
      if (left.length > 0) this.waiting.set(keys[i]!, left)
      for (const { told } of found) told()
    }
  }

  private remove(key: number, all: ReadonlyArray<Waiting>): void {
    this.waiting.delete(key)
    this.count -= all.length
    for (const { slot } of all) this.slots[slot]!--
  }
}
