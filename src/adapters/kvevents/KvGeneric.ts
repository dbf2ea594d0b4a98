/**
 * KV events through a MessagePack library: every dialect, whatever it holds, at a tenth of the scanner's speed.
 *
 * A batch is `[ts, events, data_parallel_rank]`; a map was seen before a release. An event is a tagged array or a tagged
 * map, told apart by shape and tag, never by engine. Trailing or defaulted fields may be missing; unknown ones are
 * named and skipped. An event of another tag, or one whose identity cannot be read (hashes, adapter, salt, extra keys,
 * group), becomes `Unknown` and never costs the batch: half an identity would be a wrong block.
 * Sources: vllm-project/vllm `vllm/distributed/kv_events.py` (pull requests 16750, 19737, 27577, 33304, 37688, 40984,
 * 42892, 51381, 52067); sgl-project/sglang `python/sglang/srt/disaggregation/kv_events.py` (30827, 37482);
 * NVIDIA/TensorRT-LLM `tensorrt_llm/_torch/pyexecutor/kv_cache_events.py`.
 */
import { Decoder } from "@msgpack/msgpack"
import type { BlockStored, EngineBatch, EngineEvent } from "../../domain/KvEvent.ts"
import type { Tier } from "../../domain/Tier.ts"
import { extraKeysOf, hashesOf, numberOf, textOf, tokensOf } from "./KvFields.ts"
import { tierOf } from "./Media.ts"
import { elements, isArray, valueEnd } from "./Msgpack.ts"
import { Names, printable } from "./Names.ts"

type Fields = Readonly<Record<string, unknown>>

/** Fields of the tagged array, by position after the tag. */
export const storedFields = [
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
] as const
export const removedFields = ["block_hashes", "medium", "group_idx"] as const
const batchFields: ReadonlyArray<string> = ["ts", "events", "data_parallel_rank"]

const known: Readonly<Record<string, ReadonlySet<string>>> = {
  BlockStored: new Set([...storedFields, "type", "locality", "ownership", "session_id", "cache_salt", "mm_keys"]),
  BlockRemoved: new Set([...removedFields, "type", "locality", "ownership"]),
  AllBlocksCleared: new Set(["type"])
}
/** Where SGLang's tagged array carries a map of further fields, by name. */
const namedAt = 7
export const rankMax = 65_535

const decoder = new Decoder({
  useBigInt64: true,
  // Keys may be of any kind; they must not cost the event.
  mapKeyConverter: (key) => (typeof key === "string" || typeof key === "number" ? key : "(no name)")
})

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype

/** A batch. Throws a TypeError on bytes that are none; nothing else is thrown. */
export const decodeGeneric = (payload: Uint8Array): EngineBatch => {
  if (valueEnd(payload, 0, payload.length) !== payload.length) throw noBatch(payload)
  const names = new Names()
  const parts = partsOf(payload, names)
  if (parts[1] === undefined || !isArray(parts[1])) throw noBatch(payload)
  const events = elements(parts[1]).map((event) => eventOf(event, names))
  for (let i = batchFields.length; i < parts.length && !names.full; i++) names.add("field", `Batch[${i}]`)
  return {
    ts: parts[0] === undefined ? 0 : tsOf(read(parts[0])),
    events,
    rank: parts[2] === undefined ? null : rankOf(read(parts[2])),
    unknown: names.list
  }
}

/** One event, from bytes that are one measured value. */
export const eventOf = (bytes: Uint8Array, names: Names): EngineEvent => {
  // A copy: byte strings among the extra keys are views, and what was received may be overwritten or be large.
  const value = read(new Uint8Array(bytes))
  const array = Array.isArray(value)
  const tag = array ? value[0] : isFields(value) ? value["type"] : undefined
  const type = typeof tag === "string" ? printable(tag) : "untagged"
  if (type !== "BlockStored" && type !== "BlockRemoved" && type !== "AllBlocksCleared") {
    names.add("event", type)
    return { _tag: "Unknown", type }
  }
  const fields = array ? fieldsOfArray(type, value, names) : (value as Fields)
  for (const name in fields) {
    if (names.full) break
    if (!known[type]!.has(name)) names.add("field", `${type}.${name}`)
  }
  const event =
    type === "AllBlocksCleared"
      ? ({ _tag: type } as const)
      : type === "BlockStored"
        ? storedOf(fields, names)
        : removedOf(fields, names)
  if (event !== null) return event
  names.add("event", `${type} (malformed)`)
  return { _tag: "Unknown", type }
}

