import { readFileSync } from "node:fs"
import { decode } from "@msgpack/msgpack"
import { describe, expect, it } from "vitest"
import type { Block, CacheEvent } from "../../../loadtest/fleet/CacheEvent.ts"
import * as Sglang from "../../../loadtest/fleet/sglang/Events.ts"
import * as Trtllm from "../../../loadtest/fleet/trtllm/Events.ts"
import * as Vllm from "../../../loadtest/fleet/vllm/Events.ts"

interface Vector {
  readonly name: string
  readonly frames: { readonly payload: string }
}

const file = new URL("../../support/vectors/vllm-kv-events.json", import.meta.url)
const { cases } = JSON.parse(readFileSync(file, "utf8")) as { readonly cases: ReadonlyArray<Vector> }

type Wire = ReadonlyArray<unknown>
const decoded = (payload: Uint8Array): Wire => decode(payload, { useBigInt64: true }) as Wire
const golden = (name: string): Wire =>
  decoded(Buffer.from(cases.find((vector) => vector.name === name)!.frames.payload, "hex"))

/** A value as text that shows the order of fields, nil, and integers of 64 bits. */
const shown = (value: unknown): string =>
  JSON.stringify(value, (_, part) => {
    if (typeof part === "bigint") return `${part}n`
    return part instanceof Uint8Array ? `x${Buffer.from(part).toString("hex")}` : part
  })

/** What an event field by field says: names and kinds of values of a map, kinds of values of an array. */
const shape = (event: unknown): unknown => {
  const kind = (value: unknown): string => {
    if (Array.isArray(value)) return `[${value.length === 0 ? "" : kind(value[0])}]`
    if (value instanceof Uint8Array) return "bin"
    // Signed or not: 64 bits on the wire.
    return value === null ? "nil" : typeof value
  }
  if (Array.isArray(event)) return event.map(kind)
  return Object.entries(event as object).map(([name, value]) => `${name}: ${kind(value)}`)
}

/** Blocks of the vectors: `from`, 16 tokens each, named by what the vector published. */
const chain = (published: ReadonlyArray<unknown>, from: number, size = 16, more: Partial<Block> = {}): Array<Block> => {
  const blocks: Array<Block> = []
  for (const [i, hash] of published.entries()) {
    blocks.push({
      key: String(hash),
      digest: Buffer.from(String(hash)),
      published: BigInt(hash as bigint),
      parent: blocks.at(-1) ?? null,
      tokenIds: Array.from({ length: size }, (_, token) => from + i * size + token),
      salt: null,
      lora: null,
      mm: [],
      ...(i === 0 ? more : {})
    })
  }
  return blocks
}

const stored = (blocks: ReadonlyArray<Block>, more: object = {}): CacheEvent => ({
  _tag: "Stored",
  tier: "device",
  blocks,
  ...more
})
const removed = (block: Block, more: object = {}): CacheEvent => ({ _tag: "Removed", tier: "device", block, ...more })
const form: Vllm.Form = { encoding: "map", hashForm: "int", offload: "empty", loras: [], slidingWindow: 64 }

type Stored = { readonly block_hashes: ReadonlyArray<bigint> }

