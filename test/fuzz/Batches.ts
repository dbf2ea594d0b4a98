/** KV-event batches by lot, in every dialect: as an engine would send them, and with a few things it never would. */
import { encode } from "@msgpack/msgpack"
import type { Random } from "../../loadtest/Random.ts"
import { Entries, Ext, encodeOddly } from "./Wire.ts"

type Value = unknown

export const pick = <A>(random: Random, list: ReadonlyArray<A>): A => list[Math.floor(random() * list.length)]!
export const below = (random: Random, end: number): number => Math.floor(random() * end)
const listOf = <A>(length: number, make: (i: number) => A): Array<A> => Array.from({ length }, (_, i) => make(i))

const word = (random: Random): bigint => BigInt(below(random, 2 ** 32))
const bytesOf = (random: Random, length: number): Uint8Array =>
  Uint8Array.from(listOf(length, () => below(random, 256)))

const storedOrder = [
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
const removedOrder = ["block_hashes", "medium", "group_idx"]
const media = ["GPU", "CPU", "CPU_PINNED", "DISK", "EXTERNAL", "STORAGE", "gpu", "CPU_TIER2", "HBM", "", null, null]
const texts = ["", "a", "sql-adapter", "grüße", "x".repeat(40), "y".repeat(70), "z".repeat(300), "\u0000\u001b[31m"]

/** Something a later version might send. */
export const nonsense = (random: Random, depth = 0): Value => {
  switch (below(random, depth > 4 ? 8 : 11)) {
    case 0:
      return null
    case 1:
      return random() < 0.5
    case 2:
      return below(random, 300) - 40
    case 3:
      return (word(random) << 32n) | word(random)
    case 4:
      return pick(random, [1.5, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e300, 2 ** 40])
    case 5:
      return pick(random, texts)
    case 6:
      return bytesOf(random, below(random, 20))
    case 7:
      return new Ext(pick(random, [-1, 0, 5]), bytesOf(random, pick(random, [0, 1, 3, 4, 8, 12])))
    case 8:
      return listOf(below(random, 4), () => nonsense(random, depth + 1))
    case 9:
      return listOf(24 + below(random, 16), () => 0).reduce<Value>((inner) => [inner], null)
    default:
      return new Entries(
        listOf(below(random, 3), () => [
          pick<Value>(random, ["type", "__proto__", "constructor", 7, null, [1], texts[5]]),
          nonsense(random, depth + 1)
        ])
      )
  }
}

const hashOf = (random: Random): Value => {
  const value = (word(random) << 32n) | word(random)
  const roll = random()
  if (roll < 0.5) return value
  if (roll < 0.7) return BigInt.asIntN(64, value)
  if (roll < 0.85) return bytesOf(random, pick(random, [8, 16, 32, 32, 64]))
  return pick<Value>(random, [
    0,
    1,
    127,
    128,
    -1,
    -33,
    -200,
    -32_768,
    -40_000,
    65_536,
    2 ** 31,
    2 ** 32 - 1,
    -(2 ** 31),
    2n ** 63n
  ])
}

const tokenOf = (random: Random): number =>
  pick(random, [below(random, 128), 128 + below(random, 128), below(random, 65_536), below(random, 200_000)])

const tokensOf = (random: Random, count: number): Value => {
  const roll = random()
  if (roll < 0.85) return listOf(count, () => tokenOf(random))
  if (roll < 0.92) return listOf(count, () => [tokenOf(random), tokenOf(random)])
  if (roll < 0.96) return listOf(count, () => pick<Value>(random, [tokenOf(random), "ab".repeat(8)]))
  return listOf(count, () =>
    pick<Value>(random, [tokenOf(random), -1, 1.5, 2 ** 32, [1], [1, 2, 3], [1, "a"], [1, null], [1, -1], "x", null])
  )
}

const storedOf = (random: Random, strange: boolean): Record<string, Value> => {
  const count = below(random, 4) === 0 ? below(random, 40) : 1 + below(random, 3)
  const blockSize = pick(random, [1, 4, 16])
  const fields: Record<string, Value> = {
    block_hashes: listOf(count, () => hashOf(random)),
    parent_block_hash: random() < 0.5 ? null : hashOf(random),
    token_ids: tokensOf(random, random() < 0.9 ? count * blockSize : below(random, 5)),
    block_size: blockSize,
    lora_id: random() < 0.8 ? null : below(random, 5),
    medium: pick(random, media),
    lora_name: random() < 0.8 ? null : pick(random, texts)
  }
  const more: Record<string, () => Value> = {
    extra_keys: () =>
      listOf(count, () =>
        random() < 0.7
          ? null
          : pick<Value>(random, [["salt"], [["9f".repeat(32), -13]], [bytesOf(random, 32)], [], { a: 1 }])
      ),
    group_idx: () => below(random, 3),
    kv_cache_spec_kind: () => pick(random, ["full_attention", "sliding_window", "mamba", "mla_attention"]),
    kv_cache_spec_sliding_window: () => 4_096,
    locality: () => pick(random, ["LOCAL", "REMOTE"]),
    ownership: () => "fs",
    session_id: () => `conv-${below(random, 100)}`,
    cache_salt: () => pick(random, texts),
    mm_keys: () =>
      listOf(count, () => (random() < 0.5 ? [] : [{ type: "mm_key", hash: "ab".repeat(32), start_offset: 1 }])),
    origin: () => nonsense(random)
  }
  for (const [name, make] of Object.entries(more)) {
    if (random() < (name === "origin" ? 0.05 : name === "mm_keys" ? 0.1 : 0.4)) fields[name] = make()
  }
  if (strange) fields[pick(random, Object.keys(fields))] = nonsense(random)
  return fields
}

const removedOf = (random: Random, strange: boolean): Record<string, Value> => {
  const fields: Record<string, Value> = { block_hashes: listOf(below(random, 6), () => hashOf(random)) }
  if (random() < 0.9) fields["medium"] = pick(random, media)
  if (random() < 0.5) fields["group_idx"] = below(random, 3)
  if (random() < 0.2) fields["locality"] = "LOCAL"
  if (strange) fields[pick(random, [...Object.keys(fields), "reason", "block_hashes"])] = nonsense(random)
  return fields
}

const shuffled = <A>(random: Random, list: ReadonlyArray<A>): Array<A> => {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = below(random, i + 1)
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

const eventOf = (random: Random, strange: boolean): Value => {
  const roll = random()
  if (strange && roll < 0.1) return nonsense(random)
  const tag =
    roll < 0.15 ? "AllBlocksCleared" : roll < 0.35 ? "BlockRemoved" : roll < 0.97 ? "BlockStored" : "BlockMoved"
  // Now and then the fields of another tag.
  const kind = random() < 0.03 ? "BlockStored" : tag
  const fields =
    kind === "BlockStored" ? storedOf(random, strange) : kind === "BlockRemoved" ? removedOf(random, strange) : {}
  if (random() < 0.5) {
    let entries = Object.entries({ type: tag, ...fields })
    if (random() < 0.1) entries = shuffled(random, entries)
    if (strange && random() < 0.2) entries.push(pick(random, entries))
    return new Entries(entries)
  }
  const order = tag === "BlockRemoved" ? removedOrder : tag === "BlockStored" ? storedOrder : []
  const values: Array<Value> = [tag, ...order.map((name) => fields[name] ?? null)]
  if (random() < 0.6) while (values.length > 2 && values.at(-1) === null) values.pop()
  if (random() < 0.2) values.length = Math.min(values.length, 2 + below(random, 7))
  if (fields["cache_salt"] !== undefined && values.length === 7) values.push({ cache_salt: fields["cache_salt"] })
  if (random() < 0.05) values.push(nonsense(random), nonsense(random))
  return values
}

/** The bytes of one batch. Half of them are as engines send them, encoded by the library that reads them as well. */
export const batchOf = (random: Random): Buffer => {
  const strange = random() < 0.4
  const odd = random() < 0.5 ? 0 : random() * 0.4
  const events = listOf(below(random, 5), () => eventOf(random, strange && random() < 0.5))
  const batch: Array<Value> = [pick<Value>(random, [1_789_000_000.125, 1.5, 7]), events]
  if (random() < 0.8) batch.push(pick<Value>(random, [0, 1, 255, null, 70_000, -1]))
  if (strange && random() < 0.1) batch.push(nonsense(random))
  const value = random() < 0.05 ? { ts: batch[0], events, data_parallel_rank: batch[2] ?? null, more: 1 } : batch
  if (!strange && odd === 0) return Buffer.from(encode(plain(value), { useBigInt64: true }))
  return encodeOddly(value, random, odd)
}

/** For the library's encoder, which knows objects and not `Entries`. */
const plain = (value: Value): Value => {
  if (value instanceof Entries) return Object.fromEntries(value.list.map(([name, field]) => [name, plain(field)]))
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Ext) return null
  if (value !== null && typeof value === "object" && !(value instanceof Uint8Array)) {
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]))
  }
  return value
}
