/** What all modes of SMG's cache_aware policy share: when to leave the cache out of it, and where to go then. */
import type { Asked, Sent } from "./Rival.ts"

export interface Limits {
  /** Imbalanced when the busiest worker has this many more requests than the idlest … */
  readonly abs: number
  /** … and more than this many times as many. */
  readonly rel: number
}

export const defaults: Limits = { abs: 64, rel: 1.5 }

export const isImbalanced = ({ eligible }: Asked, { outstanding }: Sent, { abs, rel }: Limits): boolean => {
  let least = Number.POSITIVE_INFINITY
  let most = 0
  for (let slot = 0; slot < eligible.length; slot++) {
    if (eligible[slot] === 0) continue
    const load = outstanding[slot]!
    if (load < least) least = load
    if (load > most) most = load
  }
  return most - least > abs && most > rel * least
}

/** Least requests now, then least ever, then the first. */
export const leastLoaded = ({ eligible }: Asked, { outstanding }: Sent, processed: Float64Array): number => {
  let best = -1
  for (let slot = 0; slot < eligible.length; slot++) {
    if (eligible[slot] === 0) continue
    const less = best < 0 ? -1 : outstanding[slot]! - outstanding[best]!
    if (less < 0 || (less === 0 && processed[slot]! < processed[best]!)) best = slot
  }
  return best
}
