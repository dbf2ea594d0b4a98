import { encode } from "@msgpack/msgpack"
import { describe, expect, it, vi } from "vitest"
import * as Random from "../../../loadtest/Random.ts"
import { decode } from "../../../src/adapters/kvevents/KvEvents.ts"
import { scan } from "../../../src/adapters/kvevents/KvScan.ts"
import { batchOf } from "../../fuzz/Batches.ts"
import { checkFrame } from "../../fuzz/Frames.ts"
import { mutate } from "../../fuzz/Mutate.ts"
import { encodeOddly } from "../../fuzz/Wire.ts"
import vectors from "../../support/vectors/vllm-kv-events.json" with { type: "json" }

const generic = vi.hoisted(() => ({ events: 0, batches: 0 }))

vi.mock("../../../src/adapters/kvevents/KvGeneric.ts", async (original) => {
  const actual = await original<typeof import("../../../src/adapters/kvevents/KvGeneric.ts")>()
  return {
    ...actual,
    eventOf: (...args: Parameters<typeof actual.eventOf>) => {
      generic.events++
      return actual.eventOf(...args)
    },
    decodeGeneric: (payload: Uint8Array) => {
      generic.batches++
      return actual.decodeGeneric(payload)
    }
  }
})

const hash = 2n ** 63n + 5n
const hot: Record<string, unknown> = {
  "vLLM's map": {
    type: "BlockStored",
    block_hashes: [hash, 7n],
    parent_block_hash: hash,
    token_ids: [1, 200, 60_000, 151_644],
    block_size: 2,
    lora_id: null,
    medium: "GPU",
    lora_name: "sql-adapter",
    extra_keys: [null, null],
    group_idx: 0,
    kv_cache_spec_kind: "full_attention",
    session_id: "conv-7f3a"
  },
  "vLLM's array": ["BlockStored", [hash], null, [1, 200], 2, null, "CPU", null, [null], 1, "sliding_window", 4_096],
  "vLLM's first array": ["BlockStored", [-5n], null, [1, 200], 2, null],
  "byte hashes": ["BlockRemoved", [new Uint8Array(32).fill(9)], "GPU", 0],
  "SGLang's map": {
    type: "BlockStored",
    block_hashes: [-hash / 2n],
    parent_block_hash: null,
    token_ids: [
      [1, 2],
      [2, 3]
    ],
    block_size: 2,
    lora_id: null,
    medium: "CPU_PINNED",
    cache_salt: "tenant-a"
  },
  "a removal": { type: "BlockRemoved", block_hashes: [hash], medium: "EXTERNAL" },
  "a clear": ["AllBlocksCleared"],
  "a clear as a map": { type: "AllBlocksCleared" }
}

describe("KvScan", () => {
  it.each(Object.keys(hot))("reads %s without the library, and the same", (name) => {
    const payload = encode([1.5, [hot[name]], 3], { useBigInt64: true })
    generic.events = generic.batches = 0
    const batch = decode(payload)
    expect(generic).toEqual({ events: 0, batches: 0 })
    expect(batch.events[0]!._tag).not.toBe("Unknown")
    checkFrame(payload)
  })

  it("leaves one event to the library, not the batch", () => {
    const multimodal = { ...(hot["vLLM's map"] as object), extra_keys: [[["9f", 3]], null] }
    generic.events = generic.batches = 0
    const batch = decode(encode([1.5, [hot["a removal"], multimodal, hot["vLLM's array"]], 0], { useBigInt64: true }))
    expect(generic).toEqual({ events: 1, batches: 0 })
    expect(batch.events.map((event) => event._tag)).toEqual(["BlockRemoved", "BlockStored", "BlockStored"])
  })

  it("carries nothing from one event into the next", () => {
    const bare = { type: "BlockStored", block_hashes: [1], parent_block_hash: null, token_ids: [], block_size: 0 }
    const [, event] = decode(encode([1.5, [hot["vLLM's map"], bare]], { useBigInt64: true })).events
    expect(event).toEqual(decode(encode([1.5, [bare]])).events[0])
  })

  it("reads nothing before or behind the payload, wherever it is cut", () => {
    for (const { frames } of vectors.cases) {
      const payload = Buffer.from(frames.payload, "hex")
      for (let length = 0; length < payload.length; length++) checkFrame(payload.subarray(0, length))
      expect(checkFrame(payload).batch).toBe(true)
    }
  })

  it("agrees with the library on batches of every dialect, in widths no engine uses, whole and damaged", () => {
    const seen = { batches: 0, scanned: 0, blocks: 0, damaged: 0 }
    for (let seed = 0; seed < 3_000; seed++) {
      const random = Random.make(seed)
      const bytes = batchOf(random)
      const verdict = checkFrame(bytes)
      if (verdict.batch) seen.batches++
      if (verdict.scanned) seen.scanned++
      seen.blocks += verdict.blocks
      if (checkFrame(mutate(bytes, bytes, random)).batch) seen.damaged++
    }
    // So that it cannot pass for want of anything to compare.
    expect(seen.batches).toBeGreaterThan(2_500)
    expect(seen.scanned).toBeGreaterThan(1_500)
    expect(seen.blocks).toBeGreaterThan(20_000)
    expect(seen.damaged).toBeGreaterThan(100)
  })

  it("agrees with the library where an event is larger than its pool of words", () => {
    const tokens = Array.from({ length: 262_144 }, (_, i) => i % 100)
    for (const count of [262_140, 262_144]) {
      const event = ["BlockStored", [1], null, tokens.slice(0, count), 16, null, "GPU"]
      const [stored] = decode(encode([1.5, [event]])).events
      expect(stored).toMatchObject({ tokenIds: Uint32Array.from(tokens.slice(0, count)) })
    }
    expect(scan(encodeOddly([1.5, []], Random.make(1), 0))?.events).toEqual([])
  })
})
