/**
 * A small engine side for event tests: a cache of chained blocks whose every change becomes a vLLM payload, in either
 * encoding, and the keys a request side would expect for it.
 */
import { createHash } from "node:crypto"
import { encode } from "@msgpack/msgpack"
import type { Hasher } from "../../src/hot/BlockHash.ts"

export const blockSize = 4

export interface VllmPublisher {
  /** Stores a chain of blocks; block `n` holds tokens made from `n`. Returns the payload. */
  readonly store: (blocks: ReadonlyArray<number>) => Uint8Array
  /** Removes one copy of the last block of a chain. */
  readonly evict: (blocks: ReadonlyArray<number>) => Uint8Array
  readonly clear: () => Uint8Array
  /** Everything forgotten, no event: the process ended. */
  readonly restart: () => void
  /** Keys of what the engine holds, sorted. */
  readonly keys: () => ReadonlyArray<string>
}

const hashOf = (chain: ReadonlyArray<number>, life: number): bigint =>
  createHash("sha256")
    .update(`${life}/${chain.join(",")}`)
    .digest()
    .readBigUInt64BE()

/** Keys as sorted text, to compare what two sides hold. */
export const keyNames = (keys: Int32Array): ReadonlyArray<string> =>
  Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`).sort()

export const make = (hasher: Hasher, model: string, form: "array" | "map", rank = 0): VllmPublisher => {
  let life = 1
  let ts = 1_000
  let held = new Map<string, { readonly chain: ReadonlyArray<number>; copies: number }>()
  const batch = (event: unknown) => {
    ts += 0.125
    return encode([ts, [event], rank], { useBigInt64: true })
  }
  const removed = (hash: bigint) =>
    form === "array" ? ["BlockRemoved", [hash], "GPU"] : { type: "BlockRemoved", block_hashes: [hash], medium: "GPU" }
  return {
    store: (blocks) => {
      let known = 0
      while (known < blocks.length && held.has(blocks.slice(0, known + 1).join(","))) known++
      // A wholly known chain recomputes its last block.
      known = Math.min(known, blocks.length - 1)
      const chains = blocks.slice(known).map((_, i) => blocks.slice(0, known + i + 1))
      for (const chain of chains) {
        const entry = held.get(chain.join(","))
        if (entry === undefined) held.set(chain.join(","), { chain, copies: 1 })
        else entry.copies++
      }
      const hashes = chains.map((chain) => hashOf(chain, life))
      const parent = known === 0 ? null : hashOf(blocks.slice(0, known), life)
      const tokens = blocks
        .slice(known)
        .flatMap((block) => Array.from({ length: blockSize }, (_, i) => block * 100 + i))
      return batch(
        form === "array"
          ? ["BlockStored", hashes, parent, tokens, blockSize, null, "GPU"]
          : {
              type: "BlockStored",
              block_hashes: hashes,
              parent_block_hash: parent,
              token_ids: tokens,
              block_size: blockSize,
              lora_id: null,
              medium: "GPU",
              lora_name: null,
              group_idx: 0,
              kv_cache_spec_kind: "full_attention"
            }
      )
    },
    evict: (blocks) => {
      const entry = held.get(blocks.join(","))!
      if (--entry.copies === 0) held.delete(blocks.join(","))
      const event = removed(hashOf(blocks, life))
      return batch(form === "map" ? { ...event, group_idx: 0 } : event)
    },
    clear: () => {
      held = new Map()
      return batch(form === "array" ? ["AllBlocksCleared"] : { type: "AllBlocksCleared" })
    },
    restart: () => {
      life++
      held = new Map()
    },
    keys: () => {
      const root = hasher.root({ model, lora: null, salt: null, blockSize })
      return [...held.values()]
        .map(({ chain }) => {
          const tokens = chain.flatMap((block) => Array.from({ length: blockSize }, (_, i) => block * 100 + i))
          const keys = hasher.chain(Uint32Array.from(tokens), blockSize, root)
          return `${keys.at(-2)}:${keys.at(-1)}`
        })
        .sort()
    }
  }
}
