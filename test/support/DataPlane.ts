/** A running front with raw sockets on both of its sides: clients that send any bytes, workers that answer any bytes. */
import { createServer as createHttpServer } from "node:http"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { afterEach } from "vitest"
import type { Exchange } from "../../src/http/Exchange.ts"
import * as Front from "../../src/http/Front.ts"
import * as Pool from "../../src/http/Pool.ts"
import * as Upstream from "../../src/http/Upstream.ts"

/** Resolves once `condition` holds. A test's own time limit ends the wait. */
export const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** A client socket and all it has received. */
export interface RawClient {
  readonly socket: Socket
  readonly received: () => string
  readonly receivedBytes: () => number
  readonly isClosed: () => boolean
  /** The server ended its side (rather than reset the connection). */
  readonly isEnded: () => boolean
  readonly send: (bytes: string | Buffer) => void
  readonly closed: () => Promise<void>
}

export const connectRaw = async (port: number, keep = true): Promise<RawClient> => {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true })
  const parts: Array<Buffer> = []
  let bytes = 0
  let closed = false
  let ended = false
  socket.on("data", (chunk: Buffer) => {
    bytes += chunk.length
    if (keep) parts.push(chunk)
  })
  socket.on("end", () => {
    ended = true
    socket.end()
  })
  socket.on("error", () => {})
  socket.on("close", () => {
    closed = true
  })
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve)
    socket.once("error", reject)
  })
  return {
    socket,
    received: () => Buffer.concat(parts).toString("latin1"),
    receivedBytes: () => bytes,
    isClosed: () => closed,
    isEnded: () => ended,
    send: (data) => void socket.write(data),
    closed: () => until(() => closed)
  }
}

/** A worker made of bytes: `serve` is called with each whole request (head and content-length body) of each connection. */
export interface RawWorker {
  readonly url: string
  readonly port: number
  /** Every request, as received. */
  readonly requests: Array<string>
  readonly sockets: Set<Socket>
  /** Connections accepted so far. */
  readonly accepted: () => number
  readonly close: () => Promise<void>
}

export const startWorker = async (
  serve: (socket: Socket, request: string, nth: number) => void
): Promise<RawWorker> => {
  const requests: Array<string> = []
  const sockets = new Set<Socket>()
  let accepted = 0
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    accepted++
    sockets.add(socket)
    let pending = Buffer.alloc(0)
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      for (;;) {
        const head = pending.indexOf("\r\n\r\n")
        if (head === -1) return
        const length = /^content-length: (\d+)$/im.exec(pending.toString("latin1", 0, head))
        const end = head + 4 + Number(length?.[1] ?? 0)
        if (pending.length < end) return
        const request = pending.toString("latin1", 0, end)
        pending = pending.subarray(end)
        requests.push(request)
        serve(socket, request, requests.length)
      }
    })
    socket.on("end", () => socket.end())
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    sockets,
    accepted: () => accepted,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

export interface Plane {
  readonly front: Front.FrontServer
  readonly pool: Pool.Pool
  readonly exchanges: Array<Exchange>
  readonly outcomes: Array<Upstream.Outcome>
  readonly forwards: Array<{ readonly abort: () => void }>
  /** Payload of all answers, as the scanner hook saw it. */
  readonly payload: () => string
  readonly close: () => Promise<void>
}

/** A front that forwards everything to `url`, and answers 502 with the code when that fails before anything was sent. */
export const startPlane = async (
  url: string,
  options: {
    readonly front?: Partial<Front.FrontOptions>
    readonly pool?: Pool.PoolOptions
    readonly forward?: Partial<Upstream.Forward>
  } = {}
): Promise<Plane> => {
  const pool = Pool.make({ sweepMs: 20, ...options.pool })
  const origin = pool.origin(url)
  const exchanges: Array<Exchange> = []
  const outcomes: Array<Upstream.Outcome> = []
  const forwards: Plane["forwards"] = []
  let payload = ""
  const front = await Front.listen(
    { host: "127.0.0.1", port: 0, sweepMs: 20, ...options.front },
    {
      refuse: (status, refusal) => JSON.stringify({ error: { code: refusal, status } }),
      request: (exchange) => {
        exchanges.push(exchange)
        const forward = Upstream.forward(pool, {
          exchange,
          origin,
          path: exchange.target,
          extraHeaders: ["x-request-id", "r1"],
          answerHeaders: ["x-warmpath-worker", "w1"],
          body: exchange.body,
          onBytes: (bytes) => {
            payload += bytes.toString("latin1")
          },
          onEnd: (outcome) => {
            outcomes.push(outcome)
            if (outcome.kind === "failed" && !outcome.sent) exchange.reply(502, {}, outcome.code)
            if (outcome.kind === "held") exchange.reply(503, {}, "held")
          },
          ...options.forward
        })
        forwards.push(forward)
      }
    }
  )
  return {
    front,
    pool,
    exchanges,
    outcomes,
    forwards,
    payload: () => payload,
    close: async () => {
      await front.close()
      pool.close()
    }
  }
}

