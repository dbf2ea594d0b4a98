/** Values of KV-event fields as a MessagePack library gives them, in the words of the domain. */
import type { EngineHashes } from "../../domain/KvEvent.ts"

/**
 * Hashes folded to 64 bits: integers modulo 2^64, bytes by their last eight, big-endian. Null when it is no list, or
 * any of them is no hash.
 */
export const hashesOf = (value: unknown): EngineHashes | null => {
  if (!Array.isArray(value)) return null
  const out = new Int32Array(value.length * 2)
  for (let i = 0; i < value.length; i++) if (!foldHash(value[i], out, i * 2)) return null
  return out
}

const foldHash = (value: unknown, out: Int32Array, at: number): boolean => {
  if (typeof value === "bigint") {
    out[at] = Number(BigInt.asIntN(32, value))
    out[at + 1] = Number(BigInt.asIntN(32, value >> 32n))
    return true
  }
  // Integers of 32 bits and less; a float beyond them may have lost digits.
  if (typeof value === "number" && Number.isInteger(value) && value >= -0x8000_0000 && value <= 0xffff_ffff) {
    out[at] = value | 0
    out[at + 1] = value < 0 ? -1 : 0
    return true
  }
  if (value instanceof Uint8Array && value.length >= 8) {
    const view = new DataView(value.buffer, value.byteOffset + value.length - 8, 8)
    out[at] = view.getInt32(4)
    out[at + 1] = view.getInt32(0)
    return true
  }
  return false
}

/**
 * Token ids, or none at all when any cannot be one: such an event is good for its hashes only. Of a pair (speculative
 * decoding: a token and the next) the first counts. A text (TensorRT-LLM: the digest of a piece of an image) becomes an
 * id that no vocabulary has, the same for the same text: the chain goes on, and never equals one of words.
 */
export const tokensOf = (value: unknown): Uint32Array => {
  if (!Array.isArray(value)) return new Uint32Array(0)
  const out = new Uint32Array(value.length)
  for (let i = 0; i < value.length; i++) {
    const element: unknown = value[i]
    const id = Array.isArray(element)
      ? element.length === 2 && tokenOf(element[1]) >= 0
        ? tokenOf(element[0])
        : -1
      : typeof element === "string"
        ? idOfText(element)
        : tokenOf(element)
    if (id < 0) return new Uint32Array(0)
    out[i] = id
  }
  return out
}

const tokenOf = (value: unknown): number => {
  const id = numberOf(value)
  return id !== null && Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff ? id : -1
}

/** FNV-1a, 32 bits, the top one set: vocabularies end far below. */
const idOfText = (text: string): number => {
  let hash = 0x811c_9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  return (hash | 0x8000_0000) >>> 0
}

type ExtraKeys = ReadonlyArray<ReadonlyArray<unknown> | null>

/**
 * What besides tokens is in each block, from vLLM's `extra_keys` and TensorRT-LLM's `mm_keys`: null when no block has
 * anything, undefined when it cannot be told block by block. A key is never a bare text unless the engine sent it as
 * one: those are read as adapter and salt.
 */
export const extraKeysOf = (extraKeys: unknown, mmKeys: unknown): ExtraKeys | null | undefined => {
  if (!isListOrNull(extraKeys) || !isListOrNull(mmKeys)) return undefined
  const count = Math.max(extraKeys?.length ?? 0, mmKeys?.length ?? 0)
  const out: Array<ReadonlyArray<unknown> | null> = []
  let any = false
  for (let i = 0; i < count; i++) {
    const keys = [...keysOf(extraKeys?.[i], (key) => key), ...keysOf(mmKeys?.[i], mmKeyOf)]
    any ||= keys.length > 0
    out.push(keys.length > 0 ? keys : null)
  }
  return any ? out : null
}

const isListOrNull = (value: unknown): value is ReadonlyArray<unknown> | null => value === null || Array.isArray(value)

const keysOf = (value: unknown, read: (key: unknown) => unknown): ReadonlyArray<unknown> =>
  value === null || value === undefined ? [] : Array.isArray(value) ? value.map(read) : [[value]]

/** Like vLLM's multimodal keys: what the item is, and where it begins in the block. */
const mmKeyOf = (key: unknown): unknown => {
  if (typeof key !== "object" || key === null || !("hash" in key)) return [key]
  const { hash, start_offset, uuid } = key as Readonly<Record<string, unknown>>
  return uuid === undefined || uuid === null ? [hash, start_offset] : [hash, start_offset, uuid]
}

export const numberOf = (value: unknown): number | null =>
  typeof value === "number" ? value : typeof value === "bigint" ? Number(value) : null
export const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null)
