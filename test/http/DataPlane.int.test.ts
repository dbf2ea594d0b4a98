/**
 * Requests, attacked with raw sockets: whatever bytes a client sends, in any pieces, the worker understands what a strict
 * `node:http` would have understood.
 */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as RequestHead from "../../src/http/RequestHead.ts"
import { answersTo, connectRaw, head, managed, post, readAnswers, startEcho } from "../support/DataPlane.ts"

const { closers, plane } = managed()

const good = (body: string): string => post(body, "content-type: application/json", "x-mark: good")
const smuggled = "POST /smuggled HTTP/1.1\r\nhost: router\r\nx-evil: 1\r\ncontent-length: 0\r\n\r\n"

/** Requests on which we mean exactly what a strict `node:http` means: the same answers, the same request at the worker. */
const alike: Record<string, string> = {
  "a plain request": good('{"a":1}'),
  "an empty body": good(""),
  "two pipelined": good("one") + good("two"),
  "twenty pipelined": Array.from({ length: 20 }, (_, i) => good(`body ${i}`)).join(""),
  "length then chunked": `${head("content-length: 4", "transfer-encoding: chunked")}0\r\n\r\n${smuggled}`,
  "chunked then length": `${head("transfer-encoding: chunked", "content-length: 4")}0\r\n\r\n${smuggled}`,
  "chunked alone": `${head("transfer-encoding: chunked", "x-a: b")}5\r\nhello\r\n0\r\n\r\n`,
  "chunked with a trailer": `${head("transfer-encoding: chunked")}5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n${good("after")}`,
  "chunked with a bad size": `${head("transfer-encoding: chunked")}zz\r\nhello\r\n0\r\n\r\n`,
  "chunked with bare LF": `${head("transfer-encoding: chunked")}5\nhello\n0\n\n${smuggled}`,
  "a space before the colon": `${head("content-length: 5", "transfer-encoding : chunked")}0\r\n\r\n${smuggled}`,
  "xchunked with a length": `${head("transfer-encoding: xchunked", "content-length: 5")}hello`,
  "two equal lengths": `${head("content-length: 5", "content-length: 5")}hello`,
  "two different lengths": `${head("content-length: 5", "content-length: 6")}hello`,
  "a list of lengths": `${head("content-length: 5, 5")}hello`,
  "a signed length": `${head("content-length: +57")}hello`,
  "a hexadecimal length": `${head("content-length: 0x39")}hello`,
  "a negative length": `${head("content-length: -1")}hello`,
  "a length beyond 64 bits": `${head("content-length: 99999999999999999999999")}hello`,
  "a length with zeros in front": `${head("content-length: 005")}hello${good("after")}`,
  "no length": head() + good("after"),
  "bare LF ends": `POST /v1/a HTTP/1.1\nhost: router\ncontent-length: 5\n\nhello`,
  "a bare LF inside": `POST /v1/a HTTP/1.1\r\nhost: router\r\nx-a: b\nx-c: d\r\ncontent-length: 5\r\n\r\nhello`,
  "a bare CR inside": `POST /v1/a HTTP/1.1\r\nhost: router\r\nx-a: b\rx-c: d\r\ncontent-length: 5\r\n\r\nhello`,
  "a NUL in a value": `${head("x-a: b\0c", "content-length: 5")}hello`,
  "a folded value": `${head("x-a: b", " c", "content-length: 5")}hello`,
  "an empty name": `${head(": b", "content-length: 5")}hello`,
  "a name with a space": `${head("x a: b", "content-length: 5")}hello`,
  "absolute form": `POST http://router/v1/a?b=c HTTP/1.1\r\nhost: router\r\ncontent-length: 5\r\n\r\nhello`,
  "a space in the target": `POST /a b HTTP/1.1\r\nhost: router\r\ncontent-length: 5\r\n\r\nhello`,
  "the HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "no host": "POST /v1/a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
  "500 headers": `${head(...Array.from({ length: 500 }, (_, i) => `x-${i}: v`), "content-length: 5")}hello`,
  "one huge header": `${head(`x-a: ${"a".repeat(40_000)}`, "content-length: 5")}hello`,
  "a head without end": `POST /v1/a HTTP/1.1\r\nhost: router\r\n${"x-a: b\r\n".repeat(6_000)}`,
  "a head never finished": "POST /v1/a HTTP/1.1\r\nhost: router\r\nx-a: b\r\n",
  "a good one, then an odd one": `${good("one")}GET /v1/models HTTP/1.1\r\nhost: router\r\n\r\n`,
  "a good one, an odd one, a good one": `${good("one")}GET /v1/m HTTP/1.1\r\nhost: router\r\n\r\n${good("three")}`,
  "an empty line between two": `${good("one")}\r\n${good("two")}`,
  "an upgrade not taken": `${head("upgrade: websocket", "connection: upgrade", "content-length: 5")}hello`,
  "bytes above ASCII": `${head("x-a: caf\xc3\xa9", "content-length: 2")}\xc3\xa9`,
  "tabs around a value": `${head("x-a:\t b \t", "content-length: 5")}hello`
}

