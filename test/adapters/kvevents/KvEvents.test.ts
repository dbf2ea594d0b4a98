import { encode } from "@msgpack/msgpack"
import { describe, expect, it } from "vitest"
import * as Random from "../../../loadtest/Random.ts"
import { decode } from "../../../src/adapters/kvevents/KvEvents.ts"
import { decodeGeneric } from "../../../src/adapters/kvevents/KvGeneric.ts"
import type { BlockStored, EngineEvent } from "../../../src/domain/KvEvent.ts"
import { encodeOddly } from "../../fuzz/Wire.ts"
import vectors from "../../support/vectors/vllm-kv-events.json" with { type: "json" }

const u64s = (lanes: Int32Array): Array<string> =>
  Array.from({ length: lanes.length / 2 }, (_, i) =>
    BigInt.asUintN(64, (BigInt(lanes[i * 2 + 1]!) << 32n) | BigInt(lanes[i * 2]! >>> 0)).toString()
  )

type Expected = Readonly<Record<string, unknown>>

const tiers: Record<string, string> = {
  GPU: "device",
  CPU: "host",
  CPU_PINNED: "host",
  STORAGE: "disk",
  EXTERNAL: "external"
}

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

/** What distinguishes the blocks, as the vector says it: extra keys, or TensorRT-LLM's maps for images. */
const extrasOf = (expected: Expected): unknown => {
  const images = expected["mm_keys"] as ReadonlyArray<ReadonlyArray<Expected>> | undefined
  if (images !== undefined) return images.map((keys) => keys.map((key) => [key["hash"], key["start_offset"]]))
  const keys = expected["extra_keys"] as ReadonlyArray<unknown> | null | undefined
  return keys?.some((key) => key !== null) ? plain(fromBytes(keys)) : null
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
  expect(event.tier).toBe(tiers[String(expected["medium"] ?? "GPU")])
  expect(event.groupIdx).toBe(expected["group_idx"] ?? null)
  expect(event.locality).toBe(expected["locality"] ?? null)
  expect(event.ownership).toBe(expected["ownership"] ?? null)
  if (event._tag === "BlockRemoved") return
  expect(event.parent === null ? null : u64s(event.parent)[0]).toBe(expected["parent_block_hash_u64"])
  const tokens = expected["token_ids"] as ReadonlyArray<number | ReadonlyArray<number>>
  expect([...event.tokenIds]).toEqual(tokens.map((token) => (typeof token === "number" ? token : token[0])))
  expect(event.blockSize).toBe(expected["block_size"])
  expect(event.loraId).toBe(expected["lora_id"] ?? null)
  expect(event.loraName).toBe(expected["lora_name"] ?? null)
  expect(plain(event.extraKeys)).toEqual(extrasOf(expected))
  expect(event.specKind).toBe(expected["kv_cache_spec_kind"] ?? null)
  expect(event.slidingWindow).toBe(expected["kv_cache_spec_sliding_window"] ?? null)
  expect(event.sessionId).toBe(expected["session_id"] ?? null)
  expect(event.salt).toBe(expected["cache_salt"] ?? null)
}

const storedIn = (fields: Readonly<Record<string, unknown>>): BlockStored => {
  const full = { type: "BlockStored", block_hashes: [1, 2], token_ids: [1, 2], block_size: 1, ...fields }
  return decode(encode([0, [full]])).events[0] as BlockStored
}

