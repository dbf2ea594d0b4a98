/**
 * Answers, attacked with raw sockets: whatever bytes a worker sends, the client gets a whole answer, a 502, or a visible
 * cut; and neither side can make us hold more than a bounded number of bytes for the other.
 */
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo } from "node:net"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { describe, expect, it } from "vitest"
import {
  chunk,
  connectRaw,
  eventHead,
  managed,
  oddRequest,
  ok,
  type Plane,
  plainRequest,
  post,
  type RawWorker,
  readAnswers,
  startWorker,
  until
} from "../support/DataPlane.ts"
import { certificate, privateKey } from "../support/TestCertificate.ts"

const { closers, plane, worker } = managed()

describe("An answer of a worker", () => {
  /** What a client gets from a worker that writes `pieces` one after the other and then does `then`. */
  const relay = async (
    pieces: ReadonlyArray<string>,
    then: "stay" | "end" | "resetAndDestroy" = "stay",
    text = post("x")
  ): Promise<{
    readonly text: string
    readonly isEnded: boolean
    readonly plane: Plane
    readonly upstream: RawWorker
  }> => {
    const upstream = await worker(async (socket) => {
      for (const piece of pieces) {
        socket.write(Buffer.from(piece, "latin1"))
        if (pieces.length > 1) await new Promise((resolve) => setImmediate(resolve))
      }
      if (then !== "stay") socket[then]()
    })
    const started = await plane(upstream.url)
    const client = await connectRaw(started.front.port)
    client.send(text)
    await until(
      () => started.outcomes.length === 1 && (client.isClosed() || readAnswers(client.received()).answers.length === 1)
    )
    const got = { text: client.received(), isEnded: client.isEnded(), plane: started, upstream }
    client.socket.destroy()
    return got
  }
  const answerHead = "HTTP/1.1 200 OK\r\nx-warmpath-worker: w1\r\n"

  const whole: Record<string, readonly [string, "stay" | "end" | "resetAndDestroy", string]> = {
    "with a length": [ok("hello"), "stay", `${answerHead}content-length: 5\r\n\r\nhello`],
    "with no bytes": [ok(""), "stay", `${answerHead}content-length: 0\r\n\r\n`],
    "in chunks": [
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunk("hello")}${chunk(" you")}0\r\n\r\n`,
      "stay",
      `${answerHead}transfer-encoding: chunked\r\n\r\n${chunk("hello")}${chunk(" you")}0\r\n\r\n`
    ],
    "in chunks with trailers, which are dropped": [
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n${chunk("hello")}0\r\nx-sum: 1\r\n\r\n`,
      "stay",
      `${answerHead}transfer-encoding: chunked\r\n\r\n${chunk("hello")}0\r\n\r\n`
    ],
    "in chunks without payload": [
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      "stay",
      `${answerHead}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`
    ],
    "after 100 and 103": [
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${ok("hello")}`,
      "stay",
      `${answerHead}content-length: 5\r\n\r\nhello`
    ],
    "of 204": ["HTTP/1.1 204 No Content\r\n\r\n", "stay", "HTTP/1.1 204 No Content\r\nx-warmpath-worker: w1\r\n\r\n"],
    "of 304 with a length": [
      "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
      "stay",
      "HTTP/1.1 304 Not Modified\r\nx-warmpath-worker: w1\r\ncontent-length: 9\r\n\r\n"
    ],
    "of 500": [
      "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
      "stay",
      "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\nx-warmpath-worker: w1\r\ncontent-length: 2\r\n\r\n{}"
    ],
    "with hop-by-hop headers": [
      "HTTP/1.1 200 OK\r\nconnection: keep-alive, X-Secret\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\nx-kept: 2\r\ncontent-length: 1\r\n\r\ny",
      "stay",
      "HTTP/1.1 200 OK\r\nx-kept: 2\r\nx-warmpath-worker: w1\r\ncontent-length: 1\r\n\r\ny"
    ]
  }
  it.each(Object.keys(whole))("%s reaches the client whole, in one piece or byte by byte", async (name) => {
    const [text, then, expected] = whole[name]!
    expect((await relay([text], then)).text).toBe(expected)
    const slow = await relay(text.split(""), then)
    expect(readAnswers(slow.text).answers).toEqual(readAnswers(expected).answers)
    const odd = readAnswers((await relay([text], then, oddRequest)).text).answers
    expect(odd.map(({ body, status }) => [status, body])).toEqual(
      readAnswers(expected).answers.map(({ body, status }) => [status, body])
    )
  })

  it.each([plainRequest, oddRequest])(
    "delimited by the end of the connection is given its own chunks (%#)",
    async (text) => {
      const { isEnded, plane, text: got } = await relay(["HTTP/1.1 200 OK\r\n\r\nhello", " you"], "end", text)
      expect(isEnded).toBe(false)
      expect(readAnswers(got)).toMatchObject({ answers: [{ status: 200, body: "hello you" }], rest: "" })
      expect(plane.payload()).toBe("hello you")
      expect(plane.outcomes).toEqual([{ kind: "complete", status: 200 }])
    }
  )

  const odd: Record<string, readonly [string, "stay" | "end" | "resetAndDestroy", string]> = {
    "length and chunked": [
      "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
      "stay",
      "badHead"
    ],
    "two lengths": ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "stay", "badHead"],
    "a head with bare LF": ["HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", "stay", "badHead"],
    "a bare LF in its head": ["HTTP/1.1 200 OK\r\nx: y\nz: a\r\ncontent-length: 5\r\n\r\nhello", "stay", "badHead"],
    "a huge head": [`HTTP/1.1 200 OK\r\nx: ${"y".repeat(70_000)}`, "stay", "badHead"],
    "a switch of protocols": ["HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "stay", "badHead"],
    "100 without end": ["HTTP/1.1 100 Continue\r\n\r\n".repeat(100), "stay", "badHead"],
    "something that is not HTTP": ["SSH-2.0-OpenSSH\r\n\r\n", "stay", "badHead"],
    "a first chunk that is broken": [`${eventHead}zz\r\nhello\r\n`, "stay", "badBody"],
    "a first chunk size with bare LF": [`${eventHead}5\nhello\n`, "stay", "badBody"],
    "a chunk extension": [`${eventHead}5;a=b\r\nhello\r\n`, "stay", "badBody"],
    "an end before a head": ["", "end", "reset"],
    "a reset before a head": ["", "resetAndDestroy", "reset"],
    "an end in its head": ["HTTP/1.1 200 OK\r\nx: ", "end", "truncated"],
    "an end after its head": [eventHead, "end", "truncated"],
    "an end in its first chunk size": [`${eventHead}5`, "end", "truncated"],
    "an end before the first byte of a length": ["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "end", "truncated"]
  }
  it.each(Object.keys(odd))("with %s becomes a 502, for nothing has been sent", async (name) => {
    const [bytes, then, code] = odd[name]!
    for (const text of [plainRequest, oddRequest]) {
      const { plane, text: got, upstream } = await relay([bytes], then, text)
      expect(readAnswers(got).answers).toMatchObject([{ status: 502, body: code }])
      expect(plane.outcomes).toMatchObject([{ kind: "failed", sent: false, code }])
      await until(() => upstream.sockets.size === 0 && plane.pool.sockets() === 0)
    }
  })

  it("cut into byte by byte before it turns out odd is a 502 too", async () => {
    const { text } = await relay(`${eventHead}5;`.split(""))
    expect(readAnswers(text).answers).toMatchObject([{ status: 502, body: "badBody" }])
  })

  const cut: Record<string, readonly [ReadonlyArray<string>, "stay" | "end" | "resetAndDestroy", string]> = {
    "an end in the middle of a length": [["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"], "end", "truncated"],
    "a reset in the middle of a length": [
      ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"],
      "resetAndDestroy",
      "truncated"
    ],
    "an end between chunks": [[eventHead + chunk("hello")], "end", "truncated"],
    "an end in a chunk": [[`${eventHead}9\r\nhello`], "end", "truncated"],
    "a broken chunk after a good one": [[eventHead + chunk("hello"), "zz\r\n"], "stay", "badBody"],
    "a reset of a body without length": [["HTTP/1.1 200 OK\r\n\r\nhello"], "resetAndDestroy", "truncated"]
  }
  it.each(Object.keys(cut))("with %s is visibly cut, for some of it has been sent", async (name) => {
    const [pieces, then, code] = cut[name]!
    for (const text of [plainRequest, oddRequest]) {
      const upstream = await worker((socket) => socket.write(pieces[0]!))
      const { front, outcomes } = await plane(upstream.url)
      const client = await connectRaw(front.port)
      client.send(text)
      await until(() => client.received().includes("hello"))
      for (const socket of upstream.sockets) {
        if (pieces.length > 1) socket.write(pieces[1]!)
        if (then !== "stay") socket[then]()
      }
      await client.closed()
      expect(readAnswers(client.received()).answers).toEqual([])
      expect(outcomes).toMatchObject([{ kind: "failed", sent: true, code }])
      expect(front.inFlight()).toBe(0)
    }
  })

  it.each([plainRequest, oddRequest])(
    "that is an event stream may end with a last event when it breaks off (%#)",
    async (text) => {
      const upstream = await worker((socket) => socket.write(eventHead + chunk("data: 1\n\n")))
      const { front, outcomes } = await plane(upstream.url, {
        forward: { onFail: (code) => `data: {"error":"${code}"}\n\n` }
      })
      const client = await connectRaw(front.port)
      client.send(text)
      await until(() => client.received().includes("data: 1"))
      for (const socket of upstream.sockets) socket.resetAndDestroy()
      await until(() => outcomes.length === 1 && readAnswers(client.received()).answers.length === 1)
      expect(readAnswers(client.received()).answers[0]?.body).toBe('data: 1\n\ndata: {"error":"truncated"}\n\n')
      expect(outcomes).toMatchObject([{ kind: "failed", sent: true }])
      // The connection is good for another request.
      client.send(text)
      await until(() => readAnswers(client.received()).rest.includes("data: 1"))
      client.socket.destroy()
    }
  )

  it("in the middle of a chunk is cut even when a last event is offered", async () => {
    const upstream = await worker((socket) => socket.write(`${eventHead}20\r\ndata: 1`))
    const { front } = await plane(upstream.url, { forward: { onFail: () => "data: error\n\n" } })
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => client.received().includes("data: 1"))
    for (const socket of upstream.sockets) socket.destroy()
    await client.closed()
    expect(client.received()).not.toContain("error")
  })

  it("followed by more bytes than it should have is whole, but its socket is not used again", async () => {
    for (const bytes of [
      `${ok("hello")}HTTP/1.1 200 OK\r\n`,
      `${eventHead}${chunk("hello")}0\r\n\r\nX`,
      "HTTP/1.1 204 N\r\n\r\nX"
    ]) {
      const { plane, text, upstream } = await relay([bytes])
      expect(text).not.toContain("X")
      expect(readAnswers(text)).toMatchObject({ answers: [{}], rest: "" })
      await until(() => upstream.sockets.size === 0)
      expect(plane.pool.idle()).toBe(0)
    }
  })

  it("with bytes that come late, on an idle socket, loses that socket", async () => {
    const { plane, upstream } = await relay([ok("hello")])
    expect(plane.pool.idle()).toBe(1)
    for (const socket of upstream.sockets) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    await until(() => plane.pool.idle() === 0 && plane.pool.sockets() === 0)
  })

  it("that asks to close is whole, and its socket is closed", async () => {
    const { plane, upstream } = await relay(["HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"])
    await until(() => upstream.sockets.size === 0)
    expect(plane.pool.idle()).toBe(0)
  })

  it("that does not come, or stops coming, ends in time", async () => {
    const silent = await worker((socket, _, nth) => {
      if (nth === 2) socket.write(`${eventHead}${chunk("hello")}`)
    })
    const { front, outcomes } = await plane(silent.url, { pool: { firstByteMs: 50, silenceMs: 50 } })
    const first = await connectRaw(front.port)
    first.send(plainRequest)
    await until(() => readAnswers(first.received()).answers.length === 1)
    expect(readAnswers(first.received()).answers).toMatchObject([{ status: 502, body: "firstByteTimeout" }])
    first.send(plainRequest)
    await first.closed()
    expect(outcomes).toMatchObject([
      { code: "firstByteTimeout", sent: false },
      { code: "silent", sent: true }
    ])
  })

  it("behind a TLS handshake that does not come is a failure to connect in time", async () => {
    const deaf = await worker(() => {})
    const { front } = await plane(deaf.url.replace("http:", "https:"), { pool: { connectMs: 50 } })
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(readAnswers(client.received()).answers).toMatchObject([{ status: 502, body: "connectTimeout" }])
    client.socket.destroy()
  })

  it("over TLS comes whole, from a worker whose name the certificate bears", async () => {
    const before = getCACertificates("default")
    setDefaultCACertificates([...before, certificate])
    closers.push(async () => setDefaultCACertificates(before))
    const server = createSecureServer({ cert: certificate, key: privateKey }, (request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      request.pipe(response)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    closers.push(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
    const { port } = server.address() as AddressInfo
    const { front, outcomes, payload, pool } = await plane(`https://localhost:${port}`)
    const client = await connectRaw(front.port)
    const body = "data: 1\n\n".repeat(50_000)
    for (let i = 1; i <= 3; i++) {
      client.send(post(body))
      await until(() => outcomes.length === i)
    }
    expect(outcomes).toMatchObject([{ kind: "complete" }, { kind: "complete" }, { kind: "complete" }])
    expect(payload() === body.repeat(3)).toBe(true)
    expect(pool.sockets()).toBe(1)
    client.socket.destroy()
    const stranger = await plane(`https://127.0.0.1:${port}`)
    const second = await connectRaw(stranger.front.port)
    second.send(plainRequest)
    await until(() => readAnswers(second.received()).answers.length === 1)
    expect(readAnswers(second.received()).answers).toMatchObject([{ status: 502, body: "connect" }])
    second.socket.destroy()
  })

  it("that nobody gives, for the port is closed, is a failure to connect", async () => {
    const upstream = await startWorker(() => {})
    await upstream.close()
    const { front } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(readAnswers(client.received()).answers).toMatchObject([{ status: 502, body: "connect" }])
    client.socket.destroy()
  })

  it("that is held back never reaches the client, and the exchange can be answered otherwise", async () => {
    const upstream = await worker((socket) =>
      socket.write("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno")
    )
    const seen: Array<string | undefined> = []
    const { front, outcomes } = await plane(upstream.url, {
      forward: {
        onHead: (status, header) => {
          seen.push(String(status), header("retry-after"), header("x-none"))
          return "hold"
        }
      }
    })
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(readAnswers(client.received()).answers).toMatchObject([{ status: 503, body: "held" }])
    expect(seen).toEqual(["503", "7", undefined])
    expect(outcomes).toEqual([{ kind: "held", status: 503 }])
    client.socket.destroy()
  })
})

