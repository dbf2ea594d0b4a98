import fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as ChunkedScan from "../../src/http/ChunkedScan.ts"

interface Walked {
  readonly payload: string
  readonly passed: string
  readonly done: boolean
  readonly bad: boolean
  /** Bytes of the body, up to its end. */
  readonly used: number
}

/** Walks `text` in the given pieces and puts together what came out. */
const walk = (pieces: ReadonlyArray<string>): Walked => {
  const state = ChunkedScan.make()
  let payload = ""
  let passed = ""
  let used = 0
  for (const piece of pieces) {
    if (ChunkedScan.isDone(state)) break
    const bytes = Buffer.from(`##${piece}`, "latin1")
    const end = ChunkedScan.scan(state, bytes, 2, bytes.length)
    if (end === ChunkedScan.BAD) return { payload, passed, done: false, bad: true, used: -1 }
    let spans = ""
    for (let i = 0; i < state.spanCount; i += 2) spans += bytes.toString("latin1", state.spans[i], state.spans[i + 1])
    payload += spans
    passed += bytes.toString("latin1", 2, state.cutFrom) + bytes.toString("latin1", state.cutTo, end)
    used += end - 2
    // Together they are the same bytes, in one span.
    ChunkedScan.join(state, bytes)
    expect(state.spanCount).toBe(spans === "" ? 0 : 2)
    if (spans !== "") expect(bytes.toString("latin1", state.spans[0], state.spans[1])).toBe(spans)
  }
  return { payload, passed, done: ChunkedScan.isDone(state), bad: false, used }
}

const framed = (chunks: ReadonlyArray<string>, trailers = ""): string =>
  `${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("")}0\r\n${trailers}\r\n`

describe("ChunkedScan.scan", () => {
  it("finds the payload and the end, and what follows the end is not the body's", () => {
    const body = framed(["hello ", "world"])
    expect(walk([`${body}HTTP/1.1`])).toEqual({
      payload: "hello world",
      passed: body,
      done: true,
      bad: false,
      used: body.length
    })
  })

  it("takes sizes in either case and with leading zeros", () => {
    expect(walk(["0A\r\n0123456789\r\n00b\r\n0123456789a\r\n000\r\n\r\n"]).payload).toBe("01234567890123456789a")
  })

  it("walks any cut of any body as it walks the whole", () => {
    const bodies = fc.tuple(
      fc.array(fc.string({ minLength: 1, maxLength: 40, unit: "binary-ascii" }), { maxLength: 6 }),
      fc.constantFrom("", "x: y\r\n", "x: y\r\nsum:\t1\r\n"),
      fc.constantFrom("", "HTTP/1.1 200 OK\r\n\r\n")
    )
    fc.assert(
      fc.property(bodies, fc.infiniteStream(fc.nat({ max: 9 })), ([chunks, trailers, after], cuts) => {
        const body = framed(chunks, trailers)
        const pieces: Array<string> = []
        for (let rest = body + after; rest !== ""; ) {
          const size = cuts.next().value
          pieces.push(rest.slice(0, size))
          rest = rest.slice(size)
        }
        const whole = { payload: chunks.join(""), passed: framed(chunks), done: true, bad: false, used: body.length }
        expect(walk([body + after])).toEqual(whole)
        expect(walk(pieces)).toEqual(whole)
      }),
      { seed: 2, numRuns: 500 }
    )
  })

  it("walks a body cut in two at every byte, and byte by byte", () => {
    const body = framed(["data: {}\n\n", "x".repeat(300)], "a: b\r\n")
    const whole = walk([body])
    for (let cut = 1; cut < body.length; cut++) expect(walk([body.slice(0, cut), body.slice(cut)])).toEqual(whole)
    expect(walk(body.split(""))).toEqual(whole)
  })

  const broken: ReadonlyArray<string> = [
    "g\r\n",
    "\r\n",
    " 5\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "5;ext=1\r\nhello\r\n",
    "+5\r\nhello\r\n",
    "-5\r\n",
    "0x5\r\nhello\r\n",
    "5\nhello\r\n",
    "5\rhello\r\n",
    "5\r\nhelloX",
    "5\r\nhello\n",
    "5\r\nhello\rX",
    "1000000000000\r\n",
    "0000000000005\r\n",
    "0\r\nX",
    "0\r\n\rX",
    "0\r\n\n",
    "0\r\n: x\r\n\r\n",
    "0\r\n folded\r\n\r\n",
    "0\r\nx: \0\r\n\r\n",
    "0\r\nx: y\n\r\n",
    "0\r\nx: y\rz\r\n",
    `0\r\nx: ${"y".repeat(9_000)}\r\n\r\n`
  ]
  it.each(broken)("refuses %j, whole or byte by byte", (text) => {
    // "X" alone may begin a trailer: what follows it decides.
    const whole = `${text}\0`
    expect(walk([whole]).bad).toBe(true)
    expect(walk(whole.split("")).bad).toBe(true)
  })

  it("never takes random bytes for a body that node:http's own framing rules would not end", () => {
    const bytes = fc.array(fc.constantFrom("0", "1", "a", "\r", "\n", "\r\n", ";", " ", ":", "x"), { maxLength: 24 })
    fc.assert(
      fc.property(bytes, (parts) => {
        const text = parts.join("")
        const { done, payload, used } = walk([text])
        if (!done) return
        // Read again by the grammar, as one expression per chunk.
        let rest = text.slice(0, used)
        let read = ""
        for (;;) {
          const size = /^([0-9a-f]{1,12})\r\n/i.exec(rest)
          if (size === null) throw new Error(`no size at ${JSON.stringify(rest)}`)
          const length = Number.parseInt(size[1]!, 16)
          rest = rest.slice(size[0].length)
          if (length === 0) break
          read += rest.slice(0, length)
          expect(rest.slice(length, length + 2)).toBe("\r\n")
          rest = rest.slice(length + 2)
        }
        expect(rest).toMatch(/^(?:[^\r\n\0 :][^\r\n\0]*\r\n)*\r\n$/)
        expect(payload).toBe(read)
      }),
      { seed: 2, numRuns: 5_000 }
    )
  })
})
