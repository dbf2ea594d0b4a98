/** Canonical CBOR of what vLLM hashes: integers, texts, bytes, lists, null. Source: RFC 8949, section 4.2. */
export const cbor = (value: unknown): Uint8Array => {
  const out: Array<Uint8Array> = []
  write(value, out)
  return Buffer.concat(out)
}

const write = (value: unknown, out: Array<Uint8Array>): void => {
  if (value === null) out.push(Uint8Array.of(0xf6))
  else if (typeof value === "number") out.push(value < 0 ? head(1, -1 - value) : head(0, value))
  else if (typeof value === "string") {
    const bytes = Buffer.from(value)
    out.push(head(3, bytes.length), bytes)
  } else if (value instanceof Uint8Array) out.push(head(2, value.length), value)
  else if (Array.isArray(value)) {
    out.push(head(4, value.length))
    for (const element of value) write(element, out)
  } else throw new TypeError(`A block's hash is over integers, texts, bytes and lists, not over a ${typeof value}`)
}

/** A major type and its number, in the shortest form; numbers of 32 bits. */
const head = (major: number, number: number): Uint8Array => {
  const first = major << 5
  if (number < 24) return Uint8Array.of(first | number)
  if (number < 0x100) return Uint8Array.of(first | 24, number)
  if (number < 0x1_0000) return Uint8Array.of(first | 25, number >> 8, number)
  return Uint8Array.of(first | 26, number >>> 24, number >> 16, number >> 8, number)
}
