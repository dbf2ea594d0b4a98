/**
 * EvictedKeys: whether a block was evicted lately, or probably was.
 *
 * A Bloom filter in two generations: a key is remembered while as many more are added as a generation takes, and for up to
 * twice that; one in eight others is taken for one. Both bits of a key are in one word, and its lanes are hashes already.
 */
import type { KeyLanes } from "../domain/Block.ts"

export interface EvictedKeys {
  /** The words of one generation, then those of the other. */
  readonly bits: Int32Array
  /** Words of a generation, a power of two. */
  readonly words: number
  /** Where the generation begins that is being filled: 0 or `words`. */
  young: number
  /** Keys in it. */
  count: number
}

/** A generation that is full is taken for having one other in sixteen. */
const keysPerWord = 4
/** Both generations together take at most 16 MiB, and then remember 8 million blocks each. */
const wordsMax = 1 << 21

/** Remembers as many as the table has, or as it may. */
export const make = (blocksMax: number): EvictedKeys => {
  let words = 1 << 8
  while (words < wordsMax && words * keysPerWord < blocksMax) words *= 2
  return { bits: new Int32Array(2 * words), words, young: 0, count: 0 }
}

const pairOf = (hi: number): number => (1 << (hi & 31)) | (1 << ((hi >>> 5) & 31))

/** Adds `count` keys, from key `first` on. O(count). */
export const add = (e: EvictedKeys, keys: KeyLanes, first: number, count: number): void => {
  const { bits, words } = e
  if (e.count + count > words * keysPerWord) {
    e.count = 0
    e.young = words - e.young
    bits.fill(0, e.young, e.young + words)
  }
  for (let i = first << 1, end = (first + count) << 1; i < end; i += 2) {
    bits[e.young + (keys[i]! & (words - 1))]! |= pairOf(keys[i + 1]!)
  }
  e.count += count
}

export const has = ({ bits, words }: EvictedKeys, lo: number, hi: number): boolean => {
  const at = lo & (words - 1)
  const pair = pairOf(hi)
  return (bits[at]! & pair) === pair || (bits[words + at]! & pair) === pair
}
