import { describe, expect, it } from "vitest"
import * as ResponseHead from "../../src/http/ResponseHead.ts"

const head = (status: string, ...lines: ReadonlyArray<string>): string => [status, ...lines, "", ""].join("\r\n")
const read = (text: string, method = "POST"): ResponseHead.ResponseHead => {
  const parsed = ResponseHead.parse(text, method)
  if (typeof parsed === "string") throw new Error(parsed)
  return parsed
}

describe("ResponseHead.parse", () => {
  it("reads status, reason, headers and length", () => {
    expect(read(head("HTTP/1.1 200 All is well", "Content-Length: 3", "X-A: \tb "))).toEqual({
      status: 200,
      reason: "All is well",
      headers: ["Content-Length", "3", "X-A", "b"],
      framing: "length",
      length: 3,
      keepAlive: true
    })
  })

  it("takes a status line without a reason", () => {
    expect(read("HTTP/1.1 204 \r\n\r\n").reason).toBe("")
    expect(read("HTTP/1.1 204\r\n\r\n").status).toBe(204)
  })

  it.each([
    ["POST", "HTTP/1.1 200 OK", ["transfer-encoding: Chunked"], "chunked"],
    ["POST", "HTTP/1.1 200 OK", ["content-length: 0"], "length"],
    ["POST", "HTTP/1.1 200 OK", [], "close"],
    ["POST", "HTTP/1.0 200 OK", [], "close"],
    ["POST", "HTTP/1.1 204 No Content", [], "none"],
    ["POST", "HTTP/1.1 304 Not Modified", ["content-length: 9"], "none"],
    ["POST", "HTTP/1.1 100 Continue", [], "none"],
    ["HEAD", "HTTP/1.1 200 OK", ["content-length: 9"], "none"],
    ["HEAD", "HTTP/1.1 200 OK", ["transfer-encoding: chunked"], "none"]
  ] as const)("frames the answer to %s with %s and %j as %s", (method, status, lines, framing) => {
    expect(read(head(status, ...lines), method).framing).toBe(framing)
  })

  it.each([
    ["HTTP/1.1 200 OK", ["content-length: 1"], true],
    ["HTTP/1.1 200 OK", ["content-length: 1", "connection: Close"], false],
    ["HTTP/1.1 200 OK", ["content-length: 1", "connection: x, close"], false],
    ["HTTP/1.1 200 OK", ["content-length: 1", "connection: closet"], true],
    ["HTTP/1.0 200 OK", ["content-length: 1", "connection: keep-alive"], false],
    ["HTTP/1.1 200 OK", [], false]
  ] as const)("with %s and %j keeps the socket: %s", (status, lines, keepAlive) => {
    expect(read(head(status, ...lines)).keepAlive).toBe(keepAlive)
  })

  it.each([
    ["length and chunked", head("HTTP/1.1 200 OK", "content-length: 3", "transfer-encoding: chunked")],
    ["chunked and length", head("HTTP/1.1 200 OK", "transfer-encoding: chunked", "content-length: 3")],
    ["two equal lengths", head("HTTP/1.1 200 OK", "content-length: 3", "content-length: 3")],
    ["two lengths", head("HTTP/1.1 200 OK", "content-length: 3", "content-length: 4")],
    ["a length list", head("HTTP/1.1 200 OK", "content-length: 3, 3")],
    ["a signed length", head("HTTP/1.1 200 OK", "content-length: +3")],
    ["two chunked", head("HTTP/1.1 200 OK", "transfer-encoding: chunked", "transfer-encoding: chunked")],
    ["gzip, chunked", head("HTTP/1.1 200 OK", "transfer-encoding: gzip, chunked")],
    ["xchunked", head("HTTP/1.1 200 OK", "transfer-encoding: xchunked")],
    ["chunked in HTTP/1.0", head("HTTP/1.0 200 OK", "transfer-encoding: chunked")],
    ["chunked with 204", head("HTTP/1.1 204 No Content", "transfer-encoding: chunked")],
    ["101", head("HTTP/1.1 101 Switching Protocols", "upgrade: x")],
    ["a space before the colon", head("HTTP/1.1 200 OK", "content-length : 3")],
    ["folding", head("HTTP/1.1 200 OK", "x: a", " b", "content-length: 3")],
    ["a bare LF", head("HTTP/1.1 200 OK\nx: y", "content-length: 3")],
    ["a bare CR", head("HTTP/1.1 200 OK", "x: a\rb", "content-length: 3")],
    ["a NUL", head("HTTP/1.1 200 OK", "x: \0", "content-length: 3")],
    ["an empty name", head("HTTP/1.1 200 OK", ": x", "content-length: 3")],
    ["a two-digit status", head("HTTP/1.1 20 OK", "content-length: 3")],
    ["a status above 599", head("HTTP/1.1 600 X", "content-length: 3")],
    ["HTTP/2", head("HTTP/2 200", "content-length: 3")],
    ["something else entirely", "SSH-2.0-OpenSSH_9.6\r\n\r\n"]
  ])("refuses %s and says why", (_, text) => {
    expect(ResponseHead.parse(text, "POST")).toMatch(/^it(s| )/)
  })
})
