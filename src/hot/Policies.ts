/**
 * The ways to choose a worker, by name. One signature: `(load, cachedTokens, promptTokens, nowMs, rotation) → slot`, or
 * `NONE` when no worker is eligible. Ties go to the first slot at or after `rotation`, which the caller advances.
 */
import * as Cost from "./Cost.ts"
import { type LoadTable, NONE } from "./LoadTable.ts"

export type Policy = (
  load: LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  rotation: number,
  /** Narrows the choice for one request; otherwise the table's own. */
  eligible?: Uint8Array
) => number

export const names = ["eta", "round-robin", "least-loaded", "longest-prefix"] as const
export type Name = (typeof names)[number]

export const isName = (text: string): text is Name => (names as ReadonlyArray<string>).includes(text)

/** The next eligible worker in the rotation. */
export const roundRobin: Policy = (load, _cachedTokens, _promptTokens, _nowMs, rotation, eligible = load.eligible) => {
  const count = load.slots
  for (let i = 0, slot = count === 0 ? 0 : rotation % count; i < count; i++, slot = slot + 1 === count ? 0 : slot + 1) {
    if (eligible[slot] === 1) return slot
  }
  return NONE
}

/** The worker with the fewest requests outstanding. */
export const leastLoaded: Policy = (load, _cachedTokens, _promptTokens, _nowMs, rotation, eligible = load.eligible) => {
  const { active, queued, slots } = load
  let best = NONE
  let least = Infinity
  for (let i = 0, slot = slots === 0 ? 0 : rotation % slots; i < slots; i++, slot = slot + 1 === slots ? 0 : slot + 1) {
    if (eligible[slot] === 0) continue
    const outstanding = queued[slot]! + active[slot]!
    if (outstanding < least) {
      best = slot
      least = outstanding
    }
  }
  return best
}

/** The worker that holds most of the prompt, whatever its load. For comparison: it piles up where prefixes are common. */
export const longestPrefix: Policy = (
  load,
  cachedTokens,
  _promptTokens,
  _nowMs,
  rotation,
  eligible = load.eligible
) => {
  const { slots } = load
  let best = NONE
  let most = -1
  for (let i = 0, slot = slots === 0 ? 0 : rotation % slots; i < slots; i++, slot = slot + 1 === slots ? 0 : slot + 1) {
    if (eligible[slot] === 0) continue
    if (cachedTokens[slot]! > most) {
      best = slot
      most = cachedTokens[slot]!
    }
  }
  return best
}

export const byName: Readonly<Record<Name, Policy>> = {
  eta: Cost.cheapest,
  "round-robin": roundRobin,
  "least-loaded": leastLoaded,
  "longest-prefix": longestPrefix
}
