import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { SseScan } from "../../src/hot/SseScan.ts"
import * as Streams from "../http/Streams.ts"

const record = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`
const delta = (fields: unknown): string => record({ choices: [{ index: 0, delta: fields }], usage: null })
const usage = { prompt_tokens: 40, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 32 } }

const answer =
  delta({ role: "assistant", content: "" }) +
  ": keep-alive\n\n" +
  delta({ content: "Grüße" }) +
  delta({ content: ' "usage"' }) +
  record({ choices: [], usage }) +
  "data: [DONE]\n\n"

const scan = (chunks: ReadonlyArray<Buffer>): SseScan => {
  const s = new SseScan(true)
  for (const chunk of chunks) s.feed(chunk)
  s.end()
  return s
}

describe("SseScan", () => {
  it("tells the first token from the role record before it", () => {
    const s = new SseScan(true)
    expect(s.feed(Buffer.from(delta({ role: "assistant", content: "" })))).toBe(false)
    expect(s.feed(Buffer.from(delta({ content: "a" })))).toBe(true)
    expect(s.feed(Buffer.from(delta({ content: "b" })))).toBe(false)
  })
  it("takes reasoning, tool calls and completion text for tokens", () => {
    for (const text of [
      delta({ reasoning: "hm" }),
      delta({ tool_calls: [{ index: 0 }] }),
      record({ choices: [{ text: "x" }] })
    ]) {
      expect(scan([Buffer.from(text)]).firstToken).toBe(true)
    }
  })
  it("reads the same from an answer however it is cut", () => {
    const bytes = Buffer.from(answer)
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length]
        const s = scan(at.slice(1).map((end, i) => bytes.subarray(at[i], end)))
        expect(s).toMatchObject({
          records: 4,
          firstToken: true,
          usage: { promptTokens: 40, completionTokens: 3, cachedTokens: 32 }
        })
      })
    )
  })
  it("reads a last record that lacks its line end, asked for or not", () => {
    const bytes = Buffer.from(record({ choices: [], usage }).trimEnd())
    for (const withoutUsage of [false, true]) {
      const s = new SseScan(true, withoutUsage)
      s.feed(bytes)
      s.end()
      expect(s).toMatchObject({ records: 1, usage: { cachedTokens: 32 } })
      expect(s.take().length).toBe(0)
    }
  })
  it("accepts CRLF and no space after the colon", () => {
    expect(scan([Buffer.from(answer.replaceAll("\n", "\r\n").replaceAll("data: ", "data:"))])).toMatchObject({
      records: 4,
      usage: { cachedTokens: 32 }
    })
  })
  it("reads the usage at the end of a plain answer, longer than the tail it keeps", () => {
    const s = new SseScan(false)
    s.feed(Buffer.from(JSON.stringify({ choices: [{ message: { content: "x".repeat(50_000) } }], usage })))
    s.end()
    expect(s.usage).toEqual({ promptTokens: 40, completionTokens: 3, cachedTokens: 32 })
  })
  it("reads no usage where a plain answer has none, whatever stands behind the word", () => {
    const read = (text: string) => {
      const s = new SseScan(false)
      s.feed(Buffer.from(text))
      s.end()
      return s.usage
    }
    expect(read('{"usage":null,"choices":[{"index":0}]}')).toBe(null)
    expect(read('{"usage":[],"choices":[{"index":0}]}')).toBe(null)
    expect(read('{"usage" : {"prompt_tokens":7} ,"choices":[{"text":"usage"},{"index":0}]}')?.promptTokens).toBe(7)
    expect(read('{"usage":{"note":"}","prompt_tokens":7,"more":{"a":"\\"}"}}}')?.promptTokens).toBe(7)
    expect(read('{"usage":{"prompt_tokens":7')).toBe(null)
  })
  it("passes a record over that is longer than it keeps, whole as in pieces", () => {
    const bytes = Buffer.from(record({ choices: [{ text: "x".repeat(1 << 20) }] }) + answer)
    const early = bytes.indexOf("\n") - 10
    for (const pieces of [
      [bytes],
      [bytes.subarray(0, early), bytes.subarray(early)],
      [bytes.subarray(0, 1 << 19), bytes.subarray(1 << 19)]
    ]) {
      expect(scan(pieces)).toMatchObject({ records: 4, firstToken: true, usage: { cachedTokens: 32 } })
    }
  })
  it("does not mind nonsense, and forgets a record that never ends", () => {
    expect(scan([Buffer.from("data: {oops\n\ndata: 7\n\nhello\n")]).usage).toBe(null)
    const s = new SseScan(true)
    for (let i = 0; i < 40; i++) s.feed(Buffer.alloc(64 << 10, 0x61))
    s.feed(Buffer.from(`\n${answer}`))
    expect(s.usage?.cachedTokens).toBe(32)
  })
  it("knows that a record is open until its blank line, so that what is appended is a record of its own", () => {
    for (const [text, open] of [
      ["data: {}\n\n", false],
      ["data: {}\n", true],
      ["data: {}", true],
      ["data: {}\r\n", true],
      ["data: {}\r\n\r\n", false],
      [": note\n", true],
      ["", false]
    ] as const) {
      const s = new SseScan(true)
      for (const byte of Buffer.from(text)) s.feed(Buffer.of(byte))
      expect([text, s.midRecord]).toEqual([text, open])
    }
    const long = new SseScan(true)
    for (let i = 0; i < 40; i++) long.feed(Buffer.alloc(64 << 10, 0x61))
    long.feed(Buffer.from("\n"))
    expect(long.midRecord).toBe(true)
    long.feed(Buffer.from("\n"))
    expect(long.midRecord).toBe(false)
  })
  it("takes no harm from choices that are none and counts that are no numbers", () => {
    const s = scan([
      Buffer.from(record({ choices: [null, 7, "x", { delta: 5 }] })),
      Buffer.from(delta({ content: "a" })),
      Buffer.from(
        'data: {"choices":[],"usage":{"prompt_tokens":1e999,"completion_tokens":1e999,"prompt_tokens_details":{"cached_tokens":-4}}}\n\n'
      )
    ])
    expect(s.firstToken).toBe(true)
    expect(s.usage).toEqual({ promptTokens: 0, completionTokens: 0, cachedTokens: null })
  })
})

describe("SseScan for a client that did not ask for usage", () => {
  /** What it lets through, each piece in a buffer that is overwritten afterwards, as a socket's is. */
  const through = (pieces: ReadonlyArray<Buffer>, s = new SseScan(true, true)): string => {
    let out = ""
    for (const piece of pieces) {
      const shared = Buffer.from(piece)
      s.feed(shared)
      out += s.take().toString("latin1")
      shared.fill(0x21)
    }
    s.end()
    return out + s.take().toString("latin1")
  }
  const cutStream = Streams.stream.chain((stream) =>
    Streams.cuts(stream.whole.length).map((at) => ({ ...stream, pieces: Streams.cut(stream.whole, at) }))
  )

  it("lets through every byte but those of the usage record, however the stream is cut", () => {
    fc.assert(
      fc.property(cutStream, ({ client, pieces }) => {
        const s = new SseScan(true, true)
        expect(through(pieces, s)).toBe(client.toString("latin1"))
        expect(s.usage).toEqual({ promptTokens: 40, completionTokens: 3, cachedTokens: 32 })
      }),
      { numRuns: 1_000 }
    )
  })
  it("agrees with a plain reading line by line, wherever usage stands and however often", () => {
    const taken = `data: ${JSON.stringify({ choices: [], usage })}`
    const lines = fc.array(
      fc.constantFrom(
        taken,
        taken,
        "",
        "",
        `data:${JSON.stringify({ usage, choices: [] })}`,
        `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "a" } }], usage })}`,
        `data: ${JSON.stringify({ choices: [], usage: null })}`,
        `data: ${JSON.stringify({ error: { message: '"usage"' } })}`,
        `event: ${taken}`,
        ` ${taken}`,
        ": keep-alive",
        "data: [DONE]",
        "data",
        "data: {"
      ),
      { maxLength: 12 }
    )
    /** What is left: usage lines go, and the blank line behind one unless a line before it in its record stayed. */
    const left = (all: ReadonlyArray<string>, eol: string): string => {
      let isOpen = false
      let wasTaken = false
      let text = ""
      for (const [i, line] of all.entries()) {
        const isUsage = line === taken || line.startsWith("data:{")
        const goes = isUsage || (line === "" && wasTaken && !isOpen)
        wasTaken = isUsage
        if (goes) continue
        isOpen = line !== ""
        text += line + (i === all.length - 1 ? "" : eol)
      }
      return text
    }
    fc.assert(
      fc.property(
        lines.chain((all) =>
          fc.constantFrom("\n", "\r\n").chain((eol) => {
            const whole = Buffer.from(all.join(eol))
            return Streams.cuts(whole.length).map((at) => ({ all, eol, pieces: Streams.cut(whole, at) }))
          })
        ),
        ({ all, eol, pieces }) => {
          expect(through(pieces)).toBe(left(all, eol))
        }
      ),
      { numRuns: 2_000 }
    )
  })
  it("keeps nothing of what it let through while the stream is silent", () => {
    const s = new SseScan(true, true)
    s.feed(Buffer.from("data: {}\n\ndata: {"))
    expect([s.take().toString(), s.take().length]).toEqual(["data: {}\n\n", 0])
  })
  it("holds back no more than the line that is not whole", () => {
    fc.assert(
      fc.property(cutStream, ({ whole, client, pieces }) => {
        const s = new SseScan(true, true)
        let fed = 0
        let out = 0
        for (const piece of pieces) {
          s.feed(piece)
          fed += piece.length
          out += s.take().length
          const lines = whole.subarray(0, fed).lastIndexOf("\n") + 1
          const taken = whole.subarray(0, lines).equals(client.subarray(0, lines)) ? 0 : whole.length - client.length
          expect(out).toBeGreaterThanOrEqual(lines - taken)
          expect(out).toBeLessThanOrEqual(lines)
        }
      })
    )
  })
  it("lets a line through that is longer than any record, and takes the usage out after it", () => {
    const long = Buffer.from(`data: {"choices":[{"text":"${"x".repeat(3 << 20)}"}]}\n\n`)
    const pieces = Streams.cut(
      long,
      Array.from({ length: 48 }, (_, i) => (i + 1) << 16)
    )
    const s = new SseScan(true, true)
    expect(through([...pieces, Buffer.from(`${record({ choices: [], usage })}data: [DONE]\n\n`)], s)).toBe(
      `${long.toString("latin1")}data: [DONE]\n\n`
    )
    expect(s.usage?.cachedTokens).toBe(32)
  })
  it("knows whether the client, not the engine, is inside a record", () => {
    const after = (text: string): boolean => {
      const s = new SseScan(true, true)
      s.feed(Buffer.from(text))
      return s.midRecord
    }
    expect(["data: {}\n", "data: {}\n\ndata: {", record({ choices: [], usage }).trimEnd(), ": x\n"].map(after)).toEqual(
      [true, false, false, true]
    )
    expect(after(`${record({ choices: [], usage }).trimEnd()}\n`)).toBe(false)
  })
})