describe("KvEvents", () => {
  it.each(vectors.cases)("decodes $engine: $name", ({ expect: expected, frames }) => {
    for (const read of [decode, decodeGeneric]) {
      const batch = read(Buffer.from(frames.payload, "hex"))
      expect(batch.ts).toBe(expected.ts)
      expect(batch.rank).toBe(expected.rank)
      expect(batch.events.length).toBe(expected.events.length)
      for (const [i, event] of batch.events.entries()) check(event, expected.events[i] as Expected)
    }
  })

  it("decodes the batches of both layouts of a replay", () => {
    for (const { messages } of [vectors.replay.response_old, vectors.replay.response_new]) {
      const payloads = messages.map((frames) => frames.at(-1)!).filter((payload) => payload !== "")
      const events = payloads.flatMap((payload) => decode(Buffer.from(payload, "hex")).events)
      expect(events.map((event) => event._tag)).toEqual(["BlockStored", "BlockRemoved", "AllBlocksCleared"])
    }
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

  it("keeps a batch in which a library would refuse one event", () => {
    // The key `__proto__`, and a timestamp of a length there is not.
    const odd = Buffer.from("81a95f5f70726f746f5f5f01c70100" + "00", "hex")
    const events = [odd.subarray(0, 12), Buffer.from("c703ff000000", "hex"), encode(["AllBlocksCleared"])]
    const batch = Buffer.concat([Buffer.from("92cb3ff800000000000093", "hex"), ...events])
    expect(decode(batch).events).toEqual([
      { _tag: "Unknown", type: "untagged" },
      { _tag: "Unknown", type: "untagged" },
      { _tag: "AllBlocksCleared" }
    ])
  })

  it("does not guess an identity: an event whose adapter, salt, group or extra keys are unreadable is unknown", () => {
    for (const fields of [
      { lora_name: 7 },
      { cache_salt: ["a"] },
      { kv_cache_spec_kind: 1 },
      { group_idx: "0" },
      { lora_id: 1.5 },
      { extra_keys: "salt" },
      { mm_keys: {} },
      { block_hashes: [2 ** 53] },
      { block_hashes: [new Uint8Array(7)] },
      { parent_block_hash: "root" }
    ]) {
      expect(storedIn(fields)).toEqual({ _tag: "Unknown", type: "BlockStored" })
    }
  })

  it("folds the media of all engines to tiers, whatever their case", () => {
    const folded = {
      device: ["GPU", "gpu", null, undefined],
      host: ["CPU", "CPU_PINNED", "cpu_tier1"],
      disk: ["CPU_TIER2", "DISK", "NVMe", "STORAGE"],
      external: ["EXTERNAL", "Network", "REMOTE", "SHARED"]
    }
    for (const [tier, media] of Object.entries(folded)) {
      for (const medium of media)
        expect([medium, storedIn(medium === undefined ? {} : { medium }).tier]).toEqual([medium, tier])
    }
    for (const medium of ["HBM", "", 3, ["GPU"]]) expect(storedIn({ medium }).tier).toBe(null)
  })

  it("names what it does not know: events, fields, positions, media; each once", () => {
    const stored = ["BlockStored", [1], null, [1], 1, null, "GPU", null, null, 0, "full_attention", 64, "more"]
    const removed = { type: "BlockRemoved", block_hashes: [1], medium: "HBM", reason: 2 }
    const batch = decode(encode([1.5, [stored, stored, removed, { type: "BlockInactive" }, ["BlockMoved"], 7], 0, "x"]))
    expect(batch.unknown).toEqual([
      "field BlockStored[12]",
      "field BlockRemoved.reason",
      "medium HBM",
      "event BlockInactive",
      "event BlockMoved",
      "event untagged",
      "field Batch[3]"
    ])
    expect(decode(encode([1.5, [stored.slice(0, 12)], 0])).unknown).toEqual([])
  })

  it("keeps unknown names short, few and printable", () => {
    const fields = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`\u001b[2J\n${i}${"x".repeat(500)}`, i]))
    const { events, unknown } = decode(
      encode([0, [{ type: "BlockStored", block_hashes: [1], ...fields }, ["\u0007".repeat(99)]]])
    )
    expect(unknown.length).toBe(16)
    for (const name of unknown) expect(name).toMatch(/^field [\x20-\x7e]{64}$/)
    expect(events[1]).toEqual({ _tag: "Unknown", type: "?".repeat(64) })
  })

  it("reads the salt of SGLang's map, and of the map at the end of its array", () => {
    const array = ["BlockStored", [1], null, [1], 1, null, "GPU", { cache_salt: "tenant-a", mood: 1 }]
    const batch = decode(encode([0, [array]]))
    expect(batch.events[0]).toMatchObject({ salt: "tenant-a", loraName: null, tier: "device" })
    expect(batch.unknown).toEqual(["field BlockStored.mood"])
    expect(storedIn({ cache_salt: "tenant-a" }).salt).toBe("tenant-a")
  })

  it("tells a block with an image from one without, and from one with another, wherever the engine says so", () => {
    const image = { type: "mm_key", hash: "ab", start_offset: 1 }
    expect(storedIn({ mm_keys: [[image], []] }).extraKeys).toEqual([[["ab", 1]], null])
    expect(storedIn({ mm_keys: [[{ ...image, uuid: "cat.png" }]] }).extraKeys).toEqual([[["ab", 1, "cat.png"]]])
    expect(storedIn({ mm_keys: [["bare"]] }).extraKeys).toEqual([[["bare"]]])
    expect(storedIn({ extra_keys: [["salt"], null], mm_keys: [[image], [image]] }).extraKeys).toEqual([
      ["salt", ["ab", 1]],
      [["ab", 1]]
    ])
    // An object in place of a list, as one proposal has it.
    expect(storedIn({ extra_keys: [{ salt: "a" }, null] }).extraKeys).toEqual([[[{ salt: "a" }]], null])
    for (const none of [null, [], [null, null], [[], []]]) expect(storedIn({ extra_keys: none }).extraKeys).toBe(null)
  })

  it("takes the first of token pairs, and gives the digest of an image an id that no vocabulary has", () => {
    expect([
      ...storedIn({
        token_ids: [
          [5, 6],
          [6, 7]
        ]
      }).tokenIds
    ]).toEqual([5, 6])
    const [a, b, again, word] = storedIn({ token_ids: ["ab01", "ab02", "ab01", 7] }).tokenIds
    expect(a).toBeGreaterThanOrEqual(2 ** 31)
    expect(b).toBeGreaterThanOrEqual(2 ** 31)
    expect([again, word]).toEqual([a, 7])
    expect(b).not.toBe(a)
  })

  it("reads tokens that are no integers as none, and keeps the hashes", () => {
    for (const tokens of [[[1]], [[1, "a"]], [[1, 2, 3]], [null], [1.5], [-1], [2 ** 32], "no array"]) {
      const event = storedIn({ token_ids: tokens })
      expect(event).toMatchObject({ _tag: "BlockStored", tokenIds: new Uint32Array(0) })
      expect(u64s(event.hashes)).toEqual(["1", "2"])
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
      new Uint8Array(32).fill(1),
      new Uint8Array(300).fill(2),
      7
    ]
    const folded = [
      0n,
      2n ** 64n - 1n,
      255n,
      2n ** 64n - 2n ** 31n,
      2n ** 32n - 1n,
      2n ** 63n,
      2n ** 63n,
      2n ** 64n - 1n
    ]
      .concat(0x0101_0101_0101_0101n, 0x0202_0202_0202_0202n, 7n)
      .map(String)
    for (let seed = 0; seed < 200; seed++) {
      const bytes = encodeOddly([0.5, [["BlockRemoved", hashes]]], Random.make(seed), seed === 0 ? 0 : 0.5)
      expect(u64s((decode(bytes).events[0] as BlockStored).hashes)).toEqual(folded)
    }
  })

  it("gives events that outlive the bytes they came from", () => {
    for (const { frames } of vectors.cases) {
      const bytes = Buffer.from(frames.payload, "hex")
      const batch = decode(bytes)
      bytes.fill(0xff)
      decode(Buffer.from(vectors.cases[0]!.frames.payload, "hex"))
      expect(batch).toEqual(decode(Buffer.from(frames.payload, "hex")))
    }
  })

  it("refuses bytes that are no batch, with one kind of error", () => {
    for (const bytes of [
      encode("hello"),
      encode([]),
      encode([1.5]),
      encode([1.5, "events"]),
      encode({ ts: 1 }),
      new Uint8Array(0),
      Uint8Array.of(0x93, 0xcb),
      // One byte more, and one less, than a batch.
      Uint8Array.of(...encode([1.5, [], 0]), 0),
      encode([1.5, [], 0]).subarray(0, -1),
      Uint8Array.of(0xc1)
    ]) {
      expect(() => decode(bytes)).toThrow(TypeError)
      expect(() => decode(bytes)).toThrow("must be [ts, events, rank]")
    }
  })

  it("believes no length, however often it is claimed, and follows no endless nesting", () => {
    const claim = Buffer.from("dd003fffff", "hex")
    const nested = Buffer.concat([Buffer.from("92cb3ff8000000000000", "hex"), Buffer.alloc(50_000, claim)])
    expect(() => decode(nested)).toThrow(TypeError)
    expect(() => decode(Buffer.concat([Buffer.from("92c0", "hex"), Buffer.alloc(1_000_000, 0x91), claim]))).toThrow(
      TypeError
    )
    expect(() => decode(Uint8Array.of(0x92, 0xc0, 0xdd, 0xff, 0xff, 0xff, 0xff))).toThrow(TypeError)
  })

  it("bounds ranks and times, which others count with", () => {
    for (const [rank, read] of [
      [3, 3],
      [-1, null],
      [70_000, null],
      [1.5, null],
      ["1", null]
    ] as const) {
      expect(decode(encode([Number.NaN, [], rank]))).toEqual({ ts: 0, events: [], rank: read, unknown: [] })
    }
  })
})
