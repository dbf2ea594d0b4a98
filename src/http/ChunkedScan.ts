/**
 * ChunkedScan: walks a chunked body, in pieces of any size, without changing it.
 *
 * Tells where the payload lies, where the body ends, and which bytes (trailers) are not to be passed on. Strict: 1 to 12 hex
 * digits, CRLF, no chunk extensions, at most 8 KiB of trailers. Source: RFC 9112 §7.1.
 *
 *   size CR LF payload CR LF … 0 CR LF [trailer CR LF]… CR LF
 */

export interface ChunkedScan {
  phase: number
  digits: number
  /** Payload bytes still to come in this chunk. */
  left: number
  trailerBytes: number
  /** Payload of the last scanned piece: `[from, to, from, to, …]`, `spanCount` numbers of it. */
  readonly spans: Array<number>
  spanCount: number
  /** Bytes of the last scanned piece that are trailers: `[cutFrom, cutTo)`; equal when there are none. */
  cutFrom: number
  cutTo: number
}

const SIZE_FIRST = 0
const SIZE = 1
const SIZE_LF = 2
const DATA = 3
const DATA_CR = 4
const DATA_LF = 5
const LAST = 6
const TRAILER = 7
const TRAILER_LF = 8
const END_LF = 9
const DONE = 10

const digitsMax = 12
const trailerBytesMax = 8_192

/** What `scan` answers on a broken body. Nothing of that piece may be passed on, and the scan is over. */
export const BAD = -1

const hex = new Int8Array(256).fill(-1)
for (let i = 0; i < 16; i++) {
  hex[i.toString(16).charCodeAt(0)] = i
  hex[i.toString(16).toUpperCase().charCodeAt(0)] = i
}

export const make = (): ChunkedScan => ({
  phase: SIZE_FIRST,
  digits: 0,
  left: 0,
  trailerBytes: 0,
  spans: [],
  spanCount: 0,
  cutFrom: 0,
  cutTo: 0
})

/** The whole body has been seen. */
export const isDone = (scan: ChunkedScan): boolean => scan.phase === DONE

/** Between two chunks: the only place where a chunk of our own may be put. */
export const isBetween = (scan: ChunkedScan): boolean => scan.phase === SIZE_FIRST

/** Moves the payload of the last scanned piece together in its bytes: at most one span is left. */
export const join = (state: ChunkedScan, bytes: Uint8Array): void => {
  const { spans, spanCount } = state
  if (spanCount <= 2) return
  let end = spans[1]!
  for (let i = 2; i < spanCount; i += 2) {
    bytes.copyWithin(end, spans[i]!, spans[i + 1]!)
    end += spans[i + 1]! - spans[i]!
  }
  spans[1] = end
  state.spanCount = 2
}

/** Walks `bytes[from, to)`. Answers where the body's bytes end in it (less than `to` when others follow), or `BAD`. */
export const scan = (state: ChunkedScan, bytes: Uint8Array, from: number, to: number): number => {
  const spans = state.spans
  let { phase, left } = state
  let spanCount = 0
  let cutFrom = -1
  let cutTo = -1
  let at = from
  while (at < to && phase !== DONE) {
    if (phase === DATA) {
      const end = Math.min(to, at + left)
      spans[spanCount++] = at
      spans[spanCount++] = end
      left -= end - at
      at = end
      if (left === 0) phase = DATA_CR
      continue
    }
    const byte = bytes[at]!
    switch (phase) {
      case SIZE_FIRST:
      case SIZE: {
        const digit = hex[byte]!
        if (digit >= 0) {
          if (phase === SIZE_FIRST) {
            left = 0
            state.digits = 0
          }
          if (++state.digits > digitsMax) return BAD
          left = left * 16 + digit
          phase = SIZE
        } else if (byte === 13 && phase === SIZE) phase = SIZE_LF
        else return BAD
        break
      }
      case SIZE_LF:
        if (byte !== 10) return BAD
        phase = left === 0 ? LAST : DATA
        break
      case DATA_CR:
        if (byte !== 13) return BAD
        phase = DATA_LF
        break
      case DATA_LF:
        if (byte !== 10) return BAD
        phase = SIZE_FIRST
        break
      case LAST:
        if (byte === 13) phase = END_LF
        else if (byte < 33 || byte === 58 || byte === 127) return BAD
        else {
          phase = TRAILER
          state.trailerBytes++
          if (cutFrom === -1) cutFrom = at
          cutTo = at + 1
        }
        break
      case TRAILER:
      case TRAILER_LF:
        if (++state.trailerBytes > trailerBytesMax) return BAD
        if (phase === TRAILER_LF) {
          if (byte !== 10) return BAD
          phase = LAST
        } else if (byte === 13) phase = TRAILER_LF
        else if ((byte < 32 && byte !== 9) || byte === 127) return BAD
        if (cutFrom === -1) cutFrom = at
        cutTo = at + 1
        break
      default: // END_LF
        if (byte !== 10) return BAD
        phase = DONE
    }
    at++
  }
  state.phase = phase
  state.left = left
  state.spanCount = spanCount
  state.cutFrom = cutFrom === -1 ? at : cutFrom
  state.cutTo = cutFrom === -1 ? at : cutTo
  return at
}
