/** Seeded random numbers, and chains of block keys that share prefixes as conversations do. */
import type { KeyLanes } from "../../src/domain/Block.ts"

/** A seeded generator of whole numbers in `[0, below)` (mulberry32). */
export const random = (seed: number) => {
  let state = seed | 0
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}

/** Lane pair of the block after `(lo, hi)` with this content, written to `out[at]`. */
export const chainKey = (lo: number, hi: number, content: number, out: KeyLanes, at: number): void => {
  let a = Math.imul(lo ^ Math.imul(content, 0x9e3779b1), 0x85ebca6b)
  a ^= a >>> 13
  let b = Math.imul(hi ^ a ^ (content >>> 16), 0xc2b2ae35)
  b ^= b >>> 16
  a = Math.imul(a ^ b, 0x27d4eb2f)
  out[at * 2] = a ^ (a >>> 15)
  out[at * 2 + 1] = Math.imul(b, 0x165667b1) ^ (b >>> 11)
}

/** `count` fresh blocks after the first `shared` blocks of `from`. */
export const extend = (from: KeyLanes, shared: number, count: number, next: (below: number) => number): KeyLanes => {
  const keys = new Int32Array((shared + count) * 2)
  keys.set(from.subarray(0, shared * 2))
  for (let i = shared; i < shared + count; i++) {
    chainKey(i > 0 ? keys[i * 2 - 2]! : 1, i > 0 ? keys[i * 2 - 1]! : 1, next(0x7fffffff), keys, i)
  }
  return keys
}

/** A tree of chains: each goes some way along an earlier one, then its own way. */
export const forest = (chains: number, lengthMax: number, next: (below: number) => number): Array<KeyLanes> => {
  const all: Array<KeyLanes> = [extend(new Int32Array(0), 0, 1 + next(lengthMax), next)]
  while (all.length < chains) {
    const from = next(4) === 0 ? new Int32Array(0) : all[next(all.length)]!
    const shared = next(from.length / 2 + 1)
    all.push(extend(from, shared, 1 + next(lengthMax), next))
  }
  return all
}