/** Where node:http lets junk behind a request take that request's answer away, we answer first. */
const kinder: Record<string, readonly [string, ReadonlyArray<string>]> = {
  "close asked for, then more": [post("x", "connection: close") + good("never"), ["200 POST /v1/completions  x"]],
  "junk after a body": [`${post("one")}junk junk\r\n\r\n`, ["200 POST /v1/completions  one", "400"]],
  "a body longer than stated": [`${head("content-length: 5")}hello world\r\n\r\n`, ["200 POST /v1/a  hello", "400"]],
  "junk after a chunked body": [
    `${head("transfer-encoding: chunked")}5\r\nhello\r\n0\r\n\r\njunk junk\r\n\r\n`,
    ["200 POST /v1/a  hello", "400"]
  ],
  "a target in absolute form without a path": [
    "POST http://router?a HTTP/1.1\r\nhost: router\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx",
    ["200 POST /?a  x"]
  ],
  "a target in authority form": ["POST router:80 HTTP/1.1\r\nhost: router\r\ncontent-length: 0\r\n\r\n", ["400"]],
  "an asterisk": ["OPTIONS * HTTP/1.1\r\nhost: router\r\n\r\n", ["400"]],
  "gzip, chunked": [`${head("transfer-encoding: gzip, chunked")}0\r\n\r\n`, ["501"]],
  "chunked twice": [`${head("transfer-encoding: chunked", "transfer-encoding: chunked")}0\r\n\r\n`, ["400"]],
  "a gzip body": [`${head("content-encoding: gzip", "content-length: 5")}hello`, ["415"]],
  "an odd expectation": [`${head("expect: tea", "content-length: 5")}hello`, ["417"]],
  "a body that is too long": [`${head("content-length: 5000")}${"x".repeat(5_000)}`, ["413"]],
  "a chunked body that is too long": [
    `${head("transfer-encoding: chunked")}${`400\r\n${"x".repeat(1_024)}\r\n`.repeat(5)}0\r\n\r\n`,
    ["413"]
  ],
  "a claim of a terabyte": [head("content-length: 1099511627776"), ["413"]],
  "a head that is too long": [head(`x: ${"y".repeat(33_000)}`, "content-length: 0"), ["431"]]
}

