/**
 * SnapshotFrames: the messages of a snapshot, as bytes.
 *
 *   │ version u8 │ kind u8 │ publisher u16 │ sum u32 │ body │      little-endian, as are the words of a body
 *
 * `publisher` counts in the order in which they were asked for; 0 where the message is of none. The sum is of the body:
 * what was damaged on its way, or is of another version, is refused.
 */

/** JSON: what the session has to say. */
export const SAY = 0
/** A part of a publisher's head, and its last one. */
export const HEAD = 1
export const HEAD_END = 2
/** A piece of a publisher's hashes. */
export const PIECE = 3
/** A chunk of the index. */
export const RUNS = 4
export type Kind = typeof SAY | typeof HEAD | typeof HEAD_END | typeof PIECE | typeof RUNS

export interface Frame {
  readonly kind: Kind
  readonly publisher: number
  readonly body: Uint8Array
}

const version = 1
export const headBytes = 8

export const encode = (kind: Kind, publisher: number, body: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(headBytes + body.length)
  const view = new DataView(bytes.buffer)
  bytes[0] = version
  bytes[1] = kind
  view.setUint16(2, publisher, true)
  bytes.set(body, headBytes)
  view.setUint32(4, sumOf(bytes), true)
  return bytes
}

/** Null for what is no frame of this version. The body begins on a word. */
export const decode = (given: Uint8Array): Frame | null => {
  if (given.length < headBytes || given[0] !== version || given[1]! > RUNS) return null
  const bytes = given.byteOffset % 4 === 0 ? given : given.slice()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(4, true) !== sumOf(bytes)) return null
  return { kind: bytes[1] as Kind, publisher: view.getUint16(2, true), body: bytes.subarray(headBytes) }
}

export const bytesOf = (words: Int32Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

/** The words of a decoded body; null when it has none. */
export const wordsOf = (body: Uint8Array): Int32Array | null =>
  body.length % 4 === 0 ? new Int32Array(body.buffer, body.byteOffset, body.length >> 2) : null

/** FNV-1a, a word at a time, of the kind, the publisher and the body. */
const sumOf = (bytes: Uint8Array): number => {
  const count = bytes.length >> 2
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, count)
  let h = 0x811c_9dc5 ^ bytes.length
  h = Math.imul(h ^ words[0]!, 0x0100_0193)
  for (let i = headBytes >> 2; i < count; i++) h = Math.imul(h ^ words[i]!, 0x0100_0193)
  for (let i = count << 2; i < bytes.length; i++) h = Math.imul(h ^ bytes[i]!, 0x0100_0193)
  return (h ^ (h >>> 15)) >>> 0
}
