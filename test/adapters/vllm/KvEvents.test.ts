import { encode } from "@msgpack/msgpack"
import { describe, expect, it } from "vitest"
import { decode } from "../../../src/adapters/vllm/KvEvents.ts"
import type { EngineEvent } from "../../../src/domain/KvEvent.ts"
import vectors from "../../support/vectors/vllm-kv-events.json" with { type: "json" }

const u64s = (lanes: Int32Array): Array<string> =>
  Array.from({ length: lanes.length / 2 }, (_, i) =>
    BigInt.asUintN(64, (BigInt(lanes[i * 2 + 1]!) << 32n) | BigInt(lanes[i * 2]! >>> 0)).toString()
  )

type Expected = Readonly<Record<string, unknown>>

const fromBytes = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(fromBytes)
  if (typeof value === "object" && value !== null && "$bytes" in value) {
    return new Uint8Array(Buffer.from(String(value.$bytes), "hex"))
  }
  return value
}

/** Byte strings as plain arrays of one class, whatever buffer they came from. */
const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return { bytes: [...value] }
  return Array.isArray(value) ? value.map(plain) : value
}

const check = (event: EngineEvent, expected: Expected) => {
  const type = expected["type"]
  if (event._tag === "Unknown") {
    expect(["BlockStored", "BlockRemoved", "AllBlocksCleared"]).not.toContain(type)
    return
  }
  expect(event._tag).toBe(type)
  if (event._tag === "AllBlocksCleared") return
  expect(u64s(event.hashes)).toEqual(expected["block_hashes_u64"])
  expect(event.medium).toBe(expected["medium"] ?? null)
  expect(event.groupIdx).toBe(expected["group_idx"] ?? null)
  expect(event.locality).toBe(expected["locality"] ?? null)
  expect(event.ownership).toBe(expected["ownership"] ?? null)
  if (event._tag === "BlockRemoved") return
  expect(event.parent === null ? null : u64s(event.parent)[0]).toBe(expected["parent_block_hash_u64"])
  expect([...event.tokenIds]).toEqual(expected["token_ids"])
  expect(event.blockSize).toBe(expected["block_size"])
  expect(event.loraId).toBe(expected["lora_id"] ?? null)
  expect(event.loraName).toBe(expected["lora_name"] ?? null)
  expect(plain(event.extraKeys)).toEqual(plain(fromBytes(expected["extra_keys"] ?? null)))
  expect(event.specKind).toBe(expected["kv_cache_spec_kind"] ?? null)
  expect(event.slidingWindow).toBe(expected["kv_cache_spec_sliding_window"] ?? null)
  expect(event.sessionId).toBe(expected["session_id"] ?? null)
}

describe("vLLM KvEvents", () => {
  it.each(vectors.cases)("decodes $name", ({ expect: expected, frames }) => {
    const batch = decode(Buffer.from(frames.payload, "hex"))
    expect(batch.ts).toBe(expected.ts)
    expect(batch.rank).toBe(expected.rank)
    expect(batch.events.length).toBe(expected.events.length)
    for (const [i, event] of batch.events.entries()) check(event, expected.events[i] as Expected)
  })

  it("keeps a batch whose other events are malformed or unknown", () => {
    const batch = decode(
      encode([
        1.5,
        [
          ["BlockStored", "no hashes"],
          { type: "BlockRemoved", block_hashes: [true] },
          ["BlockStored", [1], [], [], 1],
          7,
          null,
          [],
          {},
          ["Sleeping", 1],
          { type: "BlockRemoved", block_hashes: [3], medium: "GPU", novelty: { deep: [1] } }
        ]
      ])
    )
    expect(batch.events.map((event) => event._tag)).toEqual([...Array(8).fill("Unknown"), "BlockRemoved"])
    expect(batch.rank).toBe(null)
  })

  it("reads tokens that are no integers as none, and keeps the hashes", () => {
    for (const tokens of [[[1, 2]], ["x"], [1.5], [-1], [2 ** 32], "no array"]) {
      const [event] = decode(encode([0, [["BlockStored", [1, 2], null, tokens, 1, null]]])).events
      expect(event).toMatchObject({ _tag: "BlockStored", tokenIds: new Uint32Array(0) })
      expect(u64s((event as { hashes: Int32Array }).hashes)).toEqual(["1", "2"])
    }
  })

  it("folds integers of every width and sign, and bytes of every length from eight", () => {
    const hashes = [
      0,
      -1,
      255,
      -2147483648,
      4294967295,
      2n ** 63n,
      -(2n ** 63n),
      2n ** 64n - 1n,
      new Uint8Array(32).fill(1)
    ]
    const [event] = decode(encode([0, [["BlockRemoved", hashes]]], { useBigInt64: true })).events
    expect(u64s((event as { hashes: Int32Array }).hashes)).toEqual(
      [0n, 2n ** 64n - 1n, 255n, 2n ** 64n - 2n ** 31n, 2n ** 32n - 1n, 2n ** 63n, 2n ** 63n, 2n ** 64n - 1n]
        .concat(0x0101_0101_0101_0101n)
        .map(String)
    )
  })

  it("survives any damage to its bytes: a batch, or an error", () => {
    let random = 1
    let decoded = 0
    for (const { frames } of vectors.cases) {
      for (let round = 0; round < 300; round++) {
        const bytes = Buffer.from(frames.payload, "hex")
        for (let flips = 0; flips < 3; flips++) {
          random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
          bytes[(random >>> 8) % bytes.length] = random & 255
        }
        try {
          decoded += Array.isArray(decode(bytes).events) ? 1 : 0
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }
    }
    expect(decoded).toBeGreaterThan(0)
    expect(() => decode(Uint8Array.of(0x92, 0xc0, 0xdd, 0xff, 0xff, 0xff, 0xff))).toThrow()
  })

  it("refuses bytes that are no batch", () => {
    expect(() => decode(encode("hello"))).toThrow("must be [ts, events, rank]")
    expect(() => decode(new Uint8Array([0x93, 0xcb]))).toThrow()
    expect(() => decode(new Uint8Array(0))).toThrow()
  })
})