describe("A request, against node:http", () => {
  it.each([
    ["whole", 1_000_000],
    ["in pieces of 61 bytes", 61],
    ["byte by byte", 1]
  ])("sent %s, is understood by the worker as a strict node:http understands it", async (_, pieceBytes) => {
    const echo = await startEcho(closers)
    const { front, exchanges } = await plane(`http://127.0.0.1:${echo}`, {
      front: { headMs: 300, bodyMs: 300, idleMs: 300 }
    })
    const names = Object.keys(alike).filter((name) => pieceBytes > 1 || alike[name]!.length < 1_000)
    const rows = await Promise.all(
      names.map(async (name) => ({
        name,
        ours: await answersTo(front.port, alike[name]!, pieceBytes),
        nodes: await answersTo(echo, alike[name]!, pieceBytes)
      }))
    )
    // 408 is told by us and by node:http at different moments, or by a closed connection: neither understood a request.
    const plain = (answers: ReadonlyArray<string>): ReadonlyArray<string> =>
      answers.filter((answer) => answer !== "408")
    expect(Object.fromEntries(rows.map(({ name, ours }) => [name, plain(ours)]))).toEqual(
      Object.fromEntries(rows.map(({ name, nodes }) => [name, plain(nodes)]))
    )
    // Both parsers were at work.
    expect(exchanges.some((exchange) => exchange.framed)).toBe(true)
    expect(exchanges.some((exchange) => !exchange.framed)).toBe(true)
    expect(front.inFlight()).toBe(0)
  })

  it.each([1_000_000, 61])(
    "is answered our own way where that is kinder, in pieces of %i bytes",
    async (pieceBytes) => {
      const echo = await startEcho(closers)
      const { front } = await plane(`http://127.0.0.1:${echo}`, {
        front: { headMs: 300, bodyMs: 300, idleMs: 300, bodyBytesMax: 4_096 }
      })
      const rows = await Promise.all(
        Object.entries(kinder).map(
          async ([name, [text]]) => [name, await answersTo(front.port, text, pieceBytes)] as const
        )
      )
      expect(Object.fromEntries(rows)).toEqual(
        Object.fromEntries(Object.entries(kinder).map(([name, [, answers]]) => [name, answers]))
      )
    }
  )

  it("that our own parser takes, node:http takes with the same meaning, however it was bent", async () => {
    const echo = await startEcho(closers)
    const line = fc.constantFrom(
      "host: router",
      "Host:a",
      "content-length: 5",
      "Content-Length:\t5 ",
      "content-length: 05",
      "connection: close",
      "connection: keep-alive",
      "transfer-encoding: chunked",
      "expect: 100-continue",
      "x-a: b",
      "x-b:",
      "x-c: \xe9 \t,;",
      'x"d: e',
      "x-e : f",
      " x-f: g",
      "te: trailers"
    )
    const bend = fc.record({
      at: fc.nat({ max: 400 }),
      cut: fc.nat({ max: 2 }),
      put: fc.constantFrom("", "\r", "\n", "\r\n", "\0", " ", "\t", ":", "\x7f", "\x0b", "\xff", "a", "5")
    })
    const requests = fc.record({
      target: fc.constantFrom("/", "/a?b=c", "/%00", "//", "/a#b", "/a b", "*", "http://a/b", '/"<>{}|\\^`', "/\xe9"),
      lines: fc.array(line, { maxLength: 6 }),
      // Most requests start right, so that what is bent is what is tested.
      right: fc.constantFrom(true, true, true, false),
      bends: fc.array(bend, { maxLength: 2 })
    })
    const heads = new Set<string>()
    for (const { bends, lines, right, target } of fc.sample(requests, { seed: 7, numRuns: 20_000 })) {
      const own = right ? ["host: router", "content-length: 5", ...lines.filter((text) => /^x/.test(text))] : lines
      let text = [`POST ${target} HTTP/1.1`, ...own, "", ""].join("\r\n")
      for (const { at, cut, put } of bends) {
        const place = at % text.length
        text = text.slice(0, place) + put + text.slice(place + cut)
      }
      const end = text.indexOf("\r\n\r\n")
      if (end !== -1) heads.add(text.slice(0, end + 4))
    }
    const taken = [...heads].flatMap((text) => {
      const parsed = RequestHead.parse(text)
      return parsed === null ? [] : [{ parsed, text }]
    })
    expect(taken.length).toBeGreaterThan(300)
    expect(heads.size - taken.length).toBeGreaterThan(300)
    const wanted = taken.map(({ parsed }) => {
      const own = parsed.headers.filter((_, i, all) => /^(x-(?!request-id)|content-type)/i.test(all[i - (i % 2)]!))
      return `200 POST ${parsed.target} ${own.join("|")} ${"z".repeat(parsed.contentLength)}`
    })
    const answers: Array<string | undefined> = []
    for (let at = 0; at < taken.length; at += 200) {
      const some = taken.slice(at, at + 200).map(async ({ parsed, text }) => {
        const client = await connectRaw(echo)
        client.send(Buffer.from(text + "z".repeat(parsed.contentLength), "latin1"))
        client.socket.end()
        await client.closed()
        const [first] = readAnswers(client.received()).answers
        return first === undefined ? undefined : `${first.status} ${first.body}`
      })
      answers.push(...(await Promise.all(some)))
    }
    // Node's response text is UTF-8 and its header values are Latin-1: both read as the same characters here.
    expect(answers.map((text) => text && Buffer.from(text, "latin1").toString())).toEqual(wanted)
  })
})
