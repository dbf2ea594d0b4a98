/**
 * Changes top-level fields in the bytes of a JSON object and leaves every other byte as it came: a client's numbers,
 * key order and spacing reach the engine untouched.
 *
 * All bytes given here have passed `JSON.parse` as an object. A key may repeat, and parsers differ on which counts, so
 * every repetition is changed.
 */

const quote = 0x22
const comma = 0x2c
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

const afterSpace = (bytes: Buffer, at: number): number => {
  let end = at
  while (isSpace(bytes[end])) end++
  return end
}

/** Index just after the string that opens at `at`. */
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

/** Index just after the value that starts at `at`. */
const afterValue = (bytes: Buffer, at: number): number => {
  let depth = 0
  for (let i = at; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === quote) {
      i = afterString(bytes, i) - 1
      if (depth === 0) return i + 1
    } else if (byte === openBrace || byte === openBracket) depth++
    else if (byte === closeBrace || byte === closeBracket) {
      // The object around a bare number or word ends there.
      if (depth === 0) return i
      if (--depth === 0) return i + 1
    } else if (depth === 0 && (byte === comma || isSpace(byte))) return i
  }
  return bytes.length
}

/** `change` gets the bytes of each value of `field`, and answers with what stands there instead, or null to leave it. */
export const replace = (bytes: Buffer, field: string, change: (value: Buffer) => Buffer | string | null): Buffer => {
  const parts: Array<Buffer> = []
  let kept = 0
  for (let at = bytes.indexOf(openBrace); ; ) {
    at = afterSpace(bytes, at + 1)
    if (bytes[at] !== quote) break
    const colon = afterSpace(bytes, afterString(bytes, at))
    const start = afterSpace(bytes, colon + 1)
    const end = afterValue(bytes, start)
    if (JSON.parse(bytes.toString("utf8", at, colon)) === field) {
      const value = change(bytes.subarray(start, end))
      if (value !== null) {
        parts.push(bytes.subarray(kept, start), typeof value === "string" ? Buffer.from(value) : value)
        kept = end
      }
    }
    at = afterSpace(bytes, end)
    if (bytes[at] !== comma) break
  }
  if (kept === 0) return bytes
  parts.push(bytes.subarray(kept))
  return Buffer.concat(parts)
}

/** Sets a string field that is there to another string; a repetition that holds something else is left. */
export const replaceString = (bytes: Buffer, field: string, value: string): Buffer =>
  replace(bytes, field, (was) => (was[0] === quote ? JSON.stringify(value) : null))

/** Puts a field that is not there in front of all others. `json` is its value. */
export const insert = (bytes: Buffer, field: string, json: string): Buffer => {
  const at = bytes.indexOf(openBrace) + 1
  const isEmpty = bytes[afterSpace(bytes, at)] === closeBrace
  const inserted = Buffer.from(`${JSON.stringify(field)}:${json}${isEmpty ? "" : ","}`)
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)])
}

/** Sets a field, whether it is there or not. `json` is its value. */
export const set = (bytes: Buffer, field: string, json: string): Buffer => {
  let found = false
  const replaced = replace(bytes, field, () => {
    found = true
    return json
  })
  return found ? replaced : insert(bytes, field, json)
}
