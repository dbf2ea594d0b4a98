/**
 * KV events as vLLM writes them: `[ts, events, rank]` in msgpack, each event a tagged map or a tagged array.
 *
 * The map form is that of vLLM 0.24 and later, the array form that of 0.22: every field of its time, nil included.
 * Source: vllm-project/vllm `vllm/distributed/kv_events.py`; `docs/features/kv_cache_events` for what each field means.
 */
import { encode } from "@msgpack/msgpack"
import * as BlockHash from "./BlockHash.ts"

export type CacheEvent =
  | {
      readonly _tag: "Stored"
      /** Digests, parent to child. */
      readonly hashes: ReadonlyArray<Buffer>
      readonly parent: Buffer | null
      readonly tokenIds: ReadonlyArray<number>
      readonly blockSize: number
      readonly loraId: number | null
      readonly loraName: string | null
      /** What besides tokens entered each hash. */
      readonly extraKeys: ReadonlyArray<ReadonlyArray<string> | null>
    }
  | { readonly _tag: "Removed"; readonly hashes: ReadonlyArray<Buffer> }
  | { readonly _tag: "Cleared" }

export interface Form {
  readonly encoding: "map" | "array"
  readonly hashForm: "int" | "bytes"
}

/** The payload of one batch. `ts` is in seconds since the epoch. */
export const payload = (form: Form, ts: number, events: ReadonlyArray<CacheEvent>, rank: number): Uint8Array =>
  encode([ts, events.map((event) => (form.encoding === "map" ? asMap(form, event) : asArray(form, event))), rank], {
    useBigInt64: true
  })

const hash = (form: Form, digest: Buffer): bigint | Buffer =>
  form.hashForm === "int" ? BlockHash.published(digest) : digest

const asMap = (form: Form, event: CacheEvent): unknown => {
  switch (event._tag) {
    case "Stored":
      return {
        type: "BlockStored",
        block_hashes: event.hashes.map((digest) => hash(form, digest)),
        parent_block_hash: event.parent === null ? null : hash(form, event.parent),
        token_ids: event.tokenIds,
        block_size: event.blockSize,
        lora_id: event.loraId,
        medium: "GPU",
        lora_name: event.loraName,
        extra_keys: event.extraKeys,
        group_idx: 0,
        kv_cache_spec_kind: "full_attention"
      }
    case "Removed":
      return {
        type: "BlockRemoved",
        block_hashes: event.hashes.map((digest) => hash(form, digest)),
        medium: "GPU",
        group_idx: 0
      }
    case "Cleared":
      return { type: "AllBlocksCleared" }
  }
}

const asArray = (form: Form, event: CacheEvent): unknown => {
  switch (event._tag) {
    case "Stored":
      return [
        "BlockStored",
        event.hashes.map((digest) => hash(form, digest)),
        event.parent === null ? null : hash(form, event.parent),
        event.tokenIds,
        event.blockSize,
        event.loraId,
        "GPU",
        event.loraName,
        event.extraKeys,
        0,
        "full_attention",
        null
      ]
    case "Removed":
      return ["BlockRemoved", event.hashes.map((digest) => hash(form, digest)), "GPU", 0]
    case "Cleared":
      return ["AllBlocksCleared"]
  }
}