describe("The stream between them", () => {
  it("keeps one socket to the worker for request after request", async () => {
    const upstream = await worker((socket) => socket.write(ok("hello")))
    const { front, outcomes, pool } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    for (let i = 1; i <= 20; i++) {
      client.send(plainRequest)
      await until(() => outcomes.length === i)
    }
    expect(upstream.accepted()).toBe(1)
    expect(pool.idle()).toBe(1)
    await until(() => readAnswers(client.received()).answers.length === 20)
    client.socket.destroy()
  })

  it("tries once more, on a fresh socket, when a kept one dies under the request", async () => {
    const upstream = await worker((socket, _, nth) => {
      if (nth === 2) socket.resetAndDestroy()
      else socket.write(ok(`answer ${nth}`))
    })
    const { front, outcomes } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => outcomes.length === 1)
    client.send(plainRequest)
    await until(() => readAnswers(client.received()).answers.length === 2)
    expect(readAnswers(client.received()).answers[1]?.body).toBe("answer 3")
    expect(upstream.accepted()).toBe(2)
    client.socket.destroy()
  })

  it("does not try a third time", async () => {
    const upstream = await worker((socket, _, nth) => {
      if (nth > 1) socket.resetAndDestroy()
      else socket.write(ok("first"))
    })
    const { front, outcomes } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => outcomes.length === 1)
    client.send(plainRequest)
    await until(() => readAnswers(client.received()).answers.length === 2)
    expect(readAnswers(client.received()).answers[1]).toMatchObject({ status: 502, body: "reset" })
    expect(upstream.requests.length).toBe(3)
    client.socket.destroy()
  })

  it("gives up sockets that idle, and those of a worker that left", async () => {
    const upstream = await worker((socket) => socket.write(ok("hello")))
    const { front, outcomes, pool } = await plane(upstream.url, { pool: { idleMs: 40 } })
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => outcomes.length === 1 && pool.idle() === 1)
    await until(() => pool.sockets() === 0 && upstream.sockets.size === 0)
    client.send(plainRequest)
    await until(() => outcomes.length === 2 && pool.idle() === 1)
    pool.forget(pool.origin(upstream.url))
    await until(() => pool.sockets() === 0)
    client.socket.destroy()
  })

  it.each([
    ["plain", "end", plainRequest],
    ["plain", "resetAndDestroy", plainRequest],
    ["odd", "end", oddRequest],
    ["odd", "resetAndDestroy", oddRequest]
  ] as const)(
    "of a %s request stops at the worker within 100 ms when the client leaves by %s, before or during the answer",
    async (_, leave, text) => {
      const upstream = await worker((socket, __, nth) => {
        if (nth === 2) socket.write(eventHead + chunk("data: 1\n\n"))
      })
      const { exchanges, front, outcomes } = await plane(upstream.url)
      for (const during of [false, true]) {
        const client = await connectRaw(front.port)
        const before = upstream.requests.length
        client.send(text)
        await until(() => (during ? client.received().includes("data: 1") : upstream.requests.length > before))
        let heard = 0
        exchanges.at(-1)!.onAbort(() => {
          heard++
        })
        client.socket[leave]()
        const leftMs = performance.now()
        await until(() => upstream.sockets.size === 0)
        expect(performance.now() - leftMs).toBeLessThan(100)
        await until(() => front.connections() === 0)
        expect(heard).toBe(1)
        expect(outcomes.at(-1)).toEqual({ kind: "clientGone", sent: during })
      }
      expect(front.inFlight()).toBe(0)
    }
  )

  it("can be cut from the inside, before or during the answer, once", async () => {
    const upstream = await worker((socket, _, nth) => {
      if (nth === 2) socket.write(eventHead + chunk("data: 1\n\n"))
    })
    const { forwards, front, outcomes } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => upstream.requests.length === 1)
    forwards[0]!.abort()
    forwards[0]!.abort()
    await until(() => readAnswers(client.received()).answers.length === 1)
    expect(readAnswers(client.received()).answers).toMatchObject([{ status: 502, body: "aborted" }])
    client.send(plainRequest)
    await until(() => client.received().includes("data: 1"))
    forwards[1]!.abort()
    await client.closed()
    await until(() => upstream.sockets.size === 0)
    expect(outcomes).toMatchObject([
      { kind: "failed", code: "aborted", sent: false },
      { kind: "failed", code: "aborted", sent: true }
    ])
  })

  it.each([
    [plainRequest, "relay"],
    [oddRequest, "relay"],
    [plainRequest, "edit"],
    [oddRequest, "edit"]
  ] as const)(
    "goes at the pace of a client that stopped reading, in bounded memory, and then goes on (%#)",
    async (text, how) => {
      const piece = Buffer.from(chunk("z".repeat(60_000)))
      const pieces = 2_000
      let written = 0
      const upstream = await worker((socket) => {
        socket.write(eventHead)
        const more = (): void => {
          while (written < pieces) {
            written++
            if (!socket.write(piece)) return void socket.once("drain", more)
          }
          socket.write("0\r\n\r\n")
        }
        more()
      })
      const { front, outcomes } = await plane(upstream.url, {
        forward: { onBytes: () => {}, onHead: () => how, edit: (payload) => payload }
      })
      const client = await connectRaw(front.port, false)
      client.socket.pause()
      client.send(text)
      // Stalled: nothing more is taken from the worker for a good while.
      let last = -1
      while (last !== written || written === 0) {
        last = written
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      expect(written).toBeLessThan(pieces / 3)
      client.socket.resume()
      await until(() => client.receivedBytes() > pieces * 60_000)
      await until(() => outcomes.length === 1)
      expect(outcomes).toEqual([{ kind: "complete", status: 200 }])
      client.socket.destroy()
    }
  )

  it("cuts a client that takes nothing for too long", async () => {
    const upstream = await worker((socket) => {
      const head = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"
      socket.write(head + "z".repeat(30_000_000))
    })
    const { front, outcomes } = await plane(upstream.url, { front: { stallMs: 60 } })
    const client = await connectRaw(front.port)
    client.socket.pause()
    client.send(plainRequest)
    await until(() => outcomes.length === 1)
    expect(outcomes).toEqual([{ kind: "clientGone", sent: true }])
    client.socket.destroy()
  })

  it.each(["onHead", "onBytes", "onEnd"] as const)(
    "survives a hook that throws, %s, and ends that exchange only",
    async (hook) => {
      const upstream = await worker((socket) => socket.write(eventHead + chunk("data: 1\n\n") + chunk("data: 2\n\n")))
      const warnings: Array<Error> = []
      const note = (warning: Error): unknown => warnings.push(warning)
      process.on("warning", note)
      closers.push(async () => process.off("warning", note))
      const { front, pool } = await plane(upstream.url, {
        forward: {
          [hook]: () => {
            throw new Error("a bug")
          }
        }
      })
      const client = await connectRaw(front.port)
      client.send(plainRequest)
      if (hook === "onEnd") {
        await until(() => client.received().includes("data: 2"))
        for (const socket of upstream.sockets) socket.resetAndDestroy()
        await client.closed()
      } else await until(() => readAnswers(client.received()).answers[0]?.status === 502)
      client.socket.destroy()
      await until(() => warnings.length === 1 && front.inFlight() === 0 && pool.sockets() === 0)
      expect(warnings[0]?.message).toBe("a bug")
    }
  )

  it.each(["in the middle", "at the end"])("survives an edit that throws %s, and answers 502", async (where) => {
    const upstream = await worker((socket) => socket.write(`${eventHead}${chunk("data: 1\n\n")}0\r\n\r\n`))
    const warnings: Array<Error> = []
    const note = (warning: Error): unknown => warnings.push(warning)
    process.on("warning", note)
    closers.push(async () => process.off("warning", note))
    const { front, outcomes } = await plane(upstream.url, {
      forward: {
        onHead: () => "edit",
        edit: (payload, last) => {
          if (last === (where === "at the end")) throw new Error("a bug")
          return payload.subarray(0, 0)
        }
      }
    })
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => outcomes.length === 1 && readAnswers(client.received()).answers[0]?.status === 502)
    client.socket.destroy()
    await until(() => warnings.length === 1)
    expect(outcomes).toMatchObject([{ kind: "failed", sent: false, code: "aborted" }])
  })

  it("frames what an edit makes of an answer, and both connections go on", async () => {
    const answers: Record<string, string> = {
      chunked: `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunk("a-")}${chunk("b-c")}0\r\nx: y\r\n\r\n`,
      length: ok("a-b-c"),
      "of no bytes": ok(""),
      "without a body": "HTTP/1.1 204 No Content\r\n\r\n"
    }
    const names = Object.keys(answers)
    const upstream = await worker((socket, _request, nth) => socket.write(answers[names[nth - 1]!]!))
    const { front, outcomes } = await plane(upstream.url, {
      forward: {
        onHead: () => "edit",
        edit: (payload, last) => Buffer.from(last ? "!" : payload.toString().replaceAll("-", ""))
      }
    })
    const client = await connectRaw(front.port)
    for (const [i] of names.entries()) {
      client.send(plainRequest)
      await until(() => outcomes.length === i + 1 && readAnswers(client.received()).answers.length === i + 1)
    }
    expect(readAnswers(client.received())).toMatchObject({
      rest: "",
      answers: [{ body: "abc!" }, { body: "abc!" }, { body: "!" }, { status: 204, body: "" }]
    })
    expect(upstream.accepted()).toBe(1)
    client.socket.destroy()
  })

  it("shows the scanner the payload and never the framing", async () => {
    const upstream = await worker(async (socket) => {
      for (const byte of `${eventHead}${chunk("data: 1\n\n")}${chunk("data: 2\n\n")}0\r\nx: y\r\n\r\n`) {
        socket.write(byte)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    const { front, outcomes, payload } = await plane(upstream.url)
    const client = await connectRaw(front.port)
    client.send(plainRequest)
    await until(() => outcomes.length === 1)
    expect(payload()).toBe("data: 1\n\ndata: 2\n\n")
    client.socket.destroy()
  })
})
