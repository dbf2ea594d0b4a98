/** The router's keys of what a simulated engine's cache holds, computed from the engine's own account of it. */
import type { TrueBlock } from "../../loadtest/fleet/CacheDump.ts"
import type { SimEngine } from "../../loadtest/fleet/SimEngine.ts"
import type { KeyLanes } from "../../src/domain/Block.ts"
import type { Tier } from "../../src/domain/Tier.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"

type Reach = Exclude<Tier, "external">

/** As a router with `hashSeed: 0` makes keys. */
const hasher = BlockHash.make(0n)

/** A key as the admin API writes it. */
export const hex = (key: Int32Array, at = 0): string =>
  (key[2 * at + 1]! >>> 0).toString(16).padStart(8, "0") + (key[2 * at]! >>> 0).toString(16).padStart(8, "0")

const isWithin = ({ tiers }: TrueBlock, reach: Reach): boolean =>
  tiers.device > 0 || (reach !== "device" && tiers.host > 0) || (reach === "disk" && tiers.disk > 0)

/** By hash, each parent before its children: keys of a rank's blocks, those of ancestors held no more included. */
const keyed = (engine: SimEngine, rank: number) => {
  const { blockSize, models } = engine.options
  const all = new Map<string, TrueBlock & { readonly key: Int32Array }>()
  for (const block of engine.truth(rank)) {
    const { hash, lora, parentHash, salt, tokenIds } = block
    const parent =
      parentHash === null ? hasher.root({ model: models[0]!, lora, salt, blockSize }) : all.get(parentHash)!.key
    all.set(hash, { ...block, key: hasher.extend(parent[0]!, parent[1]!, Uint32Array.from(tokenIds), blockSize) })
  }
  return all
}

/** Keys of a rank's blocks within reach of a tier, as hex, sorted. */
export const within = (engine: SimEngine, rank: number, reach: Reach): ReadonlyArray<string> =>
  [...keyed(engine, rank).values()]
    .filter((block) => isWithin(block, reach))
    .map(({ key }) => hex(key))
    .sort()

/** Keys of the longest chains of which a rank holds something, from their first blocks on. */
export const chains = (engine: SimEngine, rank: number): ReadonlyArray<KeyLanes> => {
  const all = keyed(engine, rank)
  const parents = new Set([...all.values()].map(({ parentHash }) => parentHash))
  return [...all.values()]
    .filter(({ hash }) => !parents.has(hash))
    .map((end) => {
      const path: Array<number> = []
      for (let at: typeof end | undefined = end; at !== undefined; at = all.get(at.parentHash ?? "")) {
        path.unshift(at.key[0]!, at.key[1]!)
      }
      return Int32Array.from(path)
    })
}
