import { describe, expect, it } from "vitest"
import * as RequestHead from "../../src/http/RequestHead.ts"

const head = (...lines: ReadonlyArray<string>): string =>
  ["POST /v1/chat/completions HTTP/1.1", "host: a", ...lines, "", ""].join("\r\n")

describe("RequestHead.parse", () => {
  it("reads target, path, headers and length of a plain request", () => {
    const text =
      "POST /v1/x?y=1 HTTP/1.1\r\nHost: a:80\r\nContent-Type:  application/json \r\nX-Empty:\r\nContent-Length: 12\r\n\r\n"
    expect(RequestHead.parse(text)).toEqual({
      target: "/v1/x?y=1",
      path: "/v1/x",
      headers: ["Host", "a:80", "Content-Type", "application/json", "X-Empty", "", "Content-Length", "12"],
      contentLength: 12,
      close: false
    })
  })

  it("knows a client that closes from one that stays", () => {
    expect(RequestHead.parse(head("content-length: 0", "Connection: Close"))?.close).toBe(true)
    expect(RequestHead.parse(head("content-length: 0", "connection: keep-alive"))?.close).toBe(false)
  })

  it("keeps bytes above ASCII in values as they are", () => {
    expect(RequestHead.parse(head("content-length: 0", "x: caf\xc3\xa9"))?.headers).toContain("caf\xc3\xa9")
  })

  const declined: ReadonlyArray<readonly [string, string]> = [
    ["no length", head()],
    ["two equal lengths", head("content-length: 5", "content-length: 5")],
    ["two different lengths", head("content-length: 5", "Content-Length: 6")],
    ...["5, 5", "+57", "0x39", "-1", "007", "5 5", "", "99999999999999999999", "1e3", "5;", "\x0b5"].map(
      (value): readonly [string, string] => [`content-length "${value}"`, head(`content-length: ${value}`)]
    ),
    ["transfer-encoding after length", head("content-length: 5", "transfer-encoding: chunked")],
    ["transfer-encoding before length", head("transfer-encoding: chunked", "content-length: 5")],
    ["transfer-encoding alone", head("Transfer-Encoding: chunked")],
    ["transfer-encoding with a tab", head("content-length: 5", "transfer-encoding:\tchunked")],
    ["transfer-encoding xchunked", head("content-length: 5", "transfer-encoding: xchunked")],
    ["a space before the colon", head("content-length : 5")],
    ["a space before a colon beside a good length", head("content-length: 5", "transfer-encoding : chunked")],
    ["a folded line", head("content-length: 5", "x: a", " b")],
    ["a line folded with a tab", head("content-length: 5", "x: a", "\tb")],
    ["an empty name", head("content-length: 5", ": a")],
    ["a line without a colon", head("content-length: 5", "nonsense")],
    ["a name with a space inside", head("content-length: 5", "x y: a")],
    ["a bare LF", head("content-length: 5", "x: a\ny: b")],
    ["a bare CR", head("content-length: 5", "x: a\ry: b")],
    ["a NUL", head("content-length: 5", "x: a\0b")],
    ["a DEL", head("content-length: 5", "x: a\x7fb")],
    ["a bell", head("content-length: 5", "x: a\x07b")],
    ["two hosts", head("content-length: 5", "Host: b")],
    ["no host", "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n"],
    ["an empty host", "POST / HTTP/1.1\r\nhost:\r\ncontent-length: 5\r\n\r\n"],
    ["HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\n\r\n"],
    ["HTTP/1.2", "POST / HTTP/1.2\r\nhost: a\r\ncontent-length: 5\r\n\r\n"],
    ["lower-case http", "POST / http/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"],
    ["GET", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["lower-case post", "post / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["absolute form", "POST http://a/ HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["authority form", "POST a:80 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["a space in the target", "POST /a b HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["a tab in the target", "POST /a\tb HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["a fragment in the target", "POST /a#b HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["bytes above ASCII in the target", "POST /\xe9 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["two spaces after the method", "POST  / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["an empty line first", "\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
    ["the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n"],
    ["no headers at all", "POST / HTTP/1.1\r\n\r\n"],
    ["connection: content-length", head("content-length: 5", "connection: content-length")],
    ["connection with a list", head("content-length: 5", "connection: keep-alive, x-a")],
    ["two connection headers", head("content-length: 5", "connection: close", "connection: keep-alive")],
    ...["expect: 100-continue", "upgrade: websocket", "te: trailers", "trailer: x", "content-encoding: gzip"].map(
      (line): readonly [string, string] => [line, head("content-length: 5", line)]
    ),
    ["500 headers", head("content-length: 5", ...Array.from({ length: 500 }, (_, i) => `x-${i}: v`))]
  ]
  it.each(declined)("leaves %s to node:http", (_, text) => {
    expect(RequestHead.parse(text)).toBeNull()
  })

  it("declines a huge head of near misses in linear steps", () => {
    const almost = `POST / HTTP/1.1\r\n${`x: ${" \t".repeat(40)}\r\n`.repeat(300)}x: \0\r\n\r\n`
    // A match that tried every split of the blanks would not come back in the life of this machine.
    expect(RequestHead.parse(almost)).toBeNull()
  })
})

describe("RequestHead.mayBecome", () => {
  const whole = head("content-length: 5", "x: y")
  it("waits for the rest of every cut of a good head", () => {
    for (let end = 1; end < whole.length; end++) {
      expect(RequestHead.mayBecome(Buffer.from(whole.slice(0, end), "latin1"))).toBe(true)
    }
  })
  it.each(["G", "POST x", "post /", "POST /\n", "POST / HTTP/1.1\r\nx: \0", "POST / HTTP/1.1\rx"])(
    "gives up on %j at once",
    (text) => {
      expect(RequestHead.mayBecome(Buffer.from(text, "latin1"))).toBe(false)
    }
  )
})
