/**
 * What a worker's overlap with a prompt comes to, in tokens: how much of it is there, and how much prefill it saves.
 *
 * `depths` is the index's answer: leading blocks within reach of each tier, layer by layer (`domain/Tier.ts`), so what a
 * tier adds is the difference to the one before. A guess counts where the tiers know less. Where not
 * `layered`, only devices hold any of the prompt, and only the first row was written.
 */
import { DEVICE, type DISK, EXTERNAL, GUESS, HOST } from "../domain/Tier.ts"

/**
 * Share of its prefill that a cached token saves, by tier: what is left when it must be loaded first. For a 70B model
 * (320 KiB of KV and 64 us of prefill a token): PCIe at 25 GB/s takes 13 us, NVMe at 6 GB/s 50 us, a 100 Gb/s network
 * 27 us. Dynamo's router weighs host and disk with 0.75 and 0.25.
 */
const tierShares = [1, 0.8, 0.25, 0.55] as const

/** Adds one prompt's tokens for a slot: `held` all tiers, `cached` weighed. At most `most` blocks count. */
export const add = (
  depths: Uint32Array,
  stride: number,
  slot: number,
  layered: boolean,
  most: number,
  blockSize: number,
  held: Uint32Array,
  cached: Uint32Array
): void => {
  const device = Math.min(most, depths[DEVICE * stride + slot]!)
  let reached = device
  let worth = device
  if (layered) {
    for (let layer = HOST; layer <= EXTERNAL; layer++) {
      const depth = Math.min(most, depths[layer * stride + slot]!)
      if (depth <= reached) continue
      worth += (depth - reached) * tierShares[layer as typeof HOST | typeof DISK | typeof EXTERNAL]
      reached = depth
    }
    const guess = Math.min(most, depths[GUESS * stride + slot]!)
    if (guess > reached) {
      worth += guess - reached
      reached = guess
    }
  }
  held[slot] = held[slot]! + reached * blockSize
  cached[slot] = cached[slot]! + Math.round(worth * blockSize)
}

/**
 * As `add`, for every slot below `slots` whose workers cut prompts into blocks of this size: `blockSizes` by slot, 0 for
 * those that are not asked.
 */
export const addAll = (
  depths: Uint32Array,
  stride: number,
  slots: number,
  blockSizes: Uint32Array,
  layered: boolean,
  most: number,
  blockSize: number,
  held: Uint32Array,
  cached: Uint32Array
): void => {
  if (layered) {
    for (let slot = 0; slot < slots; slot++) {
      if (blockSizes[slot] === blockSize) add(depths, stride, slot, true, most, blockSize, held, cached)
    }
    return
  }
  // 32-bit integers, and said to be: as doubles they take more than twice as long.
  const size = blockSize | 0
  const limit = most | 0
  for (let slot = 0; slot < slots; slot++) {
    const depth = depths[slot]! | 0
    const tokens = (blockSizes[slot]! | 0) === size ? Math.imul(depth < limit ? depth : limit, size) : 0
    held[slot] = ((held[slot]! | 0) + tokens) | 0
    cached[slot] = ((cached[slot]! | 0) + tokens) | 0
  }
}
