/** The front: what a client connection may do, and how a drain ends it. */
import { describe, expect, it } from "vitest"
import * as Front from "../../src/http/Front.ts"
import {
  answersTo,
  chunk,
  connectRaw,
  eventHead,
  head,
  managed,
  oddRequest,
  ok,
  plainRequest,
  post,
  readAnswers,
  startEcho,
  until
} from "../support/DataPlane.ts"

const { closers, plane, worker } = managed()

describe("A client connection", () => {
  it("is given the errors of the front in the handler's own shape", async () => {
    const { front } = await plane("http://127.0.0.1:9", { front: { bodyBytesMax: 10 } })
    const client = await connectRaw(front.port)
    client.send(post("x".repeat(11)))
    await until(() => client.received().includes("}}"))
    const [answer] = readAnswers(client.received()).answers
    expect(answer?.head).toMatch(/^HTTP\/1.1 413 Payload Too Large\r\n/)
    expect(JSON.parse(answer!.body)).toEqual({ error: { code: "bodyTooLarge", status: 413 } })
    client.socket.destroy()
  })

  it("may send a large body only after 100 Continue, and is refused before it sends one that is too large", async () => {
    const echo = await startEcho(closers)
    const { front } = await plane(`http://127.0.0.1:${echo}`, { front: { bodyBytesMax: 100 } })
    const client = await connectRaw(front.port)
    client.send(head("expect: 100-continue", "content-length: 5"))
    await until(() => client.received().startsWith("HTTP/1.1 100 Continue\r\n\r\n"))
    client.send("hello")
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(readAnswers(client.received()).answers[0]?.body).toBe("POST /v1/a  hello")
    const large = await connectRaw(front.port)
    large.send(head("expect: 100-continue", "content-length: 101"))
    await until(() => large.received() !== "")
    expect(large.received()).toMatch(/^HTTP\/1.1 413 /)
    client.socket.destroy()
    large.socket.destroy()
  })

  it("that ends its side after the request counts as gone, on either parser", async () => {
    const silent = await worker(() => {})
    const { front, outcomes } = await plane(silent.url)
    for (const text of [post("x"), `${head("transfer-encoding: chunked")}1\r\nx\r\n0\r\n\r\n`]) {
      const client = await connectRaw(front.port)
      const before = silent.requests.length
      client.send(text)
      await until(() => silent.requests.length > before)
      client.socket.end()
      await client.closed()
      await until(() => silent.sockets.size === 0)
    }
    expect(outcomes).toEqual([
      { kind: "clientGone", sent: false },
      { kind: "clientGone", sent: false }
    ])
    expect(front.inFlight()).toBe(0)
  })

  it("that ends or resets in the middle of a body leaves nothing behind", async () => {
    const { exchanges, front } = await plane("http://127.0.0.1:9")
    for (const text of [`${head("content-length: 10")}hello`, `${head("transfer-encoding: chunked")}5\r\nhe`]) {
      for (const leave of ["end", "resetAndDestroy"] as const) {
        const client = await connectRaw(front.port)
        client.send(text)
        await until(() => front.connections() === 1)
        client.socket[leave]()
        await until(() => client.isClosed() && front.connections() === 0)
      }
    }
    expect(exchanges).toEqual([])
    expect(front.inFlight()).toBe(0)
  })

  it("is told 408 when a head or a body does not come, and is closed when it idles", async () => {
    const { front } = await plane("http://127.0.0.1:9", { front: { headMs: 60, bodyMs: 60, idleMs: 60 } })
    const texts = [
      "POST /v1/a HTTP/1.1\r\nhost",
      `${head("content-length: 10")}hello`,
      "GET /v1/a HTTP/1.1\r\nhost",
      ""
    ]
    const answers = await Promise.all(texts.map((text) => answersTo(front.port, text, 1_000_000)))
    expect(answers).toEqual([["408"], ["408"], ["408"], []])
    await until(() => front.connections() === 0)
  })

  it("cannot put a line of its own into the request of a worker, nor a worker's into its own", async () => {
    const upstream = await worker((socket) => socket.write(ok("fine")))
    const { front } = await plane(upstream.url, {
      forward: {
        extraHeaders: ["x-request-id", "a\r\nx-evil: 1\u010ax-evil: 2"],
        answerHeaders: ["x-w", "\u010d\u010aset-cookie: a"]
      }
    })
    const client = await connectRaw(front.port)
    client.send(post("x", "X-Request-Id: mine", "authorization: Bearer k"))
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(upstream.requests[0]).toBe(
      `POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1:${upstream.port}\r\nauthorization: Bearer k\r\n` +
        "x-request-id: a??x-evil: 1?x-evil: 2\r\ncontent-length: 1\r\n\r\nx"
    )
    expect(client.received()).toBe("HTTP/1.1 200 OK\r\nx-w: ??set-cookie: a\r\ncontent-length: 4\r\n\r\nfine")
    client.socket.destroy()
  })

  it("has its hop-by-hop headers dropped, and those that its connection header names, but never the framing", async () => {
    const upstream = await worker((socket) => socket.write(ok("fine")))
    const { front } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(
      `${head(
        "connection: X-Secret, content-length, keep-alive",
        "x-secret: 1",
        "keep-alive: timeout=9",
        "te: trailers"
      ).replace("\r\n\r\n", "\r\nproxy-authorization: p\r\nupgrade: h2c\r\nx-kept: 2\r\ncontent-length: 1\r\n\r\n")}x`
    )
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(upstream.requests).toEqual([
      `POST /v1/a HTTP/1.1\r\nhost: 127.0.0.1:${upstream.port}\r\nx-kept: 2\r\nx-request-id: r1\r\ncontent-length: 1\r\n\r\nx`
    ])
    client.socket.destroy()
  })

  it("gets a whole answer over HTTP/1.0, ended by the end of the connection", async () => {
    const upstream = await worker((socket) => socket.write(`${eventHead}${chunk("a")}${chunk("b")}0\r\n\r\n`))
    const { front } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send("POST /v1/a HTTP/1.0\r\ncontent-length: 1\r\n\r\nx")
    await client.closed()
    expect(client.received()).toMatch(/^HTTP\/1.1 200 OK\r\n(?!.*transfer-encoding).*\r\n\r\nab$/is)
    expect(client.isEnded()).toBe(true)
  })

  it("over HTTP/1.0 is reset, not ended, when the answer breaks off", async () => {
    const upstream = await worker((socket) => socket.write(eventHead + chunk("a")))
    const { front } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send("POST /v1/a HTTP/1.0\r\ncontent-length: 1\r\n\r\nx")
    await until(() => client.received().endsWith("a"))
    for (const socket of upstream.sockets) socket.resetAndDestroy()
    await client.closed()
    expect(client.isEnded()).toBe(false)
  })

  it("asking HEAD or GET gets what the worker says, without a body where there is none", async () => {
    const upstream = await worker((socket, request) => {
      socket.write(request.startsWith("HEAD") ? "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n" : ok("models"))
    })
    const { front } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send("HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n")
    await until(() => client.received().endsWith("\r\n\r\n"))
    expect(client.received()).toContain("content-length: 9")
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n")
    await until(() => client.received().endsWith("models"))
    expect(upstream.accepted()).toBe(1)
    expect(upstream.requests[1]).not.toContain("content-length")
    client.socket.destroy()
  })

  it("carries a body of many megabytes unharmed, in one piece or through chunks", async () => {
    const body = Buffer.alloc(5_000_000, "0123456789abcdef")
    const upstream = await worker((socket, request) => socket.write(ok(request.slice(request.indexOf("\r\n\r\n") + 4))))
    const { front } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(head(`content-length: ${body.length}`))
    client.send(body)
    await until(() => client.receivedBytes() > body.length)
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(readAnswers(client.received()).answers[0]?.body === body.toString("latin1")).toBe(true)
    const chunked = await connectRaw(front.port)
    chunked.send(head("transfer-encoding: chunked"))
    chunked.send(`${body.length.toString(16)}\r\n`)
    chunked.send(body)
    chunked.send("\r\n0\r\n\r\n")
    await until(() => chunked.receivedBytes() > body.length)
    await until(() => readAnswers(chunked.received()).answers.length === 1)
    expect(readAnswers(chunked.received()).answers[0]?.body === body.toString("latin1")).toBe(true)
    client.socket.destroy()
    chunked.socket.destroy()
  })

  it("that floods requests behind one in flight is read no further than a bound", async () => {
    let released = false
    const silent = await worker((socket) => {
      if (released) socket.write(ok("fine"))
    })
    const { exchanges, front } = await plane(silent.url)
    const client = await connectRaw(front.port)
    client.send(post("x"))
    await until(() => exchanges.length === 1)
    const flood = Buffer.from(post("y".repeat(1_000)).repeat(1_000))
    let sent = 0
    while (client.socket.write(flood) || sent < 40) {
      sent++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(client.socket.writableLength).toBeGreaterThan(20 * flood.length)
    expect(exchanges.length).toBe(1)
    client.socket.destroy()
    // A front that does not read cannot see the client go; it does as soon as it has something to write.
    released = true
    for (const socket of silent.sockets) socket.write(ok("at last"))
    await until(() => front.connections() === 0)
  })
})

describe("A connection on node:http", () => {
  it("may have only so many requests open at once", async () => {
    const silent = await worker(() => {})
    const { exchanges, front } = await plane(silent.url)
    const client = await connectRaw(front.port)
    client.send("GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000))
    await client.closed()
    expect(exchanges.length).toBeLessThanOrEqual(64)
    await until(() => front.inFlight() === 0 && silent.sockets.size === 0)
  })

  it("answers pipelined requests in order, whichever worker is first", async () => {
    const upstream = await worker((socket, request, nth) => {
      const answer = (): unknown => socket.write(ok(request.split(" ")[1]!))
      if (nth === 1) setTimeout(answer, 20)
      else answer()
    })
    const { front } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(["a", "b", "c"].map((name) => `GET /${name} HTTP/1.1\r\nhost: a\r\n\r\n`).join(""))
    await until(() => readAnswers(client.received()).answers.length === 3)
    expect(readAnswers(client.received()).answers.map(({ body }) => body)).toEqual(["/a", "/b", "/c"])
    client.socket.destroy()
  })
})

describe("A handler that throws", () => {
  it.each([plainRequest, oddRequest])(
    "answers 500 in the usual shape, and the connection goes on (%#)",
    async (text) => {
      const warnings: Array<Error> = []
      const note = (warning: Error): unknown => warnings.push(warning)
      process.on("warning", note)
      closers.push(async () => process.off("warning", note))
      const front = await Front.listen(
        { host: "127.0.0.1", port: 0 },
        {
          refuse: (status, refusal) => `${status} ${refusal}`,
          request: () => {
            throw new Error("a bug")
          }
        }
      )
      closers.push(front.close)
      const client = await connectRaw(front.port)
      client.send(text)
      await until(() => readAnswers(client.received()).answers.length === 1)
      client.send(text)
      await until(() => readAnswers(client.received()).answers.length === 2)
      expect(readAnswers(client.received()).answers).toMatchObject([
        { status: 500, body: "500 internal" },
        { status: 500, body: "500 internal" }
      ])
      expect(front.inFlight()).toBe(0)
      await until(() => warnings.length === 2)
      client.socket.destroy()
    }
  )
})

describe("A drain", () => {
  it("under load loses no request, and refuses new connections", async () => {
    const upstream = await worker((socket, request) => {
      setImmediate(() => socket.write(ok(request.slice(-6))))
    })
    const { front } = await plane(upstream.url)
    let sent = 0
    let answered = 0
    let draining = false
    const clients = Array.from({ length: 24 }, async (_, nth) => {
      const client = await connectRaw(front.port)
      // Every third client is on node:http.
      const line = nth % 3 === 0 ? "te: trailers" : "x: y"
      for (let i = 0; ; i++) {
        const mark = `m${String(nth).padStart(2, "0")}${String(i % 1_000).padStart(3, "0")}`
        sent++
        client.send(post(mark, line))
        await until(() => readAnswers(client.received()).answers.length === i + 1 || client.isClosed())
        const last = readAnswers(client.received()).answers[i]
        expect(last?.body).toBe(mark)
        answered++
        if (/^connection: close$/im.test(last!.head)) break
        expect(draining && i > 500).toBe(false)
      }
      await client.closed()
    })
    await until(() => answered > 300)
    draining = true
    const drained = front.drain(20_000)
    await Promise.all(clients)
    await drained
    expect(answered).toBe(sent)
    expect(front.connections()).toBe(0)
    await expect(connectRaw(front.port)).rejects.toThrow("ECONNREFUSED")
  })

  it("waits for a stream to end, and soon closes connections that idle", async () => {
    const upstream = await worker((socket) => socket.write(eventHead + chunk("data: 1\n\n")))
    const { front } = await plane(upstream.url)
    const idle = await connectRaw(front.port)
    const streaming = await connectRaw(front.port)
    streaming.send(post("x"))
    await until(() => streaming.received().includes("data: 1"))
    let drained = false
    const drain = front.drain(20_000).then(() => {
      drained = true
    })
    await idle.closed()
    expect(drained).toBe(false)
    expect(front.inFlight()).toBe(1)
    for (const socket of upstream.sockets) socket.write("0\r\n\r\n")
    await streaming.closed()
    await drain
    expect(readAnswers(streaming.received()).answers).toMatchObject([{ status: 200, body: "data: 1\n\n" }])
  })

  it("cuts what has not ended when its time is up", async () => {
    const upstream = await worker(() => {})
    const { front, outcomes } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(post("x"))
    await until(() => front.inFlight() === 1)
    await front.drain(80)
    await client.closed()
    expect(outcomes).toEqual([{ kind: "clientGone", sent: false }])
  })
})
