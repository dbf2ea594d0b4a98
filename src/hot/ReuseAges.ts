/**
 * What eviction costs: how likely a block that has lain idle for some time is used again, and for how long the oldest
 * blocks of each worker have lain idle.
 *
 * The router cannot see an engine's LRU list. It sees which keys requests carry and how many tokens it sent where:
 *
 * - Idle ages at reuse: one key in 64, chosen by its own bits, is remembered with the time it was last used, in a
 *   direct-mapped table of 8 192 entries (a newer key overwrites an older). Used again, its age goes into a histogram of
 *   powers of two of seconds, halved every 4 096 samples. P(used again | idle for a) = reuses later than a / (uses not
 *   reused before a). An overwritten key counts as never used again, so the estimate is low rather than high.
 * - Age of a worker's oldest blocks: the time it took to be sent one cache capacity of uncached tokens, kept as 32
 *   checkpoints per capacity. Until a cache has turned over once, or while its capacity is unknown, nothing is evicted
 *   and the cost is 0.
 */
export interface ReuseAges {
  readonly checkpoints: Float64Array
  /** Checkpoints passed since the worker joined. */
  readonly passed: Float64Array
  /** Tokens sent since the last checkpoint. */
  readonly sinceTokens: Float64Array
  readonly keys: Int32Array
  readonly lastMs: Float64Array
  readonly reused: Float64Array
  /** P(used again) for an idle age in the bucket or above. */
  readonly chance: Float64Array
  uses: number
  samples: number
}

const ring = 32
const buckets = 24
const tableSize = 8192
const sampleMask = 63
/** Keys looked at in one request: enough for 4 096 tokens at 16 per block at the front, where sharing is. */
const keysMax = 256
const halveEvery = 4096
/** Fewer reuses than this say nothing. */
const reusesMin = 32

export const make = (workersMax: number): ReuseAges => ({
  checkpoints: new Float64Array(workersMax * ring),
  passed: new Float64Array(workersMax),
  sinceTokens: new Float64Array(workersMax),
  keys: new Int32Array(tableSize * 2),
  lastMs: new Float64Array(tableSize).fill(-Infinity),
  reused: new Float64Array(buckets),
  chance: new Float64Array(buckets),
  uses: 0,
  samples: 0
})

export const reset = (ages: ReuseAges, slot: number): void => {
  ages.passed[slot] = 0
  ages.sinceTokens[slot] = 0
}

/** A worker was sent `tokens` it did not hold. */
export const inserted = (
  ages: ReuseAges,
  slot: number,
  tokens: number,
  capacityTokens: number,
  nowMs: number
): void => {
  if (capacityTokens <= 0) return
  const step = capacityTokens / ring
  const since = ages.sinceTokens[slot]! + tokens
  const marks = Math.floor(since / step)
  ages.sinceTokens[slot] = since - marks * step
  const from = ages.passed[slot]!
  ages.passed[slot] = from + marks
  for (let i = Math.max(from, from + marks - ring); i < from + marks; i++) {
    ages.checkpoints[slot * ring + (i % ring)] = nowMs
  }
}

/** A request carried these keys. Looks at a bounded number of them and remembers a few. */
export const used = (ages: ReuseAges, keys: Int32Array, count: number, nowMs: number): void => {
  const end = Math.min(count, keysMax)
  let seen = 0
  for (let i = 0; i < end; i++) {
    const lo = keys[2 * i]!
    if ((lo & sampleMask) !== 0) continue
    const hi = keys[2 * i + 1]!
    const at = ((lo >>> 6) ^ hi) & (tableSize - 1)
    if (ages.keys[2 * at] === lo && ages.keys[2 * at + 1] === hi) {
      const bucket = bucketOf(nowMs - ages.lastMs[at]!)
      ages.reused[bucket] = ages.reused[bucket]! + 1
    } else {
      ages.keys[2 * at] = lo
      ages.keys[2 * at + 1] = hi
    }
    ages.lastMs[at] = nowMs
    seen++
  }
  if (seen === 0) return
  ages.uses += seen
  ages.samples += seen
  if (ages.samples >= halveEvery) {
    ages.samples = 0
    ages.uses /= 2
    for (let b = 0; b < buckets; b++) ages.reused[b] = ages.reused[b]! / 2
  }
  refresh(ages)
}

/** Chance that the oldest blocks of a worker would still be used. 0 while unknown. */
export const lossChance = (ages: ReuseAges, slot: number, nowMs: number): number => {
  const passed = ages.passed[slot]!
  if (passed < ring) return 0
  return ages.chance[bucketOf(nowMs - ages.checkpoints[slot * ring + (passed % ring)]!)]!
}

/** Bucket 0 is below one second, bucket b from 2^(b−1) seconds. */
const bucketOf = (ms: number): number => Math.min(buckets - 1, 32 - Math.clz32(Math.max(0, ms) / 1000))

const refresh = (ages: ReuseAges): void => {
  let later = 0
  for (let b = 0; b < buckets; b++) later += ages.reused[b]!
  const enough = later >= reusesMin
  let left = ages.uses
  for (let b = 0; b < buckets; b++) {
    const here = ages.reused[b]!
    // Half of the bucket the age lies in is still to come.
    const after = later - here / 2
    const alive = left - here / 2
    ages.chance[b] = enough && alive > 0 ? Math.min(1, after / alive) : 0
    later -= here
    left -= here
  }
}
