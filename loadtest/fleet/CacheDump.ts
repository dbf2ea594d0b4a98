/** What a simulated cache holds, as others may see it: `GET /sim/cache` and `SimEngine.truth()`. */
import type { Block, MmKey } from "./CacheEvent.ts"

/** How often each tier holds a block. The device may hold copies. */
export interface Tiers {
  readonly device: number
  readonly host: 0 | 1
  readonly disk: 0 | 1
  readonly external: 0 | 1
}

/** One cached block. Hashes are decimals folded to unsigned 64 bits, as the events carry them. */
export interface CachedBlock {
  readonly hash: string
  readonly parentHash: string | null
  /** The whole digest, hex. */
  readonly digest: string
  readonly tokenIds: ReadonlyArray<number>
  readonly salt: string | null
  readonly lora: string | null
  /** Copies on the device. */
  readonly copies: number
  /** Only where pictures touch it. */
  readonly mm?: ReadonlyArray<MmKey>
  /** Only where there are tiers below the device. */
  readonly tiers?: Tiers
}

/** All that enters a block's key, in any scheme, and where it lies: nowhere, when only descendants of it are held. */
export interface TrueBlock {
  readonly hash: string
  readonly parentHash: string | null
  readonly tokenIds: ReadonlyArray<number>
  readonly salt: string | null
  readonly lora: string | null
  readonly mm: ReadonlyArray<MmKey>
  readonly tiers: Tiers
}

type TiersOf = (key: string) => Tiers

export const cached = (held: ReadonlyMap<string, Block>, tiersOf: TiersOf, tiered: boolean): Array<CachedBlock> =>
  inOrder(held)
    .filter(({ key }) => held.has(key))
    .map((block) => {
      const { digest, lora, mm, parent, salt, tokenIds } = block
      const tiers = tiersOf(block.key)
      return {
        hash: folded(block),
        parentHash: parent === null ? null : folded(parent),
        digest: digest.toString("hex"),
        tokenIds,
        salt,
        lora,
        copies: tiers.device,
        ...(mm.length === 0 ? {} : { mm }),
        ...(tiered ? { tiers } : {})
      }
    })

export const truth = (held: ReadonlyMap<string, Block>, tiersOf: TiersOf): Array<TrueBlock> =>
  inOrder(held).map((block) => {
    const { lora, mm, parent, salt, tokenIds } = block
    const parentHash = parent === null ? null : folded(parent)
    return { hash: folded(block), parentHash, tokenIds, salt, lora, mm, tiers: tiersOf(block.key) }
  })

/** Every held block and its ancestors once, each parent before its children. */
const inOrder = (held: ReadonlyMap<string, Block>): Array<Block> => {
  const out: Array<Block> = []
  const seen = new Set<string>()
  for (const start of held.values()) {
    // Up to the first ancestor already written, then down again.
    const path: Array<Block> = []
    for (let block: Block | null = start; block !== null && !seen.has(block.key); block = block.parent) {
      seen.add(block.key)
      path.push(block)
    }
    out.push(...path.reverse())
  }
  return out
}

const folded = ({ published }: Block): string => BigInt.asUintN(64, published).toString()
