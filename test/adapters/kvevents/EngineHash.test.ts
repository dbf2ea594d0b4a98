import { xxh3 } from "@node-rs/xxhash"
import { describe, expect, it } from "vitest"
import * as EngineHash from "../../../src/adapters/kvevents/EngineHash.ts"
import type { BlockStored } from "../../../src/domain/KvEvent.ts"
import * as BlockHash from "../../../src/hot/BlockHash.ts"
import { unsaid } from "../../support/Unsaid.ts"
import vectors from "../../support/vectors/vllm-block-hashes.json" with { type: "json" }

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** XXH3-128, canonical. The router has no need of it; here it shows that the spellings are right for it too. */
const xxh128 = (bytes: Uint8Array): Uint8Array =>
  Buffer.from(xxh3.xxh128(Buffer.from(bytes)).toString(16).padStart(32, "0"), "hex")

const { sha256, sha256_cbor } = EngineHash.vllmSchemes
const schemes: Record<string, EngineHash.VllmScheme> = {
  sha256,
  sha256_cbor,
  xxhash: { ...sha256, digest: xxh128 },
  xxhash_cbor: { ...sha256_cbor, digest: xxh128 }
}

const extraKeys = (value: unknown): EngineHash.ExtraKeys => {
  if (!Array.isArray(value)) return null
  return value.map((key) => (key?.$bytes === undefined ? key : Buffer.from(key.$bytes, "hex")))
}

const lanesOf = (published: Uint8Array): Int32Array => {
  const last = Buffer.from(published).subarray(-8)
  return Int32Array.of(last.readInt32BE(4), last.readInt32BE(0))
}

const rootOf = (tokens: ReadonlyArray<number>, blockSize: number, first: Uint8Array): BlockStored => ({
  _tag: "BlockStored",
  hashes: lanesOf(first),
  parent: null,
  tokenIds: Uint32Array.from(tokens.slice(0, blockSize)),
  blockSize,
  ...unsaid
})

describe("EngineHash", () => {
  it.each(vectors.vllm)(
    "reproduces vLLM's chain $name",
    ({ algorithm, block_size, blocks, none_hash, pythonhashseed, tokens }) => {
      const scheme = schemes[algorithm]!
      expect(hex(scheme.digest(scheme.spell(pythonhashseed)))).toBe(none_hash)
      const extras = blocks.map((block) => extraKeys(block.extra_keys))
      const digests = EngineHash.vllmChain(scheme, pythonhashseed, tokens, block_size, extras)
      expect(digests.map(hex)).toEqual(blocks.map((block) => block.digest))
      expect(digests.map((digest) => BigInt(`0x${hex(digest).slice(-16)}`).toString())).toEqual(
        blocks.map((block) => block.event_int)
      )
    }
  )

  it.each(vectors.sglang)(
    "reproduces SGLang's chain $name",
    ({ bigram, blocks, cache_salt, lora_name, page_size, tokens }) => {
      const published = EngineHash.sglangChain(tokens, page_size, { salt: cache_salt, lora: lora_name, bigram })
      expect(published.map((bytes) => Buffer.from(bytes).readBigInt64BE().toString())).toEqual(
        blocks.map((block) => block.event_int)
      )
    }
  )

  it.each(vectors.dynamo.vectors)("reproduces Dynamo's chain $name", ({ block_size, blocks, tokens }) => {
    const lanes = BlockHash.make(1337n).chain(Uint32Array.from(tokens), block_size, null)
    expect(
      blocks.map((_, i) => ((BigInt(lanes[i * 2 + 1]! >>> 0) << 32n) | BigInt(lanes[i * 2]! >>> 0)).toString())
    ).toEqual(blocks.map((block) => block.sequence))
  })

  it("covers every hash there is: 132 of vLLM, 20 of SGLang, 7 of Dynamo", () => {
    const count = (chains: ReadonlyArray<{ readonly blocks: ReadonlyArray<unknown> }>) =>
      chains.reduce((sum, { blocks }) => sum + blocks.length, 0)
    expect([vectors.vllm, vectors.sglang, vectors.dynamo.vectors].map(count)).toEqual([132, 20, 7])
  })
})

describe("EngineHash.describe", () => {
  it("names the scheme and the seed of every chain without extra keys, and knows none for the others", () => {
    const told = new Set<string | null>()
    for (const { algorithm, block_size, blocks, pythonhashseed, tokens } of vectors.vllm) {
      if (blocks[0]!.extra_keys !== null) continue
      const event = rootOf(tokens, block_size, Buffer.from(blocks[0]!.digest, "hex"))
      const scheme = EngineHash.describe(event)
      expect(scheme).toBe(algorithm.startsWith("sha256") ? `${algorithm}, PYTHONHASHSEED=${pythonhashseed}` : null)
      told.add(scheme)
    }
    expect(told.size).toBe(7)
  })

  it("knows SGLang, whose hashes need no seed, with and without salt and adapter", () => {
    for (const { bigram, blocks, cache_salt, lora_name, page_size, tokens } of vectors.sglang) {
      const published = Buffer.alloc(8)
      published.writeBigInt64BE(BigInt(blocks[0]!.event_int))
      const event = { ...rootOf(tokens, page_size, published), salt: cache_salt, loraName: lora_name }
      expect(EngineHash.describe(event)).toBe(bigram ? null : "sglang")
    }
  })

  it("has no name for a random seed, and none where the event cannot tell", () => {
    const { blocks, tokens } = vectors.vllm.find(({ name }) => name === "sha256_cbor/ascending_0_63/seed0")!
    const known = rootOf(tokens, 16, Buffer.from(blocks[0]!.digest, "hex"))
    expect(EngineHash.describe(known)).toBe("sha256_cbor, PYTHONHASHSEED=0")
    for (const other of [
      { hashes: Int32Array.of(known.hashes[0]!, known.hashes[1]! ^ 1) },
      { hashes: new Int32Array(0) },
      { parent: Int32Array.of(1, 2) },
      { extraKeys: [["salt"]] },
      { loraName: "sql-adapter" },
      { loraId: 3 },
      { tokenIds: new Uint32Array(0), blockSize: 0 },
      { tokenIds: known.tokenIds.subarray(0, 15) }
    ]) {
      expect(EngineHash.describe({ ...known, ...other })).toBe(null)
    }
  })
})
