/**
 * vLLM's block hashes, `sha256_cbor`: each block's digest covers its parent's digest, its tokens, and its extra keys.
 *
 * Source: vllm-project/vllm `vllm/v1/core/kv_cache_utils.py` (`init_none_hash`, `hash_block_tokens`). Written apart from
 * the router's hashing on purpose, so that tests compare two implementations.
 */
import { createHash, randomBytes } from "node:crypto"

/** Digest that stands for "no parent": of the seed's text, or random when there is no seed. */
export const rootDigest = (seed: string | null): Buffer =>
  seed === null ? randomBytes(32) : createHash("sha256").update(cborText(seed)).digest()

/** Digest of the block of tokens `[from, to)`. `extra` holds what besides tokens keeps it apart: adapter, salt. */
export const digest = (
  parent: Uint8Array,
  tokens: ArrayLike<number>,
  from: number,
  to: number,
  extra: ReadonlyArray<string>
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
    .update(Buffer.concat(extra.map(cborText)))
    .digest()
}

/** What events carry: the last eight bytes, big-endian, unsigned. */
export const published = (digest: Buffer): bigint => digest.readBigUInt64BE(digest.length - 8)

const cborText = (text: string): Buffer => {
  const utf8 = Buffer.from(text, "utf8")
  const prefix = Buffer.allocUnsafe(5)
  return Buffer.concat([prefix.subarray(0, head(prefix, 0, 0x60, utf8.length)), utf8])
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
