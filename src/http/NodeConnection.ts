/**
 * NodeConnection: a client connection that `node:http` reads, because something on it was outside our strict language.
 *
 * The same handlers stand behind it. The parser is llhttp in its strict mode; the rules here are about meaning: which
 * encodings, sizes and targets we take.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import { type Connection, type FrontState, handle, lingerMs, refusalMessage } from "./Connection.ts"
import type { Refusal } from "./Front.ts"
import * as HeaderLines from "./HeaderLines.ts"
import { NodeExchange } from "./NodeExchange.ts"

const json = { "content-type": "application/json" }
const absoluteForm = /^https?:\/\/[^/?#]*/i
const originForm = /^\/[!"$-~]*$/
const bodyBytesFirst = 65_536

/** Most requests open at once on one connection. `node:http` starts pipelined ones together; no client of ours does this. */
const pipelinedMax = 64

export class NodeConnection implements Connection {
  readonly socket: Socket
  readonly state: FrontState
  /** The request that is being read or answered; pipelined ones queue behind it inside `node:http`. */
  readonly open = new Set<ServerResponse>()
  request: IncomingMessage | null = null
  reading = false
  /** What came behind the request in flight is not HTTP. Its answer still goes out; then the connection ends. */
  spoilt = false
  sinceMs: number
  blockedMs = 0
  /** Bytes read when the last answer was complete; more than that means a request has begun. */
  private quietBytes = -1

  constructor(socket: Socket, state: FrontState) {
    this.socket = socket
    this.state = state
    this.sinceMs = state.nowMs
    state.connections.add(this)
    socket.on("close", () => {
      state.connections.delete(this)
    })
    // The client's end of stream counts as gone, as on the fast path.
    socket.on("end", () => {
      if (this.open.size > 0) socket.destroy()
    })
  }

  opened(request: IncomingMessage, response: ServerResponse): void {
    this.open.add(response)
    this.request = request
    this.reading = true
    this.sinceMs = this.state.nowMs
    response.on("close", () => {
      this.open.delete(response)
      this.sinceMs = this.state.nowMs
      this.quietBytes = this.socket.bytesRead
      if (this.spoilt && this.socket.writable) refuseRaw(this.state, this.socket, 400, "badRequest")
    })
  }

  sweep(nowMs: number): void {
    const forMs = nowMs - this.sinceMs
    const { bodyMs, headMs, idleMs, stallMs } = this.state
    if (this.open.size > 0) {
      if (this.reading ? forMs > bodyMs : this.blockedMs !== 0 && nowMs - this.blockedMs > stallMs)
        this.socket.destroy()
    } else if (this.socket.writableEnded) {
      if (forMs > stallMs) this.socket.destroy()
    } else if (this.socket.bytesRead === this.quietBytes) {
      if (forMs > idleMs) this.socket.end()
    } else if (forMs > headMs + (this.quietBytes === -1 ? 0 : idleMs)) {
      // When the head began is not known here: after a first answer, the idle time is allowed before it.
      refuseRaw(this.state, this.socket, 408, "timeout")
    }
  }

  endIfQuiet(nowMs: number, quietMs: number) {
    const quiet = this.open.size === 0 && this.socket.bytesRead === this.quietBytes
    if (quiet && nowMs - this.sinceMs >= quietMs) this.socket.end()
  }

  destroy() {
    this.socket.destroy()
  }
}

/** A `node:http` server that never listens: connections are given to it one by one. */
export const makeServer = (state: FrontState): { readonly take: (socket: Socket, bytes: Buffer) => void } => {
  const owners = new WeakMap<Socket, NodeConnection>()
  const server: Server = createServer({ maxHeaderSize: state.headBytesMax, keepAliveTimeout: 0, noDelay: true })
  server.maxHeadersCount = 0 // The limit is in bytes; a count would drop the rest silently.
  server.timeout = 0
  const onRequest = (request: IncomingMessage, response: ServerResponse, continues: boolean) => {
    const connection = owners.get(request.socket)
    if (connection === undefined) return void request.socket.destroy()
    connection.opened(request, response)
    if (connection.open.size > pipelinedMax) return void request.socket.destroy()
    receive(connection, request, response, continues)
  }
  server.on("request", (request, response) => onRequest(request, response, false))
  server.on("checkContinue", (request, response) => onRequest(request, response, true))
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    owners.get(request.socket)?.opened(request, response)
    refuse(state, request, response, 417, "expectation")
  })
  server.on("clientError", (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket
    const connection = owners.get(socket)
    if (connection === undefined || !socket.writable || error.code === "ECONNRESET") return void socket.destroy()
    if (connection.open.size > 0 && connection.request?.complete) {
      connection.spoilt = true
      return
    }
    if (error.code === "HPE_HEADER_OVERFLOW") return refuseRaw(state, socket, 431, "headTooLarge")
    refuseRaw(state, socket, 400, "badRequest")
  })
  return {
    take: (socket, bytes) => {
      owners.set(socket, new NodeConnection(socket, state))
      socket.pause()
      socket.unshift(bytes)
      server.emit("connection", socket)
      socket.resume()
    }
  }
}

