/**
 * SlotLayers: which holder of the prefix table stands for which layer of which slot.
 *
 * Holders are given densely, lowest first, when a layer is first needed: a fleet of workers that only have a device uses
 * as many as it has slots. `slotsMax` of them are kept for device layers, so that those always fit; what is beyond
 * goes to tiers behind the device and to guesses. A layer that is closed leaves its slot at once; its holder can be given
 * again when the table has let go of it.
 */
import type { KeyLanes } from "../domain/Block.ts"
import { DEVICE, GUESS, type Layer, layersMax } from "../domain/Tier.ts"
import * as PrefixMatch from "./PrefixMatch.ts"
import type { TableMemory } from "./TableMemory.ts"

/** The layer has no holder: it is not told apart. */
export const NONE = -1
/** No holder may be given to a layer that is not the device's. */
export const REFUSED = -2
/** Every holder is taken, but the table will soon have let go of one. */
export const LATER = -3

export interface SlotLayers {
  readonly slotsMax: number
  readonly holdersMax: number
  /** The holder of each place, `layer * slotsMax + slot`, or `NONE`. */
  readonly holders: Int32Array
  /** The place of each holder, while it has one. */
  readonly places: Int32Array
  /** 1 for holders that have a place, or had one the table has not let go of. */
  readonly taken: Uint8Array
  /** One more than the highest slot that ever had a layer. */
  top: number
  /** No holder below this one is free. */
  lowest: number
  /** Holders taken, and how many of them stand for a layer that is not the device's. */
  used: number
  deeper: number
}

/** Holders for a fleet unless told: a device for each slot, and one more layer for each. Bitsets come in words of 32. */
export const holdersFor = (slotsMax: number): number => Math.min(65_536, Math.ceil((2 * slotsMax) / 32) * 32)

/** Throws a RangeError when device layers would not always fit. */
export const make = (slotsMax: number, holdersMax: number): SlotLayers => {
  if (!(holdersMax >= slotsMax)) {
    throw new RangeError(`holdersMax is ${holdersMax}; it must be at least the ${slotsMax} workers there may be`)
  }
  return {
    slotsMax,
    holdersMax,
    holders: new Int32Array(layersMax * slotsMax).fill(NONE),
    places: new Int32Array(holdersMax).fill(NONE),
    taken: new Uint8Array(holdersMax),
    top: 0,
    lowest: 0,
    used: 0,
    deeper: 0
  }
}

export const holderOf = (m: SlotLayers, slot: number, layer: Layer): number =>
  m.holders[layer * m.slotsMax + slot] ?? NONE

/** The holder a layer reads as: its own, or for a tier that is not told apart that of the nearest before it; or `NONE`. */
export const readOf = (m: SlotLayers, slot: number, layer: Layer): number => {
  const own = holderOf(m, slot, layer)
  return own !== NONE || layer === GUESS ? own : below(m, slot, layer)
}

/** The holder of the deepest tier of a slot, before this one, that is told apart; or `NONE`. */
export const below = (m: SlotLayers, slot: number, layer: Layer): number => {
  for (let i = layer - 1; i >= DEVICE; i--) {
    const holder = m.holders[i * m.slotsMax + slot] ?? NONE
    if (holder !== NONE) return holder
  }
  return NONE
}

/** Any holder of a slot, or `NONE`. */
export const anyOf = (m: SlotLayers, slot: number): number => {
  for (let place = slot; place < m.holders.length; place += m.slotsMax) {
    if (m.holders[place] !== NONE) return m.holders[place]!
  }
  return NONE
}

/** Gives a layer that has none a holder, and answers with it; or `REFUSED`, or `LATER`. */
export const open = (m: SlotLayers, slot: number, layer: Layer): number => {
  if (layer !== DEVICE && m.deeper >= m.holdersMax - m.slotsMax) return REFUSED
  if (m.used === m.holdersMax) return LATER
  while (m.taken[m.lowest] === 1) m.lowest++
  const holder = m.lowest++
  const place = layer * m.slotsMax + slot
  m.taken[holder] = 1
  m.holders[place] = holder
  m.places[holder] = place
  m.used++
  if (slot >= m.top) m.top = slot + 1
  if (layer !== DEVICE) m.deeper++
  return holder
}

/** The layer is told apart no more. Answers with the holder it had, which stays taken until `release`, or `NONE`. */
export const close = (m: SlotLayers, slot: number, layer: Layer): number => {
  const place = layer * m.slotsMax + slot
  const holder = m.holders[place]!
  if (holder === NONE) return NONE
  m.holders[place] = NONE
  m.places[holder] = NONE
  if (layer !== DEVICE) m.deeper--
  return holder
}

/** The table has let go of a holder that was closed: it may be given again. */
export const release = (m: SlotLayers, holder: number): void => {
  m.taken[holder] = 0
  m.used--
  if (holder < m.lowest) m.lowest = holder
}

/**
 * Writes how many leading blocks of a prompt are within reach of each layer of each slot into `out[layer * slotsMax +
 * slot]`, and answers true; or answers false, and has written the first `slotsMax` entries only: nothing but devices holds
 * even the first block, so that every deeper tier reads as the device and every guess as 0.
 *
 * A tier reads at least as deep as the one before it, so one that is not told apart reads as the nearest that is. A guess
 * stands for itself. O(slots) on top of `levels`, five times that when it answers true. Allocates nothing, never throws.
 */
export const depths = (
  m: SlotLayers,
  t: TableMemory,
  keys: KeyLanes,
  count: number,
  scratch: PrefixMatch.Levels,
  out: Uint32Array
): boolean => {
  const { places, slotsMax } = m
  out.fill(0, 0, slotsMax)
  PrefixMatch.levels(t, keys, count, scratch)
  const { masks, stopDepths, stopHolders, stops, words } = scratch
  let layers = 0
  for (let level = 0; level < scratch.count; level++) {
    const depth = scratch.depths[level]!
    for (let w = 0; w < words; w++) {
      let set = masks[level * words + w]!
      while (set !== 0) {
        const low = set & -set
        const place = places[(w << 5) + 31 - Math.clz32(low)]!
        if (place < slotsMax) out[place] = depth
        else layers = deeper(m, place, depth, layers, out)
        set ^= low
      }
    }
  }
  for (let i = 0; i < stops; i++) {
    const place = places[stopHolders[i]!]!
    if (place < slotsMax) out[place] = stopDepths[i]!
    else layers = deeper(m, place, stopDepths[i]!, layers, out)
  }
  if (layers === 0) return false
  for (let layer = DEVICE + 1; layer < GUESS; layer++) {
    const row = layer * slotsMax
    const before = row - slotsMax
    if ((layers & (1 << layer)) === 0) out.copyWithin(row, before, row)
    else for (let i = 0; i < m.top; i++) if (out[row + i]! < out[before + i]!) out[row + i] = out[before + i]!
  }
  return true
}

/** Notes the depth of a layer that is not a device's. Returns which layers have been met: one bit each. */
const deeper = (m: SlotLayers, place: number, depth: number, layers: number, out: Uint32Array): number => {
  if (layers === 0) out.fill(0, m.slotsMax, layersMax * m.slotsMax)
  out[place] = depth
  return layers | (1 << Math.trunc(place / m.slotsMax))
}