describe("vLLM's events", () => {
  const write = (how: Partial<Vllm.Form>, ts: number, events: ReadonlyArray<CacheEvent>) =>
    decoded(Vllm.encode({ ...form, ...how }, 0)(ts, events))

  it("equal a captured batch of 0.26, field by field", () => {
    const capture = golden("m5-captured-from-vllm-0.26.0")
    const [event] = capture[1] as ReadonlyArray<Stored & { readonly token_ids: ReadonlyArray<number> }>
    const [block] = chain(event!.block_hashes, 0)
    const made = write({}, capture[0] as number, [stored([{ ...block!, tokenIds: event!.token_ids }])])
    expect(shown(made)).toBe(shown(capture))
  })

  it("have the last array form's positions, the window's group too", () => {
    const expected = golden("a5-hybrid-sliding-window-group")[1] as ReadonlyArray<Wire>
    const [block] = chain(expected[0]![1] as ReadonlyArray<bigint>, 100)
    const made = write({ encoding: "array", slidingWindow: 4096 }, 1.5, [
      stored([block!]),
      stored([block!], { windowed: [block!] }),
      removed(block!, { windowed: true })
    ])
    const events = made[1] as ReadonlyArray<Wire>
    // That form's every field is sent, nil for a window where there is none.
    expect(shown(events[0])).toBe(shown([...expected[0]!.slice(0, 11), null]))
    expect(shown(events.slice(1))).toBe(shown(expected.slice(1)))
  })

  it("tell of a chunk longer than the window with all its tokens and the hashes of its end", () => {
    const expected = golden("m5-masked-blocks-more-tokens-than-hashes")[1] as ReadonlyArray<Stored>
    const hash = expected[0]!.block_hashes[0]!
    const parent = (expected[0] as unknown as { readonly parent_block_hash: bigint }).parent_block_hash
    const blocks = chain([parent, 1n, 2n, hash], 100).slice(1)
    expect(shown(write({}, 1.5, [stored(blocks, { windowed: [blocks[2]!] })])[1])).toBe(shown(expected))
  })

  it("tell of the host by hash alone, or with everything, and of the disk", () => {
    const bare = golden("m5-cpu-offload-placeholder")[1] as ReadonlyArray<Stored>
    const blocks = chain(bare[0]!.block_hashes, 100)
    const one = (made: Wire) => (made[1] as ReadonlyArray<unknown>)[0]
    const host = stored([blocks[1]!], { tier: "host" })
    expect(shape(one(write({}, 1.5, [host])))).toEqual(shape(bare[0]))
    const described = golden("m6-cpu-self-describing")[1] as ReadonlyArray<object>
    const { extra_keys, ...made } = one(
      write({ offload: "described" }, 1.5, [stored(blocks.slice(0, 2), { tier: "host" })])
    ) as {
      readonly extra_keys: unknown
    }
    expect(shown(made)).toBe(shown(described[0]))
    expect(extra_keys).toEqual([null, null])
    const gone = write({ offload: "described" }, 1.5, [removed(blocks[1]!, { tier: "host" })])
    expect(shown(one(gone))).toBe(shown(described[2]))
    const disk = one(write({ offload: "described" }, 1.5, [stored([blocks[0]!], { tier: "disk" })]))
    expect(disk).toMatchObject({ medium: "STORAGE", ownership: "fs" })
  })

  it("carry digests as bytes, adapters, pictures and salts as the vectors do", () => {
    const [event] = golden("m5-bytes-multimodal-lora-salt-embeds")[1] as ReadonlyArray<object>
    const item = "9f".repeat(32)
    const more = { lora: "vl-adapter", mm: [[item, 3]] as const }
    const [parent, block] = chain([1n, 2n], 184, 16)
    const made = write({ hashForm: "bytes", loras: ["x", "vl-adapter"] }, 1.5, [
      stored([{ ...block!, ...more, parent: parent! }])
    ])
    const [own] = made[1] as ReadonlyArray<Record<string, unknown>>
    expect(shape(own)).toEqual(shape(event))
    expect(own).toMatchObject({ lora_id: 2, lora_name: "vl-adapter", extra_keys: [["vl-adapter", [item, 3]]] })
  })
})

describe("SGLang's events", () => {
  it("in array form send nil and say the medium by its own name", () => {
    const expected = golden("sglang-array-cpu-pinned")
    const [block] = chain((expected[1] as ReadonlyArray<Wire>)[0]![1] as ReadonlyArray<bigint>, 100)
    const made = decoded(
      Sglang.encode("array", 0)(1.5, [stored([block!]), stored([block!], { tier: "host" }), removed(block!)])
    )
    expect(shown(made.slice(1))).toBe(shown(expected.slice(1)))
  })

  it("in array form put a salt into an eighth element, a map", () => {
    const expected = golden("sglang-array-salted-metadata")
    const hashes = (expected[1] as ReadonlyArray<Wire>)[0]![1] as ReadonlyArray<bigint>
    const made = decoded(Sglang.encode("array", 0)(1.5, [stored(chain(hashes, 100, 16, { salt: "tenant-a" }))]))
    expect(shown(made.slice(1))).toBe(shown(expected.slice(1)))
  })

  it("in map form leave defaults out, hashes signed, the rank nil", () => {
    const expected = golden("sglang-map-salt-session-lora")
    const [first, ...others] = expected[1] as ReadonlyArray<Stored & { readonly parent_block_hash: bigint }>
    // A session is not told of here.
    const { session_id: _, ...told } = first as unknown as Record<string, unknown>
    const facts = { salt: "tenant-a", lora: "sql-adapter" }
    const blocks = chain([first!.parent_block_hash, ...first!.block_hashes], 84).map((each) => ({ ...each, ...facts }))
    const made = decoded(Sglang.encode("map", null)(1.5, [stored(blocks.slice(1)), { _tag: "Cleared" }]))
    expect(shown(made[1])).toBe(shown([told, others[1]]))
    expect(made[2]).toBe(null)
    const [gone] = decoded(Sglang.encode("map", null)(1.5, [removed(blocks[1]!, { tier: "disk" })]))[1] as [object]
    expect(shape(gone)).toEqual(shape(others[0]))
    expect(gone).toMatchObject({ medium: "DISK" })
  })
})

describe("TensorRT-LLM's events", () => {
  it("are maps with pictures in mm_keys", () => {
    const expected = golden("trtllm-map-mm-keys")
    const [first, second] = expected[1] as ReadonlyArray<Stored>
    const mm = [["ab".repeat(32), 1]] as const
    const [block] = chain(first!.block_hashes, 1, 4, { mm })
    const [gone] = chain(second!.block_hashes, 1)
    const made = decoded(Trtllm.encode(2)(1.5, [stored([block!]), removed(gone!)]))
    expect(shown(made.slice(1))).toBe(shown(expected.slice(1)))
  })
})
