import { xxh3 } from "@node-rs/xxhash"
import { describe, expect, it } from "vitest"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import dynamo from "../support/vectors/dynamo-block-hashes.json" with { type: "json" }
import * as Xxh3Build from "../support/Xxh3Build.ts"

const u64 = (lanes: Int32Array, i = 0): bigint =>
  BigInt.asUintN(64, (BigInt(lanes[i * 2 + 1]!) << 32n) | BigInt(lanes[i * 2]! >>> 0))

const bytesOf = (...values: ReadonlyArray<bigint>): Buffer => {
  const out = Buffer.alloc(values.length * 8)
  values.forEach((value, i) => void out.writeBigUInt64LE(value, i * 8))
  return out
}

/** The chain by the book, one native hash at a time. */
const naive = (
  tokens: Uint32Array,
  blockSize: number,
  root: bigint,
  seed: bigint,
  extras?: Int32Array
): Array<bigint> => {
  const keys: Array<bigint> = []
  let key = root
  for (let i = 0; (i + 1) * blockSize <= tokens.length; i++) {
    let local = xxh3.xxh64(Buffer.from(tokens.slice(i * blockSize, (i + 1) * blockSize).buffer), seed)
    const extra = extras === undefined ? 0n : u64(extras, i)
    if (extra !== 0n) local = xxh3.xxh64(bytesOf(local, extra), seed)
    key = xxh3.xxh64(bytesOf(key, local), seed)
    keys.push(key)
  }
  return keys
}

const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0
  return seed >>> 0
}

const tokensOf = (count: number, seed: number): Uint32Array => {
  const next = random(seed)
  return Uint32Array.from({ length: count }, () => next() % 200_000)
}

const namespace = { model: "m", lora: null, salt: null, blockSize: 16 }

