/**
 * Block keys: chained XXH3-64 over whole token arrays, 14 ns per 16-token block.
 *
 *   local_i = XXH3(tokens of block i, u32 little-endian)      (an extra word, if any: XXH3(local_i || extra_i))
 *   key_0   = XXH3(root || local_0)      key_i = XXH3(key_{i-1} || local_i)
 *
 * `root` is the hash of the namespace (model, adapter, salt, block size), so keys of different namespaces never meet.
 * Without a root, key_0 = local_0: the chain that Dynamo and Mooncake use (seed 1337), kept for comparison.
 * Source of the hash: Cyan4973/xxHash; it runs as WebAssembly (`wasm/xxh3.as`) because JS has no 64-bit multiply.
 */
import type { KeyLanes, Namespace } from "../domain/Block.ts"
import { xxh3Wasm } from "./Xxh3Wasm.ts"

/** Tokens per block at most: one block must fit the module's input (64 KiB). */
export const blockSizeMax = 16_384

/** The part of the JS API we use; the DOM library, which declares it, is not ours. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: object }
}

interface Xxh3 {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly inputBytes: { readonly value: number }
  readonly input: { readonly value: number }
  readonly extra: { readonly value: number }
  readonly output: { readonly value: number }
  readonly setSeed: (lo: number, hi: number) => void
  readonly setPrevious: (lo: number, hi: number) => void
  readonly hash: (length: number) => void
  readonly chain: (blocks: number, blockBytes: number, rootless: number, extras: number) => void
}

const module = new WebAssembly.Module(Buffer.from(xxh3Wasm, "base64"))

const utf8 = new TextEncoder()

/** One seed, one module instance of 448 KiB that never grows; synchronous and not to be shared between threads. */
export class Hasher {
  readonly seed: bigint
  private readonly xxh3: Xxh3
  private readonly bytes: Uint8Array
  private readonly words: Uint32Array
  private readonly extra: Int32Array
  private readonly output: Int32Array

  constructor(seed: bigint) {
    this.seed = BigInt.asUintN(64, seed)
    this.xxh3 = new WebAssembly.Instance(module).exports as Xxh3
    const { extra, input, inputBytes, memory, output } = this.xxh3
    const length = inputBytes.value
    this.bytes = new Uint8Array(memory.buffer, input.value, length)
    this.words = new Uint32Array(memory.buffer, input.value, length >> 2)
    this.extra = new Int32Array(memory.buffer, extra.value, length >> 1)
    this.output = new Int32Array(memory.buffer, output.value, length >> 1)
    this.xxh3.setSeed(Number(BigInt.asIntN(32, this.seed)), Number(BigInt.asIntN(32, this.seed >> 32n)))
  }

  /** XXH3-64 of up to 64 KiB, as lanes; longer input is hashed as the chain of its 64 KiB pieces. */
  hash(bytes: Uint8Array): KeyLanes {
    const max = this.bytes.length
    if (bytes.length > max) {
      const whole = bytes.length - (bytes.length % max)
      const head = this.run(bytes.subarray(0, whole), max, null)
      const rest = this.hash(bytes.subarray(whole))
      return this.hash(lanesAsBytes(head[head.length - 2]!, head[head.length - 1]!, rest[0]!, rest[1]!))
    }
    this.bytes.set(bytes)
    this.xxh3.hash(bytes.length)
    return Int32Array.of(this.output[0]!, this.output[1]!)
  }

  /** What every key of a namespace starts from. Fields are length-prefixed, so no two namespaces spell alike. */
  root(namespace: Namespace): KeyLanes {
    const text = (value: string | null) => (value === null ? "-" : `${value.length}:${value}`)
    const { blockSize, lora, model, salt } = namespace
    return this.hash(utf8.encode(`warmpath/1 ${blockSize} ${text(model)} ${text(lora)} ${text(salt)}`))
  }

  /**
   * Keys of the full blocks `from` (included) to `to` (excluded), written into `out` at their place. `out` must hold
   * the keys before `from`; a caller that looks up as it goes hashes a long prompt piece by piece. Null root: Dynamo's chain.
   */
  chain(
    tokens: Uint32Array,
    blockSize: number,
    root: KeyLanes | null,
    out: Int32Array = new Int32Array(Math.floor(tokens.length / blockSize) * 2),
    from = 0,
    to: number = Math.floor(tokens.length / blockSize)
  ): KeyLanes {
    if (from > 0) this.xxh3.setPrevious(out[from * 2 - 2]!, out[from * 2 - 1]!)
    else if (root !== null) this.xxh3.setPrevious(root[0]!, root[1]!)
    const { output, words } = this
    const stride = blocksPerCall(words.length, blockSize)
    for (let block = from; block < to; block += stride) {
      const count = Math.min(stride, to - block)
      words.set(tokens.subarray(block * blockSize, (block + count) * blockSize))
      this.xxh3.chain(count, blockSize * 4, root === null && block === 0 ? 1 : 0, 0)
      out.set(output.subarray(0, count * 2), block * 2)
    }
    return out
  }

