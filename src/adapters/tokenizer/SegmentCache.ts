/**
 * SegmentCache: token ids of text segments, bounded in bytes, least recently used first out.
 *
 * Added tokens cut a prompt into segments whose ids are independent of each other, so a growing conversation costs
 * only its new tail. Short segments are keyed by themselves, long ones by SHA-256: it takes as long as looking the
 * text up (1.5 ms per megabyte) and keeps no text.
 */
import { hash } from "node:crypto"
import { LRUCache } from "lru-cache"
import { detach, isWide } from "./Bpe.ts"

export interface SegmentCache {
  /** The key of a segment; it outlives the text the segment was cut from. */
  readonly key: (segment: string) => string
  readonly get: (key: string) => Uint32Array | undefined
  readonly set: (key: string, ids: Uint32Array) => void
  /** Bytes held, by this cache's own count. */
  readonly bytes: () => number
  readonly entries: () => number
}

const keyCharsMax = 1024
/** An entry's map slots, list links and object headers, measured at about 200 bytes. */
const overheadBytes = 200
/** Segments are well-formed text, so no segment equals a key that begins with half a surrogate pair. */
const digestMark = "\ud800"

export const make = (bytesMax: number): SegmentCache => {
  const cache = new LRUCache<string, Uint32Array>({ maxSize: bytesMax })
  return {
    key: (segment) => (segment.length <= keyCharsMax ? segment : digestMark + hash("sha256", segment, "base64")),
    get: (key) => cache.get(key),
    set: (key, ids) => {
      const keyBytes = isWide(key) ? 2 * key.length : key.length
      cache.set(detach(key), ids, { size: ids.byteLength + keyBytes + overheadBytes })
    },
    bytes: () => cache.calculatedSize,
    entries: () => cache.size
  }
}
