/** CRC-32C (Castagnoli, RFC 3720) over whole words, four bytes a step: 0.4 µs for the 79 words of a full node. */

/** Tables one after the other: of a byte followed by none, one, two, three zero bytes. */
const tables = new Int32Array(4 * 256)

for (let byte = 0; byte < 256; byte++) {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  tables[byte] = crc
}
for (let i = 256; i < tables.length; i++) {
  const crc = tables[i - 256]!
  tables[i] = (crc >>> 8) ^ tables[crc & 255]!
}

/** Of `words[from …  to - 1]`, as little-endian bytes. */
export const crc32c = (words: Int32Array, from: number, to: number): number => {
  let crc = -1
  for (let at = from; at < to; at++) {
    const next = crc ^ words[at]!
    crc =
      tables[768 + (next & 255)]! ^
      tables[512 + ((next >>> 8) & 255)]! ^
      tables[256 + ((next >>> 16) & 255)]! ^
      tables[next >>> 24]!
  }
  return ~crc
}
