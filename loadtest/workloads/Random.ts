/** Random: draws for traffic, seeded, so that the same seed gives the same traffic byte for byte. */
import * as Seeded from "../Random.ts"

export interface Random {
  /** Uniform in [0, 1). */
  readonly next: () => number
}

/** A stream of its own for each `name`, so that adding a workload does not change another's draws. */
export const make = (seed: number, name = ""): Random => {
  let start = seed >>> 0
  for (let i = 0; i < name.length; i++) start = Math.imul(start ^ name.charCodeAt(i), 0x01000193) >>> 0
  return { next: Seeded.make(start) }
}

/** A whole number from `low` to `high`, both included. */
export const between = (random: Random, low: number, high: number): number =>
  low + Math.floor(random.next() * (high - low + 1))

/** One of `items`, which must not be empty. */
export const pick = <A>(random: Random, items: ReadonlyArray<A>): A => items[Math.floor(random.next() * items.length)]!

/** Draws ranks 0 … count − 1 with weight 1 / (rank + 1)^skew: a few are popular, most are not. */
export const zipf = (random: Random, count: number, skew: number): (() => number) => {
  const upTo = new Float64Array(count)
  let total = 0
  for (let i = 0; i < count; i++) upTo[i] = total += (i + 1) ** -skew
  return () => {
    const at = random.next() * total
    const rank = upTo.findIndex((edge) => at < edge)
    return rank < 0 ? count - 1 : rank
  }
}
