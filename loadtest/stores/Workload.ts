/**
 * Workload: blocks in chains, which workers hold which, the shares that tell a store so, and requests to look up.
 *
 * Up to 64 workers, so that who holds a block is a word of 8 bytes: what a store with a key for each block has as its value,
 * and what every answer is checked against.
 */
import type { KeyLanes } from "../../src/domain/Block.ts"
import { DEVICE } from "../../src/domain/Tier.ts"
import type { Share } from "../../src/ports/StateStore.ts"

export const workersMax = 64

export interface Workload {
  readonly name: string
  /** Blocks in a piece. */
  readonly stride: number
  readonly workers: number
  readonly blocks: Blocks
  readonly queries: ReadonlyArray<QuerySet>
}

/** Blocks by number; a block's number is greater than that of the one before it in its chain. */
export interface Blocks {
  /** Two lanes each. */
  readonly keys: KeyLanes
  /** The block before, -1 at the start of a chain. */
  readonly parents: Int32Array
  /** Which block of its chain it is. */
  readonly places: Int32Array
  /** Workers that hold it: a bit each, two lanes. Nobody holds a block without all before it. */
  readonly masks: Int32Array
}

interface QuerySet {
  readonly name: string
  readonly queries: ReadonlyArray<Query>
}

export interface Query {
  /** Numbers of its blocks. */
  readonly blocks: Int32Array
  readonly keys: KeyLanes
  /** Its blocks in groups of neighbours by number of the trace: how many each; null where all are neighbours. */
  readonly groups: ReadonlyArray<number> | null
  /** For each worker, how many leading blocks it holds. */
  readonly depths: Int32Array
}

/** One `Share`, but for who tells it. */
export interface Told {
  readonly worker: number
  /** Number of the path's last block. */
  readonly last: number
  readonly share: Omit<Share, "tenure">
}

/** Murmur3's finalizer: a permutation of 32-bit words. */
const scramble = (word: number): number => {
  let x = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return x ^ (x >>> 16)
}

/** A key of its own for every number. */
export const keyOf = (number: number): readonly [lo: number, hi: number] => [
  scramble(number + 1),
  scramble(Math.imul(number, 0x9e3779b1) ^ 0x5bd1e995)
]

export const keysOf = (numbers: ArrayLike<number>): KeyLanes => {
  const keys = new Int32Array(2 * numbers.length)
  for (let i = 0; i < numbers.length; i++) keys.set(keyOf(numbers[i]!), 2 * i)
  return keys
}

export const isHeld = ({ masks }: Blocks, block: number, worker: number): boolean =>
  ((masks[2 * block + (worker >>> 5)]! >>> (worker & 31)) & 1) === 1

export const hold = ({ masks }: Blocks, block: number, worker: number): void => {
  masks[2 * block + (worker >>> 5)]! |= 1 << (worker & 31)
}

export const query = (
  blocks: Blocks,
  workers: number,
  numbers: Int32Array,
  groups: ReadonlyArray<number> | null = null
): Query => {
  const depths = Int32Array.from({ length: workers }, (_, worker) => {
    const end = numbers.findIndex((block) => !isHeld(blocks, block, worker))
    return end === -1 ? numbers.length : end
  })
  return { blocks: numbers, keys: keysOf(numbers), groups, depths }
}

/** Shares that tell of all that is held, each block once for each holder, in order of their last blocks. */
export const shares = ({ blocks, stride, workers }: Pick<Workload, "blocks" | "stride" | "workers">): Array<Told> => {
  const { keys, parents, places } = blocks
  const all: Array<Told> = []
  for (let worker = 0; worker < workers; worker++) {
    const isTold = new Uint8Array(parents.length)
    for (const last of ends(blocks, stride, worker)) {
      const path = new Int32Array(2 * ((places[last]! % stride) + 1))
      let told = 0
      let at = last
      for (let i = path.length / 2 - 1; i >= 0; i--, at = parents[at]!) {
        path.set(keys.subarray(2 * at, 2 * at + 2), 2 * i)
        if (isTold[at] === 0) told |= 1 << i
        isTold[at] = 1
      }
      const parent = at === -1 ? null : keys.slice(2 * at, 2 * at + 2)
      const piece = Math.floor(places[last]! / stride)
      all.push({ worker, last, share: { layer: DEVICE, stride, piece, parent, keys: path, told, held: told } })
    }
  }
  return all.sort((a, b) => a.last - b.last)
}

/** Blocks that a worker holds, and none behind them in the same piece. */
const ends = (blocks: Blocks, stride: number, worker: number): Array<number> => {
  const { parents, places } = blocks
  const isInside = new Uint8Array(parents.length)
  const found: Array<number> = []
  for (let block = parents.length - 1; block >= 0; block--) {
    if (!isHeld(blocks, block, worker)) continue
    if (places[block]! % stride > 0) isInside[parents[block]!] = 1
    if (isInside[block] === 0) found.push(block)
  }
  return found.reverse()
}
