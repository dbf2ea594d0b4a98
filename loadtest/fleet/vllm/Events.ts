/**
 * KV events as vLLM writes them: `[ts, events, rank]` in msgpack, each event a tagged map or a tagged array.
 *
 * The map form is that of vLLM 0.24 and later, the array form that of 0.22: every field of its time, nil included.
 * Blocks on the host and on disk are told of by hash alone, one event a block, unless they are to describe themselves.
 * Source: vllm-project/vllm `vllm/distributed/kv_events.py`; `docs/features/kv_cache_events` for what each field means.
 */
import { encode as msgpack } from "@msgpack/msgpack"
import { type Block, type CacheEvent, type Encode, tokensOf } from "../CacheEvent.ts"
import * as BlockHash from "./BlockHash.ts"

export interface Form {
  readonly encoding: "map" | "array"
  readonly hashForm: "int" | "bytes"
  /** How blocks that leave the device are told of. */
  readonly offload: "empty" | "described"
  readonly loras: ReadonlyArray<string>
  /** Tokens of the sliding window's group; 0 when there is none. */
  readonly slidingWindow: number
}

export const encode =
  (form: Form, rank: number): Encode =>
  (ts, events) =>
    msgpack([ts, events.map((event) => (form.encoding === "map" ? eventMap : eventArray)(form, event)), rank], {
      useBigInt64: true
    })

/** An external store is not simulated here. */
const media = { device: "GPU", host: "CPU", disk: "STORAGE", external: "STORAGE" } as const

type Fields = ReadonlyArray<readonly [name: string, value: unknown]>
type Stored = Extract<CacheEvent, { _tag: "Stored" }>
type Removed = Extract<CacheEvent, { _tag: "Removed" }>

const eventMap = (form: Form, event: CacheEvent): unknown => {
  if (event._tag === "Cleared") return { type: "AllBlocksCleared" }
  const [type, fields] =
    event._tag === "Stored"
      ? ["BlockStored", [...storedFields(form, event), ...whereabouts(form, event)]]
      : ["BlockRemoved", [...removedFields(form, event), ...whereabouts(form, event)]]
  // Optional fields without a value are left out; these are required.
  const required = ["parent_block_hash", "lora_id", "medium", "lora_name"]
  return Object.fromEntries([
    ["type", type],
    ...fields.filter(([name, value]) => value !== null || required.includes(name))
  ])
}

const eventArray = (form: Form, event: CacheEvent): unknown => {
  if (event._tag === "Cleared") return ["AllBlocksCleared"]
  const values = (fields: Fields) => fields.map(([, value]) => value)
  return event._tag === "Stored"
    ? ["BlockStored", ...values(storedFields(form, event))]
    : ["BlockRemoved", ...values(removedFields(form, event))]
}

/** Where in the first twelve positions each field belongs is where it stands here. */
const storedFields = (form: Form, event: Stored): Fields => {
  const { blocks, tier, windowed } = event
  const kept = windowed ?? blocks
  const first = blocks[0]!
  const bare = tier !== "device" && form.offload === "empty"
  return [
    ["block_hashes", kept.map((block) => hash(form, block))],
    ["parent_block_hash", bare || first.parent === null ? null : hash(form, first.parent)],
    ["token_ids", bare ? [] : tokensOf(blocks)],
    ["block_size", bare ? 0 : first.tokenIds.length],
    ["lora_id", bare || first.lora === null ? null : form.loras.indexOf(first.lora) + 1],
    ["medium", media[tier]],
    ["lora_name", bare ? null : first.lora],
    ["extra_keys", bare ? null : kept.map(extraKeys)],
    ["group_idx", bare ? null : windowed === undefined ? 0 : 1],
    ["kv_cache_spec_kind", bare ? null : windowed === undefined ? "full_attention" : "sliding_window"],
    ["kv_cache_spec_sliding_window", windowed === undefined ? null : form.slidingWindow]
  ]
}

const removedFields = (form: Form, { block, tier, windowed }: Removed): Fields => [
  ["block_hashes", [hash(form, block)]],
  ["medium", media[tier]],
  ["group_idx", tier !== "device" && form.offload === "empty" ? null : windowed === true ? 1 : 0]
]

/** The newest trees say it of offloaded blocks that describe themselves. The array form never had these. */
const whereabouts = (form: Form, { tier }: Stored | Removed): Fields =>
  tier === "device" || form.offload === "empty"
    ? []
    : [["locality", "LOCAL"], ...(tier === "disk" ? [["ownership", "fs"] as const] : [])]

const hash = (form: Form, { digest, published }: Block): bigint | Buffer =>
  form.hashForm === "int" ? published : digest

const extraKeys = (block: Block): ReadonlyArray<BlockHash.Extra> | null => {
  const keys = BlockHash.extraKeys(block)
  return keys.length === 0 ? null : keys
}