const storedOf = (fields: Fields, names: Names): BlockStored | null => {
  const hashes = hashesOf(fields["block_hashes"])
  const given = fields["parent_block_hash"] ?? null
  const parent = given === null ? null : hashesOf([given])
  const extraKeys = extraKeysOf(fields["extra_keys"] ?? null, fields["mm_keys"] ?? null)
  if (hashes === null || (given !== null && parent === null) || extraKeys === undefined || !isIdentified(fields)) {
    return null
  }
  const blockSize = numberOf(fields["block_size"])
  return {
    _tag: "BlockStored",
    hashes,
    parent,
    tokenIds: tokensOf(fields["token_ids"]),
    blockSize: Number.isSafeInteger(blockSize) && blockSize! > 0 ? blockSize! : 0,
    loraId: numberOf(fields["lora_id"]),
    tier: tierOfField(fields["medium"] ?? null, names),
    loraName: textOf(fields["lora_name"]),
    extraKeys,
    groupIdx: numberOf(fields["group_idx"]),
    specKind: textOf(fields["kv_cache_spec_kind"]),
    slidingWindow: numberOf(fields["kv_cache_spec_sliding_window"]),
    locality: textOf(fields["locality"]),
    ownership: textOf(fields["ownership"]),
    sessionId: textOf(fields["session_id"]),
    salt: textOf(fields["cache_salt"])
  }
}

const removedOf = (fields: Fields, names: Names): EngineEvent | null => {
  const hashes = hashesOf(fields["block_hashes"])
  if (hashes === null || !isIdentified(fields)) return null
  return {
    _tag: "BlockRemoved",
    hashes,
    tier: tierOfField(fields["medium"] ?? null, names),
    groupIdx: numberOf(fields["group_idx"]),
    locality: textOf(fields["locality"]),
    ownership: textOf(fields["ownership"])
  }
}

/** What tells equal tokens apart is there in its kind, or not at all. */
const isIdentified = (fields: Fields): boolean =>
  isNullOrText(fields["lora_name"]) &&
  isNullOrText(fields["cache_salt"]) &&
  isNullOrText(fields["kv_cache_spec_kind"]) &&
  isNullOrWhole(fields["lora_id"]) &&
  isNullOrWhole(fields["group_idx"])

const isNullOrText = (value: unknown): boolean => value === null || value === undefined || typeof value === "string"
const isNullOrWhole = (value: unknown): boolean =>
  value === null || value === undefined || Number.isSafeInteger(numberOf(value))

const tierOfField = (medium: unknown, names: Names): Tier | null => {
  if (medium === null) return "device"
  const tier = typeof medium === "string" ? tierOf(medium) : null
  if (tier === null) names.add("medium", typeof medium === "string" ? medium : "(no text)")
  return tier
}

/** A tagged array as the map it abbreviates. */
const fieldsOfArray = (type: string, values: ReadonlyArray<unknown>, names: Names): Fields => {
  const order: ReadonlyArray<string> =
    type === "BlockStored" ? storedFields : type === "BlockRemoved" ? removedFields : []
  const more = type === "BlockStored" && isFields(values[namedAt]) ? values[namedAt] : {}
  const fields: Record<string, unknown> = { ...more }
  for (let i = 0; i < order.length && i + 1 < values.length; i++) {
    if (i + 1 === namedAt && isFields(values[namedAt])) continue
    fields[order[i]!] = values[i + 1]
  }
  for (let i = order.length + 1; i < values.length && !names.full; i++) names.add("field", `${type}[${i}]`)
  return fields
}

/** The parts of a batch, in the order of the array; a map's are put in it. */
const partsOf = (payload: Uint8Array, names: Names): ReadonlyArray<Uint8Array | undefined> => {
  if (isArray(payload)) return elements(payload)
  const parts: Array<Uint8Array | undefined> = []
  const entries = elements(payload)
  for (let i = 0; i < entries.length; i += 2) {
    const name = String(textOf(read(entries[i]!)))
    const at = batchFields.indexOf(name)
    if (at >= 0) parts[at] = entries[i + 1]
    else if (!names.full) names.add("field", `Batch.${name}`)
  }
  return parts
}

const tsOf = (value: unknown): number => {
  const ts = numberOf(value)
  return ts !== null && Number.isFinite(ts) ? ts : 0
}

const rankOf = (value: unknown): number | null => {
  const rank = numberOf(value)
  return rank !== null && Number.isInteger(rank) && rank >= 0 && rank <= rankMax ? rank : null
}

/** The value of measured bytes; undefined when the library refuses it (the key `__proto__`, a bad extension). */
const read = (bytes: Uint8Array): unknown => {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

const noBatch = (payload: Uint8Array): TypeError =>
  new TypeError(`A KV-event batch must be [ts, events, rank]; these ${payload.length} bytes are something else`)
