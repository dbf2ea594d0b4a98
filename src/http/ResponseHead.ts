/**
 * ResponseHead: the strict check of a worker's response head.
 *
 * One status line, token header names, no folding, no stray control characters, and exactly one way to tell where the body
 * ends. What fails the check is answered 502 and the socket is destroyed: a worker has no reason to be unclear.
 */
import type { Framing } from "./Exchange.ts"
import { trimmed } from "./RequestHead.ts"

export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /** Flat `[name, value, …]`, everything received. */
  readonly headers: ReadonlyArray<string>
  readonly framing: Framing
  /** content-length, or -1 when there is none. With framing `none` it describes a body that is not sent. */
  readonly length: number
  /** The worker will take another request on this socket. */
  readonly keepAlive: boolean
}

const language =
  /^HTTP\/1\.([01]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*))?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)*\r\n$/
const decimal = /^(?:0|[1-9][0-9]{0,14})$/

/** `head` is Latin-1 and ends with its empty line; `method` is the request's. A sentence says why a head is refused. */
export const parse = (head: string, method: string): ResponseHead | string => {
  const match = language.exec(head)
  if (match === null) return "its response head is not HTTP/1.1"
  const http10 = match[1] === "0"
  const status = Number(match[2])
  const headers: Array<string> = []
  let length = -1
  let chunked = false
  let keepAlive = !http10
  const end = head.length - 2
  for (let at = head.indexOf("\r\n") + 2; at < end; ) {
    const colon = head.indexOf(":", at)
    const eol = head.indexOf("\r\n", colon)
    const name = head.slice(at, colon)
    const value = trimmed(head, colon + 1, eol)
    at = eol + 2
    headers.push(name, value)
    const lower = name.toLowerCase()
    if (lower === "content-length") {
      if (length !== -1) return "its response has two content-length headers"
      if (!decimal.test(value)) return `its response has content-length "${value.slice(0, 40)}"`
      length = Number(value)
    } else if (lower === "transfer-encoding") {
      if (chunked || http10 || value.toLowerCase() !== "chunked") {
        return `its response has transfer-encoding "${value.slice(0, 40)}" that is not one plain "chunked"`
      }
      chunked = true
    } else if (lower === "connection") {
      if (/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value)) keepAlive = false
    }
  }
  if (chunked && length !== -1) return "its response has content-length and transfer-encoding"
  if (status === 101) return "it switched protocols unasked"
  const bodiless = method === "HEAD" || status < 200 || status === 204 || status === 304
  if (chunked && bodiless && method !== "HEAD") return `its ${status} response has transfer-encoding`
  const framing = bodiless ? "none" : chunked ? "chunked" : length !== -1 ? "length" : "close"
  return { status, reason: match[3] ?? "", headers, framing, length, keepAlive: keepAlive && framing !== "close" }
}
