/** The router's keys of what a simulated engine's cache holds, computed from the engine's own account of it. */
import type { SimEngine } from "../../loadtest/fleet/SimEngine.ts"
import type { Tier } from "../../src/domain/Tier.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"

/** As a router with `hashSeed: 0` makes keys. */
const hasher = BlockHash.make(0n)

const hex = (key: Int32Array): string =>
  (key[1]! >>> 0).toString(16).padStart(8, "0") + (key[0]! >>> 0).toString(16).padStart(8, "0")

/** Keys of a rank's blocks within reach of a tier, as hex, sorted. */
export const within = (engine: SimEngine, rank: number, reach: Exclude<Tier, "external">): ReadonlyArray<string> => {
  const { blockSize, models } = engine.options
  const keys = new Map<string, Int32Array>()
  const held: Array<string> = []
  for (const { hash, lora, parentHash, salt, tiers, tokenIds } of engine.truth(rank)) {
    const parent =
      parentHash === null ? hasher.root({ model: models[0]!, lora, salt, blockSize }) : keys.get(parentHash)!
    const key = hasher.extend(parent[0]!, parent[1]!, Uint32Array.from(tokenIds), blockSize)
    keys.set(hash, key)
    const reached = tiers.device > 0 || (reach !== "device" && tiers.host > 0) || (reach === "disk" && tiers.disk > 0)
    if (reached) held.push(hex(key))
  }
  return held.sort()
}
