/** HeaderLines: which headers pass from one side to the other, and how they are written. */

/** Meant for the next hop only. Source: RFC 9110 §7.6.1; the older names from RFC 2616 §13.5.1 are still seen. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings"
])

/** Said anew by us on each side, because we frame and address the message ourselves. */
const ours = new Set(["content-length", "host", "expect"])

/** In place of a value: the header does not go on. */
export const none = ""

/**
 * The headers of `received` that go on, then those of `added`: without hop-by-hop ones, without those that `connection`
 * names, and without those that `added` (lower-case names) overrides. Flat lists.
 */
export const passed = (received: ReadonlyArray<string>, added: ReadonlyArray<string>): Array<string> => {
  const out: Array<string> = []
  let named: Set<string> | null = null
  for (let i = 0; i < received.length; i += 2) {
    const name = received[i]!
    if (name.length === 10 && name.toLowerCase() === "connection") {
      for (const token of received[i + 1]!.split(",")) {
        const option = token.trim().toLowerCase()
        if (option !== "close" && option !== "keep-alive" && option !== "") {
          named ??= new Set()
          named.add(option)
        }
      }
    }
  }
  for (let i = 0; i < received.length; i += 2) {
    const name = received[i]!
    const lower = name.toLowerCase()
    if (hopByHop.has(lower) || ours.has(lower) || named?.has(lower) || isAmong(lower, added)) continue
    out.push(name, received[i + 1]!)
  }
  for (let i = 0; i < added.length; i += 2) if (added[i + 1] !== none) out.push(added[i]!, clean(added[i + 1]!))
  return out
}

const isAmong = (name: string, flat: ReadonlyArray<string>): boolean => {
  for (let i = 0; i < flat.length; i += 2) if (flat[i] === name) return true
  return false
}

const unsafe = /[^\t -~\x80-\xff]/
const unsafeAll = /[^\t -~\x80-\xff]/g

/**
 * A value that is safe on the wire: what could end the line, and what Latin-1 would cut down to something that could
 * (U+010A becomes LF), is replaced by `?`.
 */
export const clean = (value: string): string => (unsafe.test(value) ? value.replace(unsafeAll, "?") : value)

/** `name: value` lines, each with its CRLF. */
export const lines = (flat: ReadonlyArray<string>): string => {
  let text = ""
  for (let i = 0; i < flat.length; i += 2) text += `${flat[i]}: ${flat[i + 1]}\r\n`
  return text
}

let dateText = ""
let dateSecond = 0

/** Now, as a `date` header has it. Made once a second. */
export const date = (): string => {
  const second = Math.floor(Date.now() / 1_000)
  if (second !== dateSecond) {
    dateSecond = second
    dateText = new Date(second * 1_000).toUTCString()
  }
  return dateText
}
