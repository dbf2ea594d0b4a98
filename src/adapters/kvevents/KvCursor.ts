/**
 * What a plain KV event is made of, read into pooled words: hashes as two lanes each, tokens as one. Methods answer as
 * `Cursor`'s do.
 */
import { Cursor } from "./Cursor.ts"

/** Words of one event at most: 262 144 (a prompt of 200 000 tokens and its hashes). Larger ones go the generic way. */
const wordsMax = 1 << 18

export class KvCursor extends Cursor {
  /** Words taken from the pool by the event being read. */
  used = 0
  private readonly words = new Uint32Array(wordsMax)

  /** The words taken so far, copied: the one copy of what the wire said. */
  copy(): ArrayBuffer {
    return this.words.slice(0, this.used).buffer
  }

  /** A list of hashes, as lanes into the words; how many. */
  hashes(): number {
    const count = this.array()
    if (count < 0 || count * 2 > wordsMax - this.used) return -1
    for (let i = 0; i < count; i++) if (!this.hash()) return -1
    return count
  }

  /** One hash, as two lanes into the words. */
  hash(): boolean {
    const { bytes, end, pos, used, words } = this
    if (pos >= end || used + 2 > wordsMax) return false
    const head = bytes[pos]!
    let at = pos + 1
    if (head === 0xcf || head === 0xd3) {
      if (end - at < 8) return false
    } else if (head === 0xc4 && end - at >= 9 && bytes[at]! >= 8 && bytes[at]! < end - at) {
      // Bytes, by their last eight.
      at += 1 + bytes[at]! - 8
    } else {
      const value = this.int()
      if (value === undefined || value === null) return false
      words[used] = value
      words[used + 1] = value < 0 ? -1 : 0
      this.used = used + 2
      return true
    }
    words[used + 1] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
    words[used] = (bytes[at + 4]! << 24) | (bytes[at + 5]! << 16) | (bytes[at + 6]! << 8) | bytes[at + 7]!
    this.used = used + 2
    this.pos = at + 8
    return true
  }

  /** A list of token ids, or of pairs whose first is one, into the words; how many. */
  tokens(): number {
    const count = this.array()
    if (count < 0 || count > wordsMax - this.used) return -1
    const { bytes, end, used, words } = this
    const stop = used + count
    let pos = this.pos
    for (let i = used; i < stop; i++) {
      if (pos >= end) return -1
      const head = bytes[pos]!
      // In the order of how often they come: vocabularies have a hundred thousand ids and more.
      if (head === 0xcd) {
        if (end - pos < 3) return -1
        words[i] = (bytes[pos + 1]! << 8) | bytes[pos + 2]!
        pos += 3
      } else if (head === 0xce) {
        if (end - pos < 5) return -1
        words[i] = (bytes[pos + 1]! << 24) | (bytes[pos + 2]! << 16) | (bytes[pos + 3]! << 8) | bytes[pos + 4]!
        pos += 5
      } else if (head < 0x80) {
        words[i] = head
        pos++
      } else if (head === 0xcc) {
        if (end - pos < 2) return -1
        words[i] = bytes[pos + 1]!
        pos += 2
      } else if (head === 0x92) {
        this.pos = pos + 1
        const token = this.int()
        const next = this.int()
        if (token === undefined || token === null || token < 0) return -1
        if (next === undefined || next === null || next < 0) return -1
        words[i] = token
        pos = this.pos
      } else return -1
    }
    this.used = stop
    this.pos = pos
    return count
  }

  /** Nil, or a list of nothing but nils. */
  nils(): boolean {
    if (this.nil()) return true
    const count = this.array()
    if (count < 0) return false
    for (let i = 0; i < count; i++) if (!this.nil()) return false
    return true
  }
}
