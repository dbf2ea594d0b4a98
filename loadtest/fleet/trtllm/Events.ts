/**
 * KV events as TensorRT-LLM streams them: vLLM's framing and map form, hashes always as unsigned integers, pictures in
 * `mm_keys`. Host blocks are not among them.
 *
 * Source: NVIDIA/TensorRT-LLM `tensorrt_llm/_torch/pyexecutor/kv_cache_events.py`. Whether it fills `extra_keys` for a
 * salt is not known; here it does, as vLLM does, since a salted block could not be told apart without.
 */
import { encode as msgpack } from "@msgpack/msgpack"
import { type Block, type CacheEvent, type Encode, tokensOf } from "../CacheEvent.ts"

export const encode =
  (rank: number): Encode =>
  (ts, events) =>
    msgpack([ts, events.map(eventMap), rank], { useBigInt64: true })

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
        medium: "GPU",
        lora_name: lora,
        ...(salt === null || parent !== null
          ? {}
          : { extra_keys: event.blocks.map((_, i) => (i === 0 ? [salt] : null)) }),
        ...(event.blocks.some(({ mm }) => mm.length > 0) ? { mm_keys: event.blocks.map(mmKeys) } : {})
      }
    }
    case "Removed":
      return { type: "BlockRemoved", block_hashes: [event.block.published], medium: "GPU" }
    case "Cleared":
      return { type: "AllBlocksCleared" }
  }
}

const mmKeys = ({ mm }: Block): unknown =>
  mm.map(([hash, offset]) => ({ type: "mm_key", hash, start_offset: Math.max(0, offset) }))
