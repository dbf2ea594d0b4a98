/**
 * Replaces the value of a top-level string field in JSON bytes and leaves every other byte as it came: a client's
 * numbers, key order and spacing reach the engine untouched.
 */

const quote = 0x22
const backslash = 0x5c

/** Index just after the string that opens at `at`. The bytes are known to be valid JSON. */
const afterString = (bytes: Buffer, at: number): number => {
  let end = at + 1
  for (;;) {
    end = bytes.indexOf(quote, end)
    let slashes = 0
    while (bytes[end - 1 - slashes] === backslash) slashes++
    end++
    if (slashes % 2 === 0) return end
  }
}

/**
 * The body with every top-level `field` (a key may repeat, and parsers differ on which counts) set to `value`.
 * `bytes` must have passed `JSON.parse` as an object whose `field` is a string.
 */
export const replaceString = (bytes: Buffer, field: string, value: string): Buffer => {
  const parts: Array<Buffer> = []
  const replacement = Buffer.from(JSON.stringify(value))
  let depth = 0
  let kept = 0
  let keyNext = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === 0x7b || byte === 0x5b) {
      depth++
      keyNext = depth === 1
    } else if (byte === 0x7d || byte === 0x5d) depth--
    else if (byte === 0x2c) keyNext = depth === 1
    else if (byte === quote) {
      const end = afterString(bytes, i)
      if (keyNext && JSON.parse(bytes.toString("utf8", i, end)) === field) {
        const start = bytes.indexOf(quote, end)
        // A repeated key may hold something that is no string; only white space and the colon may stand between.
        if (start !== -1 && /^\s*:\s*$/.test(bytes.toString("latin1", end, start))) {
          const stop = afterString(bytes, start)
          parts.push(bytes.subarray(kept, start), replacement)
          kept = stop
          i = stop - 1
          keyNext = false
          continue
        }
      }
      keyNext = false
      i = end - 1
    }
  }
  parts.push(bytes.subarray(kept))
  return Buffer.concat(parts)
}
