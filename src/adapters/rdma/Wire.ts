/**
 * Wire: the messages between a router and a memory node, little-endian words. What comes in is measured before it is believed.
 *
 *   request   kind, session, number of the request, argument, body        reply   kind | 128, session, number, status, body
 *   LOOKUP    argument: keys | stride << 24; body: the keys                body: version of slots, names; of each slot, 5 × u16 depths, u16
 *   WRITE     argument: sequence number; body: shares, one after another   no body
 *   ASK       body: JSON                                                   body: JSON
 *   BULK      argument: granule to go on from                              body: granule to go on from (-1: that was all); nodes, each
 *                                                                          after its words
 *
 * A share: tenure << 3 | layer, piece, stride | keys << 8 | parent there << 16, told, held, [parent], keys.
 */
import { layersMax } from "../../domain/Tier.ts"
import type { Share } from "../../ports/StateStore.ts"

export const wireVersion = 1

export const LOOKUP = 1
export const WRITE = 2
export const ASK = 3
export const BULK = 4
export const REPLY = 128

export const OK = 0
/** The request makes no sense: another version, or broken. */
export const MALFORMED = 1

export const headWords = 4
const nameWords = 4
const shareWords = 5
/** A message with everything in it. Longer requests are asked for their first keys. */
export const messageBytesMax = 262_144
export const lookupKeysMax = (messageBytesMax / 4 - headWords) / 2
/** One write: a millisecond of the node's time. */
export const writeBytesMax = 32_768

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true })

/** Words of what came; null when it is no message. A copy only where the bytes do not lie on words. */
export const wordsOf = (bytes: Uint8Array): Int32Array | null => {
  if (bytes.length < 4 * headWords || bytes.length > messageBytesMax || (bytes.length & 3) !== 0) return null
  const aligned = (bytes.byteOffset & 3) === 0 ? bytes : bytes.slice()
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2)
}

export const head = (words: Int32Array, kind: number, session: number, id: number, argument: number): void => {
  words[0] = kind
  words[1] = session
  words[2] = id
  words[3] = argument
}

export const bytesOf = (words: Int32Array, length: number): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, 4 * length)

export const lookupArgument = (count: number, stride: number): number => count | (stride << 24)

/** Keys, how many, and the stride of a lookup; null when they are not there. */
export const lookupOf = (words: Int32Array) => {
  const count = words[3]! & 0xffffff
  const stride = words[3]! >>> 24
  if (stride < 1 || stride > 32 || words.length !== headWords + 2 * count) return null
  return { keys: words.subarray(headWords), count, stride }
}

/** Words a share takes. */
export const lengthOf = ({ keys, parent }: Share): number => shareWords + (parent === null ? 0 : 2) + keys.length

/** Writes a share at a word; answers the next one. */
export const putShare = (words: Int32Array, at: number, share: Share): number => {
  const { held, keys, layer, parent, piece, stride, tenure, told } = share
  words[at] = (tenure << 3) | layer
  words[at + 1] = piece
  words[at + 2] = stride | ((keys.length >> 1) << 8) | (parent === null ? 0 : 1 << 16)
  words[at + 3] = told
  words[at + 4] = held
  let next = at + shareWords
  if (parent !== null) {
    words.set(parent, next)
    next += 2
  }
  words.set(keys, next)
  return next + keys.length
}

/** The share at a word, over the same memory, and the word after it; null when there is none. */
export const shareAt = (words: Int32Array, at: number): { readonly share: Share; readonly next: number } | null => {
  if (at + shareWords > words.length) return null
  const shape = words[at + 2]!
  const parentAt = at + shareWords
  const keysAt = parentAt + ((shape >>> 16) & 1 ? 2 : 0)
  const next = keysAt + 2 * ((shape >>> 8) & 0xff)
  if (next > words.length || shape >>> 17 !== 0) return null
  const share: Share = {
    tenure: words[at]! >>> 3,
    layer: (words[at]! & 7) as Share["layer"],
    piece: words[at + 1]! >>> 0,
    stride: shape & 0xff,
    parent: keysAt === parentAt ? null : words.subarray(parentAt, keysAt),
    keys: words.subarray(keysAt, next),
    told: words[at + 3]!,
    held: words[at + 4]!
  }
  return { share, next }
}

/** Writes who reaches how far; answers the words of the whole reply. */
export const putReach = (
  words: Int32Array,
  version: number,
  slots: ReadonlyArray<number>,
  depths: ReadonlyArray<number>
): number => {
  const most = Math.min(slots.length, Math.floor((words.length - headWords - 2) / nameWords))
  words[headWords] = version
  let at = headWords + 2
  let count = 0
  for (let i = 0; i < most; i++) {
    const first = i * layersMax
    // Nobody's first block, in any layer: it says nothing.
    if ((depths[first + 3]! | depths[first + 4]!) === 0) continue
    words[at] = slots[i]!
    words[at + 1] = depths[first]! | (depths[first + 1]! << 16)
    words[at + 2] = depths[first + 2]! | (depths[first + 3]! << 16)
    words[at + 3] = depths[first + 4]!
    at += nameWords
    count++
  }
  words[headWords + 1] = count
  return at
}

export interface ReachReply {
  readonly version: number
  readonly count: number
  readonly slot: (i: number) => number
  readonly depths: (i: number) => Array<number>
}

export const reachOf = (words: Int32Array): ReachReply | null => {
  const count = words[headWords + 1]
  if (count === undefined || count < 0 || words.length !== headWords + 2 + count * nameWords) return null
  const at = (i: number) => headWords + 2 + i * nameWords
  return {
    version: words[headWords]!,
    count,
    slot: (i) => words[at(i)]!,
    depths: (i) => {
      const [a, b, c] = [words[at(i) + 1]!, words[at(i) + 2]!, words[at(i) + 3]!]
      return [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16, c & 0xffff]
    }
  }
}

/** A message with JSON behind its head; padded with spaces to whole words. */
export const json = (kind: number, session: number, id: number, argument: number, value: unknown): Uint8Array => {
  const body = encoder.encode(JSON.stringify(value))
  const length = headWords + Math.ceil(body.length / 4)
  const words = new Int32Array(length)
  head(words, kind, session, id, argument)
  const bytes = bytesOf(words, length)
  bytes.fill(32, 4 * headWords)
  bytes.set(body, 4 * headWords)
  return bytes
}

/** Undefined when it is none. */
export const jsonOf = (words: Int32Array): unknown => {
  try {
    return JSON.parse(decoder.decode(bytesOf(words.subarray(headWords), words.length - headWords)))
  } catch {
    return undefined
  }
}

/** Cursor and nodes of a bulk reply; null when it is none. */
export const bulkOf = (words: Int32Array): { readonly next: number; readonly nodes: Array<Uint8Array> } | null => {
  const nodes: Array<Uint8Array> = []
  const next = words[headWords]
  if (next === undefined) return null
  for (let at = headWords + 1; at < words.length; ) {
    const length = words[at]!
    if (length < 1 || at + 1 + length > words.length) return null
    nodes.push(bytesOf(words.subarray(at + 1), length))
    at += 1 + length
  }
  return { next, nodes }
}
