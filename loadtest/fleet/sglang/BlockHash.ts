/**
 * SGLang's page hashes: SHA-256 over the digest before and each token as 32 bits, little-endian. No seed: the same
 * everywhere.
 *
 * Source: sgl-project/sglang `python/sglang/srt/mem_cache/utils.py` (`get_hash_str`, `hash_str_to_int64`,
 * `compute_node_event_hash_values`). Written apart from the router's on purpose.
 */
import { createHash } from "node:crypto"
import type { Namer } from "../CacheEvent.ts"

/**
 * Names pages. An adapter is not in the chain, so it is in the key; the newest trees mix it into what they publish
 * (`mixesLora`), older ones publish one hash for all adapters.
 */
export const namer =
  (mixesLora: boolean): Namer =>
  ({ lora, parent, salt, tokenIds }) => {
    const prior = parent?.digest ?? (salt === null ? null : sha256(Buffer.from(`sglang-cache-salt-v1\0${salt}`)))
    const tokens = Buffer.allocUnsafe(tokenIds.length * 4)
    for (const [i, token] of tokenIds.entries()) tokens.writeUInt32LE(token, i * 4)
    const digest = sha256(prior === null ? tokens : Buffer.concat([prior, tokens]))
    const plain = digest.subarray(0, 8)
    const mixed = lora === null || !mixesLora ? plain : sha256(Buffer.concat([loraSeed(lora), plain]))
    return { key: `${lora ?? ""}\0${digest.toString("latin1")}`, digest, published: mixed.readBigInt64BE(0) }
  }

const loraSeed = (lora: string): Buffer => sha256(Buffer.from(`sglang-kv-event-lora-v1\0${lora}`))

const sha256 = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).digest()
