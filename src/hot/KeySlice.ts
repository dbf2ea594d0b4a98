/**
 * KeySlice: where the translation of events does its work, a slice of an event at a time.
 *
 * Synchronous, so one for all publishers. What is emitted of it is copied.
 */
import type { KeyLanes } from "../domain/Block.ts"

/** Blocks worked on at once, so that what is needed for them stays in the core's cache; also the longest change. */
export const sliceMax = 1_024

/** The slice's own keys, two lanes each. */
export const keys = new Int32Array(sliceMax * 2)
/** The reach of each before a store or after a removal. */
export const reach = new Uint8Array(sliceMax)

/** What emitted keys lie in, one behind the other; it goes when the last of them does. */
const poolWords = 4_096
let pool = new Int32Array(poolWords)
let poolUsed = 0

/** Faster than `Int32Array.of`. */
export const pair = (lo: number, hi: number): KeyLanes => {
  const out = new Int32Array(2)
  out[0] = lo
  out[1] = hi
  return out
}

/** Keys of the slice, to keep: views of shared pools, for a buffer of its own costs an array as much as all else. */
export const copied = (from: number, to: number): KeyLanes => {
  const first = from * 2
  const length = (to - from) * 2
  // Up to here the engine keeps arrays on its own heap, which is cheaper still.
  if (length <= 16) {
    const few = new Int32Array(length)
    for (let i = 0; i < length; i++) few[i] = keys[first + i]!
    return few
  }
  if (length > pool.length - poolUsed) {
    pool = new Int32Array(poolWords)
    poolUsed = 0
  }
  const out = new Int32Array(pool.buffer, poolUsed * 4, length)
  poolUsed += length
  for (let i = 0; i < length; i++) out[i] = keys[first + i]!
  return out
}
