/**
 * What the store said of one request: who holds how many of its leading blocks; and what that adds to the index's own
 * answer, as guesses. `depths` has a row for each layer of `stride` slots, as `SlotLayers.depths` writes them.
 *
 * An answer serves other requests, too. Keys are chained, so whoever has the same key at a place has all before it alike:
 * of a request that goes another way further on it holds as far as their keys agree.
 */
import type { KeyLanes } from "../domain/Block.ts"
import { DEVICE, EXTERNAL, GUESS, layersMax } from "../domain/Tier.ts"

/** As `Reach` of the port `StateStore`. */
export interface Reach {
  readonly name: string
  readonly blocks: ReadonlyArray<number>
}

export interface StoreAnswer {
  readonly names: ReadonlyArray<string>
  /** Leading blocks each holds on any layer. */
  readonly reach: ReadonlyArray<number>
  /** Keys of the request that was asked about, from its block `from` on, as far as anybody reaches. */
  readonly keys: KeyLanes
  readonly from: number
}

/** An answer about `keys`, of which the index knew the first `from`. */
export const make = (reaches: ReadonlyArray<Reach>, keys: KeyLanes, from: number): StoreAnswer => {
  const names: Array<string> = []
  const reach: Array<number> = []
  let deepest = from
  for (const { blocks, name } of reaches) {
    let most = 0
    for (let layer = 0; layer < blocks.length; layer++) if (blocks[layer]! > most) most = blocks[layer]!
    if (most > deepest) deepest = most
    names.push(name)
    reach.push(most)
  }
  return { names, reach, keys: keys.slice(2 * from, 2 * deepest), from }
}

/** Bytes it takes to keep, about. */
export const bytesOf = ({ keys, names }: StoreAnswer): number => 256 + 4 * keys.length + 48 * names.length

/** The first block of a request on which an answer says nothing, when they have the key at `answer.from` in common. */
export const agree = ({ from, keys }: StoreAnswer, request: KeyLanes, count: number): number => {
  // Equal at one place means equal before it.
  let low = 0
  let high = Math.min(keys.length >> 1, count - from)
  while (low < high) {
    const middle = (low + high) >> 1
    const at = 2 * (from + middle)
    if (keys[2 * middle] === request[at] && keys[2 * middle + 1] === request[at + 1]) low = middle + 1
    else high = middle
  }
  return from + low
}

/** The most blocks that any slot of this block size holds, on any layer. */
export const deepest = (
  depths: Uint32Array,
  stride: number,
  slots: number,
  blockSizes: Uint32Array,
  blockSize: number,
  layered: boolean
): number => {
  const row = layered ? EXTERNAL * stride : DEVICE
  let most = 0
  for (let slot = 0; slot < slots; slot++) {
    if (blockSizes[slot] === blockSize && depths[row + slot]! > most) most = depths[row + slot]!
  }
  if (layered) {
    for (let slot = 0; slot < slots; slot++) {
      if (blockSizes[slot] === blockSize && depths[GUESS * stride + slot]! > most) most = depths[GUESS * stride + slot]!
    }
  }
  return most
}

/** Writes the rows that were left out because nothing but devices holds any of the request. */
export const widen = (depths: Uint32Array, stride: number): void => {
  for (let layer = DEVICE + 1; layer < GUESS; layer++) depths.copyWithin(layer * stride, 0, stride)
  depths.fill(0, GUESS * stride, layersMax * stride)
}

/** Adds what it says, as far as block `most`, to the guesses of each slot that a name stands for; -1 for none. */
export const raise = (
  { names, reach }: StoreAnswer,
  depths: Uint32Array,
  stride: number,
  most: number,
  slotOf: (name: string) => number
): void => {
  for (let i = 0; i < names.length; i++) {
    const slot = slotOf(names[i]!)
    if (slot < 0) continue
    const blocks = Math.min(most, reach[i]!)
    if (blocks > depths[GUESS * stride + slot]!) depths[GUESS * stride + slot] = blocks
  }
}