/** A plain request of the strict language. */
export const post = (body: string, ...lines: ReadonlyArray<string>): string =>
  [
    "POST /v1/completions HTTP/1.1",
    "host: router",
    ...lines,
    `content-length: ${Buffer.byteLength(body)}`,
    "",
    body
  ].join("\r\n")

export interface Answer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Reads answers from raw bytes by their framing; what is not a whole answer is left in `rest`. */
export const readAnswers = (text: string): { readonly answers: ReadonlyArray<Answer>; readonly rest: string } => {
  const answers: Array<Answer> = []
  let rest = text
  for (;;) {
    const end = rest.indexOf("\r\n\r\n")
    if (end === -1) return { answers, rest }
    const head = rest.slice(0, end)
    const status = Number(head.slice(9, 12))
    let body = ""
    let at = end + 4
    if (/^transfer-encoding: chunked$/im.test(head)) {
      for (;;) {
        const eol = rest.indexOf("\r\n", at)
        if (eol === -1) return { answers, rest }
        const size = Number.parseInt(rest.slice(at, eol), 16)
        if (rest.length < eol + 4 + size) return { answers, rest }
        body += rest.slice(eol + 2, eol + 2 + size)
        at = eol + 4 + size
        if (size === 0) break
      }
    } else if (status >= 200 && status !== 204 && status !== 304) {
      // Without a length the body ends with the connection: all that is there.
      const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? rest.length - at)
      if (rest.length < at + length) return { answers, rest }
      body = rest.slice(at, at + length)
      at += length
    }
    rest = rest.slice(at)
    if (status >= 200) answers.push({ status, head, body })
  }
}

/** An answer with a length. */
export const ok = (body: string): string => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`
export const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`
export const eventHead = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

/** A request head, with its empty line. */
export const head = (...lines: ReadonlyArray<string>): string =>
  ["POST /v1/a HTTP/1.1", "host: router", ...lines, "", ""].join("\r\n")

/** One request of the strict language, and one that `node:http` reads. */
export const plainRequest = post("x")
export const oddRequest = `${head("transfer-encoding: chunked")}1\r\nx\r\n0\r\n\r\n`

/** Workers and planes that end with the test they were started in. */
export const managed = (): {
  readonly worker: typeof startWorker
  readonly plane: typeof startPlane
  readonly closers: Array<() => Promise<unknown>>
} => {
  const closers: Array<() => Promise<unknown>> = []
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })
  return {
    closers,
    worker: async (serve) => {
      const started = await startWorker(serve)
      closers.push(started.close)
      return started
    },
    plane: async (url, options) => {
      const started = await startPlane(url, options)
      closers.push(started.close)
      return started
    }
  }
}

/** A `node:http` server that tells what it understood: `METHOD target x-headers body`. */
export const startEcho = async (closers: Array<() => Promise<unknown>>): Promise<number> => {
  const server = createHttpServer(
    {
      headersTimeout: 300,
      requestTimeout: 300,
      keepAliveTimeout: 300,
      connectionsCheckingInterval: 50,
      maxHeaderSize: 32_768
    },
    (request, response) => {
      let body = ""
      request.setEncoding("latin1")
      request.on("data", (text) => {
        body += text
      })
      request.on("end", () => {
        const own = request.rawHeaders.filter((_, i, all) =>
          /^(x-(?!request-id)|content-type)/i.test(all[i - (i % 2)]!)
        )
        response.end(`${request.method} ${request.url?.replace("http://router", "")} ${own.join("|")} ${body}`)
      })
    }
  )
  server.maxHeadersCount = 0
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closers.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

/** Sends the bytes in the given pieces, waits for the end of the connection, and sums up the answers. */
export const answersTo = async (port: number, text: string, pieceBytes: number): Promise<ReadonlyArray<string>> => {
  const client = await connectRaw(port)
  const bytes = Buffer.from(text, "latin1")
  for (let at = 0; at < bytes.length && !client.isClosed(); at += pieceBytes) {
    client.send(bytes.subarray(at, at + pieceBytes))
    if (pieceBytes < bytes.length) await new Promise((resolve) => setImmediate(resolve))
  }
  await client.closed()
  return readAnswers(client.received()).answers.map(({ body, status }) =>
    status === 200 ? `200 ${body}` : String(status)
  )
}