  /**
   * Keys of the full blocks that follow the block or root `(parentLo, parentHi)`. `extras`: two lanes per block, what
   * besides tokens is part of it (`Hasher.extras`); zero lanes mean nothing.
   */
  extend(
    parentLo: number,
    parentHi: number,
    tokens: Uint32Array,
    blockSize: number,
    extras: Int32Array | null = null,
    out: Int32Array = new Int32Array(Math.floor(tokens.length / blockSize) * 2)
  ): KeyLanes {
    this.xxh3.setPrevious(parentLo, parentHi)
    const { extra, output, words } = this
    const blocks = Math.floor(tokens.length / blockSize)
    const stride = blocksPerCall(words.length, blockSize)
    for (let block = 0; block < blocks; block += stride) {
      const count = Math.min(stride, blocks - block)
      const first = block * blockSize
      const length = count * blockSize
      // Views and bulk copies cost as much as hashing several blocks.
      if (length <= 64) for (let i = 0; i < length; i++) words[i] = tokens[first + i]!
      else words.set(length === tokens.length ? tokens : tokens.subarray(first, first + length))
      if (extras !== null) extra.set(extras.subarray(block * 2, (block + count) * 2))
      this.xxh3.chain(count, blockSize * 4, 0, extras === null ? 0 : 1)
      if (count > 128) out.set(output.subarray(0, count * 2), block * 2)
      else for (let i = 0, at = block * 2; i < count * 2; i++) out[at + i] = output[i]!
    }
    return out
  }

  /**
   * One extra word per block from what else is in it: strings (content hashes of images, audio), numbers (the item's
   * offset from the block's first token), bytes, and lists of these. A block with none gets zero lanes.
   */
  extras(keys: ReadonlyArray<ReadonlyArray<unknown> | null>): Int32Array {
    const out = new Int32Array(keys.length * 2)
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]
      if (key === null || key === undefined || key.length === 0) continue
      out.set(this.hash(utf8.encode(spell(key))), i * 2)
    }
    return out
  }

  /**
   * Keys of text where no tokenizer is at hand: full runs of `blockBytes` UTF-8 bytes, chained like tokens. A worker
   * followed this way is approximate; only our own placements are ever compared with these.
   */
  textBlocks(text: string | Uint8Array, blockBytes: number, root: KeyLanes): KeyLanes {
    return this.run(typeof text === "string" ? utf8.encode(text) : text, blockBytes, root)
  }

  private run(bytes: Uint8Array, blockBytes: number, root: KeyLanes | null): KeyLanes {
    const stride = blocksPerCall(this.bytes.length, blockBytes)
    const blocks = Math.floor(bytes.length / blockBytes)
    const out = new Int32Array(blocks * 2)
    if (root !== null) this.xxh3.setPrevious(root[0]!, root[1]!)
    for (let block = 0; block < blocks; block += stride) {
      const count = Math.min(stride, blocks - block)
      this.bytes.set(bytes.subarray(block * blockBytes, (block + count) * blockBytes))
      this.xxh3.chain(count, blockBytes, root === null && block === 0 ? 1 : 0, 0)
      out.set(this.output.subarray(0, count * 2), block * 2)
    }
    return out
  }
}

/** 1337 is the seed of Dynamo's and Mooncake's chains. A fleet that fears crafted prompts picks a secret one. */
export const make = (seed = 1337n): Hasher => new Hasher(seed)

/** Blocks of `size` that fit the input at once. Throws a RangeError on a size that never fits. */
const blocksPerCall = (room: number, size: number): number => {
  if (size >= 1 && size <= room && Number.isInteger(size)) return Math.floor(room / size)
  throw new RangeError(`A block of ${size} cannot be hashed: give a whole number from 1 to ${room}`)
}

const lanesAsBytes = (...lanes: ReadonlyArray<number>): Uint8Array => new Uint8Array(Int32Array.from(lanes).buffer)

/** Spells a key without ambiguity: every part says its kind and its length. */
const spell = (value: unknown): string => {
  if (typeof value === "string") return `s${value.length}:${value}`
  if (typeof value === "number" || typeof value === "bigint") return `i${value};`
  if (value instanceof Uint8Array) return `b${value.length}:${Buffer.from(value).toString("hex")}`
  if (Array.isArray(value)) return `l${value.length}:${value.map(spell).join("")}`
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `m${fields.length}:${fields.map(([name, field]) => spell(name) + spell(field)).join("")}`
  }
  return "n;"
}
