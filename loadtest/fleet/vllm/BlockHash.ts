/**
 * vLLM's block hashes, `sha256_cbor`: each block's digest covers its parent's digest, its tokens, and its extra keys.
 *
 * Source: vllm-project/vllm `vllm/v1/core/kv_cache_utils.py` (`init_none_hash`, `generate_block_hash_extra_keys`,
 * `hash_block_tokens`). Written apart from the router's hashing on purpose, so that tests compare two implementations.
 */
import { createHash, randomBytes } from "node:crypto"
import type { MmKey, Namer } from "../CacheEvent.ts"

/** What besides tokens keeps a block apart: adapter, pictures, salt. */
export type Extra = string | MmKey

/** Names the blocks of one rank and life. Adapters and salts are in the digest, so the digest is the key. */
export const namer = (seed: string | null): Namer => {
  const root = rootDigest(seed)
  return (block) => {
    const made = digest(block.parent?.digest ?? root, block.tokenIds, 0, block.tokenIds.length, extraKeys(block))
    return { key: made.toString("latin1"), digest: made, published: published(made) }
  }
}

/** In vLLM's order: the adapter in every block, pictures in those they touch, the salt in the first only. */
export const extraKeys = ({ lora, mm, parent, salt }: Parameters<Namer>[0]): ReadonlyArray<Extra> => [
  ...(lora === null ? [] : [lora]),
  ...mm,
  ...(salt === null || parent !== null ? [] : [salt])
]

/** Digest that stands for "no parent": of the seed's text, or random when there is no seed. */
export const rootDigest = (seed: string | null): Buffer =>
  seed === null ? randomBytes(32) : createHash("sha256").update(cborText(seed)).digest()

/** Digest of the block of tokens `[from, to)`. */
export const digest = (
  parent: Uint8Array,
  tokens: ArrayLike<number>,
  from: number,
  to: number,
  extra: ReadonlyArray<Extra>
): Buffer => {
  const out = Buffer.allocUnsafe(48 + (to - from) * 5)
  out[0] = 0x83
  out[1] = 0x58
  out[2] = parent.length
  out.set(parent, 3)
  let at = head(out, 3 + parent.length, 0x80, to - from)
  for (let i = from; i < to; i++) at = head(out, at, 0x00, tokens[i]!)
  const hash = createHash("sha256").update(out.subarray(0, at))
  if (extra.length === 0) return hash.update(Buffer.of(0xf6)).digest()
  return hash
    .update(Buffer.of(0x80 | extra.length))
    .update(Buffer.concat(extra.map(cborExtra)))
    .digest()
}

/** What events carry: the last eight bytes, big-endian, unsigned. */
export const published = (digest: Buffer): bigint => digest.readBigUInt64BE(digest.length - 8)

const cborExtra = (extra: Extra): Buffer =>
  typeof extra === "string" ? cborText(extra) : Buffer.concat([Buffer.of(0x82), cborText(extra[0]), cborInt(extra[1])])

const cborText = (text: string): Buffer => {
  const utf8 = Buffer.from(text, "utf8")
  return Buffer.concat([cborHead(0x60, utf8.length), utf8])
}

const cborInt = (value: number): Buffer => (value < 0 ? cborHead(0x20, -1 - value) : cborHead(0x00, value))

const cborHead = (major: number, value: number): Buffer => {
  const out = Buffer.allocUnsafe(5)
  return out.subarray(0, head(out, 0, major, value))
}

/** Writes a CBOR head of major type `major` in its shortest form. Answers the offset behind it. */
const head = (out: Buffer, at: number, major: number, value: number): number => {
  if (value < 24) {
    out[at] = major | value
    return at + 1
  }
  if (value < 0x100) {
    out[at] = major | 24
    out[at + 1] = value
    return at + 2
  }
  if (value < 0x10000) {
    out[at] = major | 25
    return out.writeUInt16BE(value, at + 1)
  }
  out[at] = major | 26
  return out.writeUInt32BE(value, at + 1)
}