describe("BlockHash", () => {
  it.each([0n, 1337n, 0xfedc_ba98_7654_3210n])("equals the native XXH3-64 for every length, seed %s", (seed) => {
    const hasher = BlockHash.make(seed)
    const next = random(7)
    const bytes = Buffer.from(Uint8Array.from({ length: 4_200 }, () => next() >>> 24))
    for (let length = 0; length <= bytes.length; length += length < 1_100 ? 1 : 97) {
      expect(u64(hasher.hash(bytes.subarray(0, length)))).toBe(xxh3.xxh64(bytes.subarray(0, length), seed))
    }
  })

  it.each(dynamo.vectors)("without a root gives Dynamo's chain: $name", ({ block_size, blocks, tokens }) => {
    const keys = BlockHash.make(1337n).chain(Uint32Array.from(tokens), block_size, null)
    expect(blocks.map((_, i) => u64(keys, i))).toEqual(blocks.map((block) => BigInt(block.sequence)))
  })

  it.each([1, 3, 4, 16, 31, 64, 512, 16_384])("chains from the root, %i tokens a block", (blockSize) => {
    const hasher = BlockHash.make(99n)
    const root = hasher.root({ ...namespace, blockSize })
    const tokens = tokensOf(blockSize * 5 + (blockSize > 1 ? 1 : 0) + 40_000 - (40_000 % blockSize), blockSize)
    const keys = hasher.chain(tokens, blockSize, root)
    const expected = naive(tokens, blockSize, u64(root), 99n)
    expect(keys.length).toBe(expected.length * 2)
    expect(expected.findIndex((key, i) => key !== u64(keys, i))).toBe(-1)
  })

  it("gives the same keys piece by piece as in one call", () => {
    const hasher = BlockHash.make()
    const tokens = tokensOf(16 * 300 + 5, 1)
    const root = hasher.root(namespace)
    const whole = hasher.chain(tokens, 16, root)
    const pieces = new Int32Array(whole.length)
    for (let from = 0, size = 4; from < 300; from += size, size = Math.min(64, size * 2)) {
      hasher.chain(tokens, 16, root, pieces, from, Math.min(300, from + size))
    }
    expect(pieces).toEqual(whole)
    const rootless = hasher.chain(tokens, 16, null)
    expect(hasher.chain(tokens, 16, null, rootless.slice(), 7)).toEqual(rootless)
  })

  it("continues a chain from any of its keys, as events do", () => {
    const hasher = BlockHash.make()
    const tokens = tokensOf(16 * 20, 2)
    const root = hasher.root(namespace)
    const whole = hasher.chain(tokens, 16, root)
    expect(hasher.extend(root[0]!, root[1]!, tokens, 16)).toEqual(whole)
    expect(hasher.extend(whole[18]!, whole[19]!, tokens.subarray(160), 16)).toEqual(whole.slice(20))
  })

  it("folds what besides tokens is in a block into that block and all after it", () => {
    const hasher = BlockHash.make()
    const tokens = tokensOf(16 * 4, 3)
    const root = hasher.root(namespace)
    const extras = hasher.extras([null, [["image-1", -3]], [], [["image-1", -19], new Uint8Array([1, 2])]])
    expect([0, 2].map((i) => u64(extras, i))).toEqual([0n, 0n])
    const keys = hasher.extend(root[0]!, root[1]!, tokens, 16, extras)
    expect([0, 1, 2, 3].map((i) => u64(keys, i))).toEqual(naive(tokens, 16, u64(root), 1337n, extras))
    expect(keys.subarray(0, 2)).toEqual(hasher.chain(tokens, 16, root).subarray(0, 2))
    expect(u64(keys, 1)).not.toBe(u64(hasher.chain(tokens, 16, root), 1))
  })

  it("tells extra keys apart that would read alike when joined", () => {
    const hasher = BlockHash.make()
    const keys = [[["ab"]], [["a", "b"]], [[["ab"]]], [["a"], ["b"]], [[12]], [["12"]], [[new Uint8Array([1, 2])]]]
    const seen = keys.map((key) => u64(hasher.extras([key])))
    expect(new Set(seen).size).toBe(keys.length)
  })

  it("never lets two namespaces share a key", () => {
    const hasher = BlockHash.make()
    const tokens = tokensOf(64, 4)
    const variants = [
      namespace,
      { ...namespace, model: "n" },
      { ...namespace, lora: "x" },
      { ...namespace, salt: "x" },
      { ...namespace, lora: "" },
      { ...namespace, salt: "" },
      { ...namespace, lora: "-" },
      { ...namespace, model: "m 1:x" },
      { ...namespace, blockSize: 32 }
    ]
    const first = variants.map((variant) => u64(hasher.chain(tokens, 16, hasher.root(variant))))
    expect(new Set(first).size).toBe(variants.length)
  })

  it("keys text by runs of bytes when there are no tokens", () => {
    const hasher = BlockHash.make()
    const root = hasher.root(namespace)
    const text = "grüße, ".repeat(40_000)
    const keys = hasher.textBlocks(text, 64, root)
    expect(keys.length).toBe(Math.floor(Buffer.byteLength(text) / 64) * 2)
    expect(hasher.textBlocks(`${text}more`, 64, root).subarray(0, keys.length)).toEqual(keys)
    const other = hasher.textBlocks(`G${text.slice(1)}`, 64, root)
    expect(other.some((lane, i) => lane === keys[i])).toBe(false)
  })

  it("hashes names longer than its input, all of them", () => {
    const hasher = BlockHash.make()
    const long = new Uint8Array(200_000)
    const before = u64(hasher.hash(long))
    for (const at of [0, 65_536, 199_999]) {
      const other = long.slice()
      other[at] = 1
      expect(u64(hasher.hash(other))).not.toBe(before)
    }
  })

  it.each([0, -4, 1.5, 16_385, Number.NaN])("refuses a block size of %s instead of looping", (blockSize) => {
    const hasher = BlockHash.make()
    const root = hasher.root(namespace)
    const tokens = tokensOf(64, 5)
    const out = new Int32Array(8)
    expect(() => hasher.chain(tokens, blockSize, root, out, 0, 1)).toThrow("1 to 16384")
    expect(() => hasher.extend(1, 1, tokens, blockSize, null, out)).toThrow("1 to 16384")
    expect(() => hasher.textBlocks("some text", blockSize * 4 + 0.5, root)).toThrow("1 to 65536")
  })

  it("is compiled from the source beside it", async () => {
    expect(await Xxh3Build.build()).toBe(Xxh3Build.committed())
  })
})
