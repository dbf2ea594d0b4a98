/** Answers that are edited on their way, when something goes otherwise than it should: over raw sockets. */
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "vitest"
import * as Front from "../../src/http/Front.ts"
import * as Pool from "../../src/http/Pool.ts"
import { forward } from "../../src/http/Upstream.ts"
import { chunk, connectRaw, eventHead, managed, post, readAnswers, until } from "../support/DataPlane.ts"
import * as RequestPath from "./RequestPath.ts"
import * as Streams from "./Streams.ts"

const { closers, worker } = managed()

/** The request path over workers of one engine, on a port. */
const startPath = async (engine: string, ...urls: ReadonlyArray<string>) => {
  const pool = Pool.make({ sweepMs: 20 })
  const path = RequestPath.setUp({ workers: urls.map(() => ({ engine })), urls, deps: { pool, forward } })
  const front = await Front.listen(
    { host: "127.0.0.1", port: 0, sweepMs: 20 },
    { request: path.handle, refuse: (status) => String(status) }
  )
  closers.push(async () => {
    await front.close()
    pool.close()
  })
  return { ...path, port: front.port }
}

const asking = post('{"model":"m","prompt":"x","stream":true}')
const delta = `data: ${JSON.stringify({ choices: [{ index: 0, text: "a" }] })}\n\n`
const usageRecord = `data: ${JSON.stringify({ choices: [], usage: Streams.usage })}\n\n`
const done = "data: [DONE]\n\n"
const flat = JSON.stringify({ object: "error", message: "No.", type: "BadRequestError", param: null, code: 400 })
const errorHead = (lines: string): string =>
  `HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n${lines}\r\n`

describe("A client whose stream is edited", () => {
  it("may send the next request on the same connection, and one behind it at once", async () => {
    const upstream = await worker(
      (socket) => void socket.write(`${eventHead}${chunk(delta)}${chunk(usageRecord + done)}0\r\n\r\n`)
    )
    const { port, records } = await startPath("vllm", upstream.url)
    const client = await connectRaw(port)
    client.send(asking)
    await until(() => records.length === 1)
    client.send(asking + asking)
    await until(() => records.length === 3 && readAnswers(client.received()).answers.length === 3)
    expect(readAnswers(client.received())).toMatchObject({
      rest: "",
      answers: Array.from({ length: 3 }, () => ({ status: 200, body: delta + done }))
    })
    expect(upstream.accepted()).toBe(1)
    client.socket.destroy()
  })

  it("may leave while a line is held back: its worker is told at once", async () => {
    for (const sent of [delta.slice(0, 20), delta + usageRecord.slice(0, 20)]) {
      const upstream = await worker((socket) => void socket.write(eventHead + chunk(sent)))
      const { port, records } = await startPath("vllm", upstream.url)
      const client = await connectRaw(port)
      client.send(asking)
      await until(() => upstream.requests.length === 1)
      if (sent.includes("\n")) await until(() => client.received().includes(delta))
      client.socket.destroy()
      await until(() => records.length === 1 && upstream.sockets.size === 0)
      expect(records).toMatchObject([{ outcome: "clientGone" }])
    }
  })
})

describe("A stream that is compressed, though the worker was asked not to", () => {
  const zipped = gzipSync(Buffer.from((delta.repeat(40) + usageRecord + done).repeat(3)))
  const head = eventHead.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n")
  const framed = Buffer.concat([Buffer.from(`${zipped.length.toString(16)}\r\n`), zipped, Buffer.from("\r\n")])

  it("passes as it comes, and none of it waits", async () => {
    let end = (): void => {}
    const upstream = await worker((socket) => {
      socket.write(head)
      socket.write(framed)
      end = () => socket.write("0\r\n\r\n")
    })
    const { port, records } = await startPath("vllm", upstream.url)
    const client = await connectRaw(port)
    client.send(asking)
    await until(() => client.received().includes(zipped.toString("latin1")))
    end()
    await until(() => records.length === 1 && readAnswers(client.received()).answers.length === 1)
    expect(readAnswers(client.received()).answers[0]!.body).toBe(zipped.toString("latin1"))
    client.socket.destroy()
  })

  it("is cut when it breaks off: words of ours are none in it", async () => {
    const upstream = await worker((socket) => {
      socket.write(head)
      socket.write(framed)
      socket.end()
    })
    const { port, records } = await startPath("vllm", upstream.url)
    const client = await connectRaw(port)
    client.send(asking)
    await client.closed()
    expect(client.received()).not.toContain("worker_failed")
    expect(readAnswers(client.received()).answers).toEqual([])
    expect(records).toMatchObject([{ outcome: "failed" }])
  })
})

describe("A flat error", () => {
  const asked = post('{"model":"m","prompt":"x"}')
  const answersOf = async (request: string, ...parts: ReadonlyArray<string>) => {
    const upstream = await worker(async (socket) => {
      for (const part of parts) {
        socket.write(part)
        await new Promise((resolve) => setImmediate(resolve))
      }
      if (!parts.at(-1)!.endsWith("0\r\n\r\n")) socket.end()
    })
    const { port, records, outcomes } = await startPath("sglang", upstream.url, upstream.url)
    const client = await connectRaw(port)
    client.send(request)
    await until(
      () => records.length === 1 && (client.isClosed() || readAnswers(client.received()).answers.length === 1)
    )
    client.socket.destroy()
    return { answers: readAnswers(client.received()).answers, records, outcomes, tries: upstream.requests.length }
  }

  it("is wrapped however it is framed, for a client of any version", async () => {
    const framings = [
      [errorHead("transfer-encoding: chunked\r\n"), ...flat.split("").map(chunk), "0\r\n\r\n"],
      [errorHead(""), flat.slice(0, 9), flat.slice(9)],
      [errorHead(`content-length: ${flat.length}\r\n`) + flat]
    ]
    for (const request of [asked, asked.replace("HTTP/1.1", "HTTP/1.0")]) {
      for (const parts of framings) {
        const { answers } = await answersOf(request, ...parts)
        expect([answers[0]!.status, JSON.parse(answers[0]!.body)]).toMatchObject([400, { error: { message: "No." } }])
      }
    }
  })

  it("that is cut has not begun for the client: another worker is asked", async () => {
    const { answers, outcomes, tries } = await answersOf(
      asked,
      errorHead("transfer-encoding: chunked\r\n"),
      chunk(flat.slice(0, 30))
    )
    expect([tries, answers[0]!.status, outcomes]).toEqual([2, 502, ["diedBeforeFirstByte", "diedBeforeFirstByte"]])
  })

  it("that is too long to be one passes whole", async () => {
    const long = JSON.stringify({ object: "error", message: "x".repeat(1 << 20) })
    const { answers } = await answersOf(asked, errorHead("transfer-encoding: chunked\r\n"), chunk(long), "0\r\n\r\n")
    expect(answers[0]!.body).toBe(long)
  })
})
