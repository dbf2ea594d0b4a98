/** The eligible slot with the lowest value, and how ties go: there is at least one eligible. O(workers). */
import type { Random } from "../../Random.ts"

/** Ties go to the first at or after `start`, so a rotating `start` spreads them. */
export const lowestFrom = (values: ArrayLike<number>, eligible: Uint8Array, start: number): number => {
  const count = eligible.length
  let best = -1
  for (let i = 0, slot = start % count; i < count; i++, slot = slot + 1 === count ? 0 : slot + 1) {
    if (eligible[slot] === 1 && (best === -1 || values[slot]! < values[best]!)) best = slot
  }
  return best
}

/** Ties are drawn, each as likely as the others (a reservoir of one). */
export const lowestAtRandom = (values: ArrayLike<number>, eligible: Uint8Array, random: Random): number => {
  let best = -1
  let ties = 0
  for (let slot = 0; slot < eligible.length; slot++) {
    if (eligible[slot] === 0) continue
    if (best === -1 || values[slot]! < values[best]!) {
      best = slot
      ties = 1
    } else if (values[slot] === values[best] && random() * ++ties < 1) best = slot
  }
  return best
}
