/**
 * vLLM's KV-event payloads: msgpack bytes to an `EngineBatch`.
 *
 * A batch is `[ts, events, data_parallel_rank]` (a map was seen before a release); an event is a tagged array (to
 * v0.22) or a tagged map (since 2026-06). Trailing or defaulted fields may be missing, unknown ones are skipped, an
 * unknown or malformed event becomes `Unknown` and never costs the batch. A hash is an int64, a uint64 or bytes, and
 * folds to 64 bits: integers modulo 2^64, bytes by their last eight, big-endian.
 * Source: vllm-project/vllm `vllm/distributed/kv_events.py` and pull requests 16750, 19737, 27577, 33304, 37688, 40984,
 * 42892, 51381, 52067.
 */
import { Decoder } from "@msgpack/msgpack"
import type { BlockStored, EngineBatch, EngineEvent, EngineHashes } from "../../domain/KvEvent.ts"

type Fields = Readonly<Record<string, unknown>>

const storedFields = [
  "block_hashes",
  "parent_block_hash",
  "token_ids",
  "block_size",
  "lora_id",
  "medium",
  "lora_name",
  "extra_keys",
  "group_idx",
  "kv_cache_spec_kind",
  "kv_cache_spec_sliding_window"
]
const removedFields = ["block_hashes", "medium", "group_idx"]

const decoder = new Decoder({
  useBigInt64: true,
  // A length is only a claim: these bound what is allocated for it. The longest true array is one prompt's tokens.
  maxArrayLength: 4_194_304,
  maxMapLength: 4_096,
  // Keys we do not know may be of any kind; they must not cost the batch.
  mapKeyConverter: (key) => (typeof key === "string" || typeof key === "number" ? key : String(key))
})

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

/** Writes one hash as two lanes. False when the value is no hash. */
const foldHash = (value: unknown, out: Int32Array, at: number): boolean => {
  if (typeof value === "bigint") {
    out[at] = Number(BigInt.asIntN(32, value))
    out[at + 1] = Number(BigInt.asIntN(32, value >> 32n))
    return true
  }
  if (typeof value === "number" && Number.isInteger(value)) {
    // msgpack integers of 32 bits and less.
    out[at] = value | 0
    out[at + 1] = value < 0 ? -1 : 0
    return true
  }
  if (value instanceof Uint8Array && value.length >= 8) {
    const view = new DataView(value.buffer, value.byteOffset + value.length - 8, 8)
    out[at] = view.getInt32(4)
    out[at + 1] = view.getInt32(0)
    return true
  }
  return false
}

const hashesOf = (value: unknown): EngineHashes | null => {
  if (!Array.isArray(value)) return null
  const out = new Int32Array(value.length * 2)
  for (let i = 0; i < value.length; i++) if (!foldHash(value[i], out, i * 2)) return null
  return out
}

/** Token ids, or none at all when any is not one (pairs, strings): such an event is good for its hashes only. */
const tokensOf = (value: unknown): Uint32Array => {
  if (!Array.isArray(value)) return new Uint32Array(0)
  const out = new Uint32Array(value.length)
  for (let i = 0; i < value.length; i++) {
    const id = typeof value[i] === "bigint" ? Number(value[i]) : value[i]
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > 0xffff_ffff) return new Uint32Array(0)
    out[i] = id
  }
  return out
}

const numberOf = (value: unknown): number | null =>
  typeof value === "number" ? value : typeof value === "bigint" ? Number(value) : null
const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null)

const storedOf = (fields: Fields): BlockStored | null => {
  const hashes = hashesOf(fields["block_hashes"])
  if (hashes === null) return null
  const given = fields["parent_block_hash"]
  let parent: EngineHashes | null = null
  if (given !== null && given !== undefined) {
    parent = new Int32Array(2)
    if (!foldHash(given, parent, 0)) return null
  }
  const extraKeys = fields["extra_keys"]
  return {
    _tag: "BlockStored",
    hashes,
    parent,
    tokenIds: tokensOf(fields["token_ids"]),
    blockSize: numberOf(fields["block_size"]) ?? 0,
    loraId: numberOf(fields["lora_id"]),
    medium: textOf(fields["medium"]),
    loraName: textOf(fields["lora_name"]),
    extraKeys: Array.isArray(extraKeys) ? extraKeys.map((key) => (Array.isArray(key) ? key : null)) : null,
    groupIdx: numberOf(fields["group_idx"]),
    specKind: textOf(fields["kv_cache_spec_kind"]),
    slidingWindow: numberOf(fields["kv_cache_spec_sliding_window"]),
    locality: textOf(fields["locality"]),
    ownership: textOf(fields["ownership"]),
    sessionId: textOf(fields["session_id"])
  }
}

/** A tagged array as the map it abbreviates. */
const named = (values: ReadonlyArray<unknown>, names: ReadonlyArray<string>): Fields => {
  const fields: Record<string, unknown> = {}
  for (let i = 0; i < names.length && i + 1 < values.length; i++) fields[names[i]!] = values[i + 1]
  return fields
}

const eventOf = (value: unknown): EngineEvent => {
  const array = Array.isArray(value)
  const tag = array ? value[0] : isFields(value) ? value["type"] : undefined
  const type = typeof tag === "string" ? tag : "untagged"
  if (type === "AllBlocksCleared") return { _tag: "AllBlocksCleared" }
  if (type === "BlockStored") {
    return storedOf(array ? named(value, storedFields) : (value as Fields)) ?? { _tag: "Unknown", type }
  }
  if (type === "BlockRemoved") {
    const fields = array ? named(value, removedFields) : (value as Fields)
    const hashes = hashesOf(fields["block_hashes"])
    if (hashes === null) return { _tag: "Unknown", type }
    return {
      _tag: "BlockRemoved",
      hashes,
      medium: textOf(fields["medium"]),
      groupIdx: numberOf(fields["group_idx"]),
      locality: textOf(fields["locality"]),
      ownership: textOf(fields["ownership"])
    }
  }
  return { _tag: "Unknown", type }
}

/** One payload. Throws on bytes that are no batch at all. */
export const decode = (payload: Uint8Array): EngineBatch => {
  const value = decoder.decode(payload)
  const parts: ReadonlyArray<unknown> = Array.isArray(value)
    ? value
    : isFields(value)
      ? [value["ts"], value["events"], value["data_parallel_rank"]]
      : []
  const events = parts[1]
  if (!Array.isArray(events)) {
    throw new TypeError(
      `A KV-event batch must be [ts, events, rank]; ${payload.length} bytes decoded to something else`
    )
  }
  return { ts: numberOf(parts[0]) ?? 0, events: events.map(eventOf), rank: numberOf(parts[2]) }
}
