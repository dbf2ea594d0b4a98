/**
 * RequestHead: the strict check of a request head.
 *
 * Accepts one small, obvious language: `POST`, a target in origin form, HTTP/1.1, token header names with no space before
 * the colon, no folding, no stray CR, LF or other control character; exactly one `host` and one plain decimal
 * content-length; `connection` only as `keep-alive` or `close`; nothing that changes how the body is framed or when it is
 * sent. Everything else is not wrong, only not ours: the caller hands those bytes to `node:http`, which judges them.
 */

export interface RequestHead {
  readonly target: string
  readonly path: string
  /** Flat `[name, value, …]`, names as received, values without outer white space. */
  readonly headers: ReadonlyArray<string>
  readonly contentLength: number
  /** The client asked for `connection: close`. */
  readonly close: boolean
}

/** More lines than this are not obvious any more. */
const headerLinesMax = 200

// The language, whole. No two parts can match the same character, so the match never backtracks into another split.
const language = /^POST (\/[!"$-~]*) HTTP\/1\.1\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)+\r\n$/
const decimal = /^(?:0|[1-9][0-9]{0,14})$/

/** Names that say how a message is framed, encoded or switched, apart from content-length. Any of them: not ours. */
const framing = new Set([
  "transfer-encoding",
  "content-encoding",
  "expect",
  "upgrade",
  "te",
  "trailer",
  "http2-settings",
  "proxy-connection",
  "keep-alive"
])

/** `head` is Latin-1 and ends with its empty line. Null: outside the language. */
export const parse = (head: string): RequestHead | null => {
  const match = language.exec(head)
  if (match === null) return null
  const target = match[1]!
  const headers: Array<string> = []
  let contentLength = -1
  let hosts = 0
  let connections = 0
  let close = false
  const end = head.length - 2
  for (let at = head.indexOf("\r\n") + 2; at < end; ) {
    const colon = head.indexOf(":", at)
    const eol = head.indexOf("\r\n", colon)
    const name = head.slice(at, colon)
    const value = trimmed(head, colon + 1, eol)
    at = eol + 2
    if (headers.push(name, value) > 2 * headerLinesMax) return null
    const lower = name.toLowerCase()
    if (lower === "content-length") {
      if (contentLength !== -1 || !decimal.test(value)) return null
      contentLength = Number(value)
    } else if (lower === "host") {
      if (++hosts > 1 || value === "") return null
    } else if (lower === "connection") {
      const option = value.toLowerCase()
      if (++connections > 1 || (option !== "close" && option !== "keep-alive")) return null
      close = option === "close"
    } else if (framing.has(lower)) return null
  }
  if (contentLength === -1 || hosts !== 1) return null
  const query = target.indexOf("?")
  return { target, path: query === -1 ? target : target.slice(0, query), headers, contentLength, close }
}

/** `text[from, to)` without spaces and tabs at its ends. */
export const trimmed = (text: string, from: number, to: number): string => {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isBlank = (code: number): boolean => code === 32 || code === 9

const opening = Buffer.from("POST /", "latin1")

/** Whether bytes without an empty line yet may still become a head of the language. */
export const mayBecome = (bytes: Buffer): boolean => {
  const length = Math.min(bytes.length, opening.length)
  return bytes.compare(opening, 0, length, 0, length) === 0 && !hasStrayBytes(bytes)
}

/** A NUL, an LF without its CR, or a CR without its LF (a CR in last place may still get it). */
export const hasStrayBytes = (bytes: Buffer): boolean => {
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) {
    if (at === 0 || bytes[at - 1] !== 13) return true
  }
  for (let at = bytes.indexOf(13); at !== -1; at = bytes.indexOf(13, at + 1)) {
    if (at + 1 < bytes.length && bytes[at + 1] !== 10) return true
  }
  return bytes.indexOf(0) !== -1
}
