/**
 * The engines' own block hashes, computed here: to say by which scheme and seed a publisher made the ones it sends.
 *
 *   vLLM    block = SHA-256(serialised (parent digest, tokens, extra keys or None)), root's parent = the hash of
 *           PYTHONHASHSEED as a text, or random bytes when it is unset; published: the digest's last 8 bytes
 *   SGLang  page = SHA-256(prior digest ‖ tokens, u32 little-endian); published: the digest's first 8 bytes
 *
 * Not for the path of every event: about 100 000 blocks/s.
 * Sources: vllm-project/vllm `vllm/v1/core/kv_cache_utils.py`, `vllm/utils/hashing.py`; sgl-project/sglang
 * `python/sglang/srt/mem_cache/utils.py`.
 */
import { hash } from "node:crypto"
import type { BlockStored } from "../../domain/KvEvent.ts"
import { cbor } from "./Cbor.ts"
import { pickle } from "./Pickle.ts"

/** What enters a block's hash besides tokens: texts, bytes, or `[item, offset]`. */
export type ExtraKeys = ReadonlyArray<unknown> | null

/** One of vLLM's ways to hash a Python value: how it is spelt as bytes, and the digest of those. */
export interface VllmScheme {
  readonly spell: (value: unknown) => Uint8Array
  readonly digest: (bytes: Uint8Array) => Uint8Array
}

const sha256 = (bytes: Uint8Array): Uint8Array => hash("sha256", bytes, "buffer")

/** `--prefix-caching-hash-algo` by name. */
export const vllmSchemes = {
  sha256_cbor: { spell: cbor, digest: sha256 },
  sha256: { spell: pickle, digest: sha256 }
} as const satisfies Record<string, VllmScheme>

/** Digests of the full blocks of a sequence from its start. `extras`: one entry per block, or none at all. */
export const vllmChain = (
  scheme: VllmScheme,
  pythonHashSeed: string,
  tokens: ArrayLike<number>,
  blockSize: number,
  extras: ReadonlyArray<ExtraKeys> | null = null
): Array<Uint8Array> => {
  const digests: Array<Uint8Array> = []
  let parent = scheme.digest(scheme.spell(pythonHashSeed))
  for (let at = 0; at + blockSize <= tokens.length; at += blockSize) {
    const block = Array.from({ length: blockSize }, (_, i) => tokens[at + i]!)
    parent = scheme.digest(scheme.spell([parent, block, extras?.[digests.length] ?? null]))
    digests.push(parent)
  }
  return digests
}

export interface SglangIdentity {
  readonly salt: string | null
  readonly lora: string | null
  /** Keys are pairs of a token and the next (EAGLE): the sequence has one token more than its pages. */
  readonly bigram: boolean
}

/** The published 8 bytes of the full pages of a sequence from its start. */
export const sglangChain = (
  tokens: ArrayLike<number>,
  pageSize: number,
  { bigram, lora, salt }: SglangIdentity
): Array<Uint8Array> => {
  const published: Array<Uint8Array> = []
  const seed = lora === null ? null : sha256(Buffer.from(`sglang-kv-event-lora-v1\0${lora}`))
  const step = bigram ? 8 : 4
  let prior = salt === null ? new Uint8Array(0) : sha256(Buffer.from(`sglang-cache-salt-v1\0${salt}`))
  const pages = Math.floor((tokens.length - (bigram ? 1 : 0)) / pageSize)
  for (let page = 0; page < pages; page++) {
    const input = Buffer.alloc(prior.length + pageSize * step)
    input.set(prior)
    for (let i = 0; i < pageSize; i++) {
      const token = page * pageSize + i
      input.writeUInt32LE(tokens[token]!, prior.length + i * step)
      if (bigram) input.writeUInt32LE(tokens[token + 1]!, prior.length + i * step + 4)
    }
    prior = sha256(input)
    const value = prior.subarray(0, 8)
    published.push(seed === null ? value : sha256(Buffer.concat([seed, value])).subarray(0, 8))
  }
  return published
}

/** Seeds that people set. Unset, vLLM's is random, and nothing can tell it. */
const seeds = ["0", "42", "1337"]

/**
 * How a publisher hashes, from one store without extra keys at the start of a sequence: `sha256_cbor,
 * PYTHONHASHSEED=0`, `sglang`, …; null when nothing known reproduces the first hash (a random or unknown seed, or
 * another scheme), or the event cannot tell. About 40 µs; meant to be asked once per publisher.
 */
export const describe = (event: BlockStored): string | null => {
  const { blockSize, extraKeys, hashes, loraId, loraName, parent, salt, tokenIds } = event
  if (parent !== null || extraKeys !== null || hashes.length === 0) return null
  if (blockSize < 1 || tokenIds.length * 2 !== hashes.length * blockSize) return null
  const first = tokenIds.subarray(0, blockSize)
  const isFirst = (digest: Uint8Array): boolean => {
    const view = Buffer.from(digest.buffer, digest.byteOffset + digest.length - 8, 8)
    return view.readInt32BE(4) === hashes[0] && view.readInt32BE(0) === hashes[1]
  }
  if (isFirst(sglangChain(first, blockSize, { salt, lora: loraName, bigram: false })[0]!)) return "sglang"
  if (salt !== null || loraName !== null || loraId !== null) return null
  for (const seed of seeds) {
    for (const [name, scheme] of Object.entries(vllmSchemes)) {
      if (isFirst(vllmChain(scheme, seed, first, blockSize)[0]!)) return `${name}, PYTHONHASHSEED=${seed}`
    }
  }
  return null
}
