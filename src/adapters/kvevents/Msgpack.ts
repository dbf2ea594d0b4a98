/**
 * MessagePack, measured before it is believed. A length on the wire is only a claim: everything claimed and not yet
 * seen must fit the bytes that are left, so that nobody downstream allocates more than the payload could hold.
 * Source: msgpack/msgpack `spec.md`.
 */

/** Containers inside containers at most. A KV event has six; what nests deeper is refused, not followed. */
export const depthMax = 32

/** Values still owed by each open container. */
const owed = new Int32Array(depthMax + 1)

/**
 * Where the value that begins at `from` ends; -1 when it is no value, is cut short, claims more than there is, or
 * nests more than `depth` containers. O(bytes), allocates nothing.
 */
export const valueEnd = (bytes: Uint8Array, from: number, end: number, depth: number = depthMax): number => {
  let pos = from
  let level = 0
  /** Values owed by all open containers together. */
  let pending = 1
  owed[0] = 1
  for (;;) {
    while (owed[level] === 0) {
      if (level === 0) return pos
      level--
    }
    if (pos >= end) return -1
    owed[level]!--
    pending--
    const head = bytes[pos++]!
    if (head < 0x80 || head >= 0xe0) continue
    const size = sizeOf(bytes, head, pos, end)
    if (size < 0) return -1
    pos += widthOf(head)
    if (isContainer(head)) {
      if (size === 0) continue
      pending += size
      if (pending > end - pos || level === depth) return -1
      owed[++level] = size
    } else {
      if (size > end - pos) return -1
      pos += size
    }
  }
}

export const isArray = (bytes: Uint8Array): boolean => {
  const head = bytes[0]!
  return (head & 0xf0) === 0x90 || head === 0xdc || head === 0xdd
}

/** The values in the container that is all of `bytes`, which must be measured; of a map, keys and values in turn. */
export const elements = (bytes: Uint8Array): Array<Uint8Array> => {
  const out: Array<Uint8Array> = []
  const head = bytes[0]!
  if (head < 0x80 || head >= 0xe0 || !isContainer(head)) return out
  for (let pos = 1 + widthOf(head); pos < bytes.length; ) {
    const next = valueEnd(bytes, pos, bytes.length)
    out.push(bytes.subarray(pos, next))
    pos = next
  }
  return out
}

const isContainer = (head: number): boolean => head < 0xa0 || head >= 0xdc

/** Bytes of the length field after a head byte of 0x80 to 0xdf. */
const widthOf = (head: number): number => {
  switch (head) {
    case 0xc4:
    case 0xc7:
    case 0xd9:
      return 1
    case 0xc5:
    case 0xc8:
    case 0xda:
    case 0xdc:
    case 0xde:
      return 2
    case 0xc6:
    case 0xc9:
    case 0xdb:
    case 0xdd:
    case 0xdf:
      return 4
    default:
      return 0
  }
}

/** Values (two per entry of a map) or bytes that follow head and length field; -1 for no head, or no room for the field. */
const sizeOf = (bytes: Uint8Array, head: number, at: number, end: number): number => {
  if (head < 0x90) return (head & 0x0f) * 2
  if (head < 0xa0) return head & 0x0f
  if (head < 0xc0) return head & 0x1f
  const width = widthOf(head)
  if (width > 0) {
    if (width > end - at) return -1
    let length = 0
    for (let i = 0; i < width; i++) length = length * 256 + bytes[at + i]!
    // An extension has a byte for its type before its data.
    if (head >= 0xc7 && head <= 0xc9) return length + 1
    return head === 0xde || head === 0xdf ? length * 2 : length
  }
  switch (head) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return 0
    case 0xcc:
    case 0xd0:
      return 1
    case 0xcd:
    case 0xd1:
    case 0xd4:
      return 2
    case 0xd5:
      return 3
    case 0xca:
    case 0xce:
    case 0xd2:
      return 4
    case 0xd6:
      return 5
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return 8
    case 0xd7:
      return 9
    case 0xd8:
      return 17
    default:
      // 0xc1 is no head.
      return -1
  }
}
