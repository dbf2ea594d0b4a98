/** Seeded randomness: the same seed, the same run. */

/** Uniform in [0, 1). Mulberry32. */
export type Random = () => number

export const make = (seed: number): Random => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A seed out of a seed and numbers. FNV-1a over 32-bit words. */
export const mix = (seed: number, numbers: ArrayLike<number>): number => {
  let hash = (0x811c9dc5 ^ seed) >>> 0
  for (let i = 0; i < numbers.length; i++) {
    hash = Math.imul(hash ^ numbers[i]!, 0x01000193)
    hash ^= hash >>> 15
  }
  return hash >>> 0
}
