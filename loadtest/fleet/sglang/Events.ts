/**
 * KV events as SGLang writes them: `[ts, events, attn_dp_rank]` in msgpack, the rank nil where there is one.
 *
 * The map form is that of September 2026 and later: fields equal to their default are left out. The array form before it
 * sends nil; a salted store has an eighth element there, a map. Hashes are signed. Every medium carries its tokens.
 * Source: sgl-project/sglang `python/sglang/srt/disaggregation/kv_events.py`, `python/sglang/srt/mem_cache/events.py`.
 */
import { encode as msgpack } from "@msgpack/msgpack"
import { type CacheEvent, type Encode, tokensOf } from "../CacheEvent.ts"

export const encode =
  (encoding: "map" | "array", rank: number | null): Encode =>
  (ts, events) =>
    msgpack([ts, events.map(encoding === "map" ? eventMap : eventArray), rank], { useBigInt64: true })

const media = { device: "GPU", host: "CPU_PINNED", disk: "DISK", external: "EXTERNAL" } as const

const eventMap = (event: CacheEvent): unknown => {
  switch (event._tag) {
    case "Stored": {
      const { lora, parent, salt, tokenIds } = event.blocks[0]!
      return {
        type: "BlockStored",
        block_hashes: event.blocks.map(({ published }) => published),
        parent_block_hash: parent?.published ?? null,
        token_ids: tokensOf(event.blocks),
        block_size: tokenIds.length,
        lora_id: null,
        medium: media[event.tier],
        ...(salt === null ? {} : { cache_salt: salt }),
        ...(lora === null ? {} : { lora_name: lora })
      }
    }
    case "Removed":
      return { type: "BlockRemoved", block_hashes: [event.block.published], medium: media[event.tier] }
    case "Cleared":
      return { type: "AllBlocksCleared" }
  }
}

const eventArray = (event: CacheEvent): unknown => {
  switch (event._tag) {
    case "Stored": {
      const { parent, salt, tokenIds } = event.blocks[0]!
      return [
        "BlockStored",
        event.blocks.map(({ published }) => published),
        parent?.published ?? null,
        tokensOf(event.blocks),
        tokenIds.length,
        null,
        media[event.tier],
        ...(salt === null ? [] : [{ cache_salt: salt }])
      ]
    }
    case "Removed":
      return ["BlockRemoved", [event.block.published], media[event.tier]]
    case "Cleared":
      return ["AllBlocksCleared"]
  }
}
