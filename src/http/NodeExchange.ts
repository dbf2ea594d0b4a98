/** NodeExchange: one exchange on a `NodeConnection`. `node:http` frames the answer as the client's version allows. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http"
import { type Exchange, type Framing, headerOf } from "./Exchange.ts"
import * as HeaderLines from "./HeaderLines.ts"
import type { NodeConnection } from "./NodeConnection.ts"

export class NodeExchange implements Exchange {
  readonly method: string
  readonly target: string
  readonly path: string
  readonly headers: ReadonlyArray<string>
  readonly body: Buffer
  readonly remoteAddress: string
  readonly framed = false
  gone = false
  started = false
  private readonly connection: NodeConnection
  private readonly response: ServerResponse
  private over = false
  private aborts: Array<() => void> | null = null
  private drain: (() => void) | null = null
  private status = 0
  private reason = ""
  private answerHeaders: ReadonlyArray<string> = []
  private length = -1

  constructor(
    connection: NodeConnection,
    request: IncomingMessage,
    response: ServerResponse,
    target: string,
    body: Buffer
  ) {
    const query = target.indexOf("?")
    this.connection = connection
    this.response = response
    this.method = request.method ?? "GET"
    this.target = target
    this.path = query === -1 ? target : target.slice(0, query)
    this.headers = request.rawHeaders
    this.body = body
    this.remoteAddress = request.socket.remoteAddress ?? ""
    response.sendDate = false
    response.on("drain", () => {
      connection.blockedMs = 0
      this.drain?.()
    })
    response.on("close", () => {
      connection.state.inFlight--
      connection.blockedMs = 0
      if (this.over) return
      this.over = true
      this.gone = true
      const { aborts } = this
      this.aborts = null
      if (aborts !== null) for (const fn of aborts) fn()
    })
    response.on("error", () => connection.socket.destroy())
  }

  header(name: string): string | undefined {
    return headerOf(this.headers, name)
  }

  onAbort(fn: () => void): void {
    if (this.gone) fn()
    else if (this.aborts === null) this.aborts = [fn]
    else this.aborts.push(fn)
  }

  reply(status: number, headers: Readonly<Record<string, string>>, body: string | Buffer): void {
    if (this.over || this.started) return
    const bytes = typeof body === "string" ? Buffer.from(body) : body
    const flat: Array<string> = []
    for (const name in headers) flat.push(name, HeaderLines.clean(headers[name]!))
    flat.push("date", HeaderLines.date())
    this.begin(status, STATUS_CODES[status] ?? "", flat, "length", status === 304 ? -1 : bytes.length)
    if (bytes.length > 0 && this.method !== "HEAD") this.write(bytes, 0, bytes.length)
    this.finish()
  }

  begin(status: number, reason: string, headers: ReadonlyArray<string>, _framing: Framing, length: number): void {
    this.status = status
    this.reason = reason
    this.answerHeaders = headers
    this.length = status === 204 ? -1 : length
  }

  /** `node:http` frames the body as this client's version allows: length, chunks, or the end of the connection. */
  private sendHead(): void {
    if (this.started) return
    this.started = true
    const flat = [...this.answerHeaders]
    if (this.length !== -1) flat.push("content-length", String(this.length))
    if (this.connection.state.draining) flat.push("connection", "close")
    this.response.writeHead(this.status, this.reason, flat)
  }

  write(bytes: Buffer, from: number, to: number): boolean {
    if (this.over) return true
    this.sendHead()
    const taken = this.response.write(Buffer.from(bytes.subarray(from, to)))
    if (!taken && this.connection.blockedMs === 0) this.connection.blockedMs = this.connection.state.nowMs
    return taken
  }

  onDrain(fn: () => void): void {
    this.drain = fn
  }

  finish(): void {
    if (this.over) return
    this.sendHead()
    this.over = true
    this.aborts = null
    this.response.end()
  }

  destroy(): void {
    if (this.over) return
    this.over = true
    this.aborts = null
    // A reset: an HTTP/1.0 client takes a plain end of stream for the end of the body.
    this.connection.socket.resetAndDestroy()
  }
}
