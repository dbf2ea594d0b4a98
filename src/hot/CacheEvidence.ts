/**
 * How many blocks a cache keeps, learned from blocks that were found in it or not, at known positions (blocks used since).
 *
 * Two histograms over the logarithm of the position, found and missing, that forget slowly. The capacity is the threshold
 * that would have been wrong for the fewest blocks: found ones above it, missing ones below. So a few requests that
 * contradict each other (blocks held by running requests, other clients' traffic, duplicates) change nothing, and where
 * nothing was seen it stays as near as it can to what is likely. A report is O(segments) and O(buckets), some 1 µs.
 */
const perOctave = 12
const octaves = 22
export const buckets = perOctave * octaves

/** Reports after which an old one counts for a third. */
const memoryReports = 200
/** Blocks it must be wrong about, of all seen, to be moved by an octave from what is likely. */
const pullShare = 0.002
/** Part of the way to the threshold, in logarithm, that one report moves the capacity. */
const pace = 1 / 8

/** The bucket of blocks that so many others were used after. */
export const bucketOf = (position: number): number =>
  Math.min(buckets - 1, Math.floor(Math.log2(position + 1) * perOctave))

export class CacheEvidence {
  readonly #found = new Float64Array(buckets)
  readonly #missing = new Float64Array(buckets)
  /** Logarithms to base 2, in buckets: where it stays unless moved, and where it is. */
  readonly #likely: number
  #now: number

  /** `likelyBlocks` is where it stays while nothing speaks against it; `startBlocks` what to take before the first report. */
  constructor(startBlocks: number, likelyBlocks: number) {
    this.#now = Math.log2(startBlocks) * perOctave
    this.#likely = Math.log2(likelyBlocks) * perOctave
  }

  get capacityBlocks(): number {
    return Math.round(2 ** (this.#now / perOctave))
  }

  /** So much was in use at once. */
  atLeast(blocks: number): void {
    this.#now = Math.max(this.#now, Math.log2(blocks) * perOctave)
  }

  /** Blocks in this bucket that were in the cache. */
  found(bucket: number, blocks: number): void {
    this.#found[bucket]! += blocks
  }

  /** Blocks in this bucket that were not. */
  missing(bucket: number, blocks: number): void {
    this.#missing[bucket]! += blocks
  }

  /** What one request showed has been counted: the capacity moves on. */
  learn(): void {
    const found = this.#found
    const missing = this.#missing
    let wrong = 0
    let seen = 0
    for (let i = 0; i < buckets; i++) {
      found[i]! *= 1 - 1 / memoryReports
      missing[i]! *= 1 - 1 / memoryReports
      wrong += found[i]!
      seen += found[i]! + missing[i]!
    }
    const pull = (pullShare * seen) / perOctave
    let best = this.#likely
    let least = Infinity
    // Threshold i: what is in buckets below it is taken to be held.
    for (let i = 0; i < buckets; i++) {
      const cost = wrong + pull * Math.abs(i - this.#likely)
      if (cost < least) {
        least = cost
        best = i
      }
      wrong += missing[i]! - found[i]!
    }
    if (Math.abs(best - this.#likely) < 1) best = this.#likely
    this.#now += (best - this.#now) * pace
  }
}
