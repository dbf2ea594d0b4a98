/** Stats: exact figures over a list of numbers. Sorted once; no buckets, no interpolation. */

/** Smallest value that at least `fraction` of all values do not exceed (nearest rank). Null when there is none. */
export const percentile = (values: ReadonlyArray<number>, fraction: number): number | null => {
  if (values.length === 0) return null
  const sorted = Float64Array.from(values).sort()
  const rank = Math.ceil(fraction * sorted.length)
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1]!
}

/** The upper one of the two in the middle. */
export const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

export const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)

/** Largest over mean: 1 is perfectly even, the number of values is all in one place. Null when the sum is 0. */
export const spread = (values: ReadonlyArray<number>): number | null => {
  const total = sum(values)
  return total === 0 ? null : (Math.max(...values) * values.length) / total
}

/** Part of whole, or null when the whole is 0. */
export const ratio = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole)
