/**
 * Python's pickle, protocol 5, of what vLLM hashes: integers, texts, bytes, tuples, None. No object occurs twice in one
 * value, so that nothing is fetched from the memo; and a value fits one frame (64 KiB).
 * Source: python/cpython `Lib/pickle.py`.
 */
export const pickle = (value: unknown): Uint8Array => {
  const out: Array<number> = []
  write(value, out)
  out.push(0x2e)
  const head = Buffer.alloc(11)
  head.set([0x80, 5, 0x95])
  head.writeUInt32LE(out.length, 3)
  return Buffer.concat([head, Uint8Array.from(out)])
}

const memoize = 0x94

const write = (value: unknown, out: Array<number>): void => {
  if (value === null) out.push(0x4e)
  else if (typeof value === "number") writeInt(value, out)
  else if (typeof value === "string") {
    const bytes = Buffer.from(value)
    if (bytes.length < 256) out.push(0x8c, bytes.length)
    else out.push(0x58, ...littleEndian(bytes.length, 4))
    out.push(...bytes, memoize)
  } else if (value instanceof Uint8Array) out.push(0x43, value.length, ...value, memoize)
  else if (Array.isArray(value)) {
    const few = value.length <= 3
    if (!few) out.push(0x28)
    for (const element of value) write(element, out)
    // Tuples of one to three have opcodes of their own; the empty one is not memoised.
    if (value.length === 0) out.push(0x29)
    else out.push(few ? 0x84 + value.length : 0x74, memoize)
  } else throw new TypeError(`A block's hash is over integers, texts, bytes and lists, not over a ${typeof value}`)
}

const writeInt = (value: number, out: Array<number>): void => {
  if (value >= 0 && value < 0x100) out.push(0x4b, value)
  else if (value >= 0 && value < 0x1_0000) out.push(0x4d, ...littleEndian(value, 2))
  else if (value >= -0x8000_0000 && value <= 0x7fff_ffff) out.push(0x4a, ...littleEndian(value, 4))
  // A token of 32 bits needs a fifth byte for its sign.
  else out.push(0x8a, 5, ...littleEndian(value, 4), 0)
}

const littleEndian = (value: number, bytes: number): ReadonlyArray<number> =>
  Array.from({ length: bytes }, (_, i) => (value >>> (i * 8)) & 255)