/** Checks what the request means, reads its body, and hands it over. */
const receive = (
  connection: NodeConnection,
  request: IncomingMessage,
  response: ServerResponse,
  continues: boolean
) => {
  const { state } = connection
  const coding = request.headers["transfer-encoding"]
  if (coding !== undefined && coding.toLowerCase() !== "chunked") {
    return refuse(state, request, response, 501, "transferCoding")
  }
  const encoding = request.headers["content-encoding"]
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    return refuse(state, request, response, 415, "encodedBody")
  }
  const target = (request.url ?? "").replace(absoluteForm, "").replace(/^(?=\?|$)/, "/")
  if (!originForm.test(target)) return refuse(state, request, response, 400, "badRequest")
  const claimed = Number(request.headers["content-length"] ?? 0)
  if (claimed > state.bodyBytesMax) return refuse(state, request, response, 413, "bodyTooLarge")
  if (continues) response.writeContinue()

  let body = Buffer.alloc(0)
  let length = 0
  const onData = (chunk: Buffer) => {
    const needed = length + chunk.length
    if (needed > state.bodyBytesMax) {
      request.off("data", onData)
      request.off("end", onEnd)
      return refuse(state, request, response, 413, "bodyTooLarge")
    }
    if (body.length < needed) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * body.length, bodyBytesFirst))
      body.copy(grown, 0, 0, length)
      body = grown
    }
    chunk.copy(body, length)
    length = needed
  }
  const onEnd = (): void => {
    connection.reading = false
    state.inFlight++
    handle(state, new NodeExchange(connection, request, response, target, body.subarray(0, length)))
  }
  request.on("data", onData)
  request.on("end", onEnd)
}

/**
 * Answers a request whose body is not wanted. The answer is whole for the client at once, but the connection is ended only
 * when the client has stopped sending, or a little later: unread bytes at a close would take the answer away from it.
 */
const refuse = (
  state: FrontState,
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  refusal: Refusal
): void => {
  const body = Buffer.from(state.handlers.refuse(status, refusal, refusalMessage(state, refusal)))
  response.writeHead(status, { ...json, "content-length": body.length, connection: "close" })
  response.write(request.method === "HEAD" ? "" : body)
  const timer = setTimeout(() => response.end(), lingerMs)
  request.on("end", () => response.end())
  response.on("close", () => clearTimeout(timer))
  request.resume()
}

const refuseRaw = (state: FrontState, socket: Socket, status: number, refusal: Refusal): void => {
  const body = state.handlers.refuse(status, refusal, refusalMessage(state, refusal))
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json\r\ndate: ${HeaderLines.date()}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  )
  setTimeout(() => socket.destroy(), lingerMs).unref()
}
