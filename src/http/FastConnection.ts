/**
 * FastConnection: a client connection read by our own strict parser.
 *
 *   head ──▶ body ──▶ busy ──▶ head …        one request at a time; what is pipelined behind it waits, bounded
 *     └──▶ handed over: the first head outside `RequestHead`'s language goes, byte for byte, to `node:http`
 *
 * The client's end of stream counts as gone: it cannot be told from a closed client, and a cancelled prompt must stop.
 */
import type { Socket } from "node:net"
import { type Connection, type FrontState, handle, lingerMs, refusalMessage } from "./Connection.ts"
import { FastExchange, type FastWriter, localAnswer } from "./FastExchange.ts"
import type { Refusal } from "./Front.ts"
import * as RequestHead from "./RequestHead.ts"

const empty = Buffer.alloc(0)
const endOfHead = Buffer.from("\r\n\r\n", "latin1")

/** Bytes read ahead of a request in flight before the socket is paused. */
const aheadBytesMax = 65_536

/** A body buffer starts no larger than this: a length is only a claim until the bytes come. */
const bodyBytesFirst = 1_048_576

type Phase = "head" | "body" | "busy" | "linger" | "over"

export class FastConnection implements Connection, FastWriter {
  readonly socket: Socket
  readonly state: FrontState
  readonly remoteAddress: string
  private readonly handOver: (socket: Socket, bytes: Buffer) => void
  private phase: Phase = "head"
  /** Received and not yet used. */
  private ahead: Buffer = empty
  /** How much of `ahead` has been searched for the end of a head. */
  private searched = 0
  private head: RequestHead.RequestHead | null = null
  private body: Buffer = empty
  private bodyLength = 0
  private exchange: FastExchange | null = null
  private advancing = false
  private paused = false
  private sinceMs: number
  /** When a write was last refused, or 0. */
  private blockedMs = 0

  constructor(socket: Socket, state: FrontState, handOver: (socket: Socket, bytes: Buffer) => void) {
    this.socket = socket
    this.state = state
    this.handOver = handOver
    this.remoteAddress = socket.remoteAddress ?? ""
    this.sinceMs = state.nowMs
    state.connections.add(this)
    socket.on("data", this.onData)
    socket.on("end", this.onEnd)
    socket.on("error", this.onError)
    socket.on("close", this.onClose)
    socket.on("drain", this.onSocketDrain)
  }

  private readonly onData = (chunk: Buffer): void => {
    if (this.phase === "linger" || this.phase === "over") return
    if (this.phase === "body" && this.ahead.length === 0) {
      const taken = this.takeBody(chunk)
      if (taken < chunk.length) this.ahead = chunk.subarray(taken)
    } else {
      if (this.ahead.length === 0 && this.phase === "head") this.sinceMs = this.state.nowMs
      this.ahead = this.ahead.length === 0 ? chunk : Buffer.concat([this.ahead, chunk])
    }
    if (this.phase === "busy") {
      if (this.ahead.length > aheadBytesMax && !this.paused) {
        this.paused = true
        this.socket.pause()
      }
      return
    }
    this.advance()
  }

  /** Uses what has been received until more is needed or a request is in flight. Never re-entered: answers loop here. */
  private advance(): void {
    if (this.advancing) return
    this.advancing = true
    for (;;) {
      if (this.phase === "head" && this.ahead.length > 0) {
        if (!this.readHead()) break
      } else if (this.phase === "body") {
        if (this.ahead.length > 0) this.ahead = this.ahead.subarray(this.takeBody(this.ahead))
        if (this.bodyLength < this.head!.contentLength) break
        this.start()
      } else break
    }
    this.advancing = false
    if (this.paused && (this.phase === "head" || this.phase === "body")) {
      this.paused = false
      this.socket.resume()
    }
  }

  /** True when a head was read. */
  private readHead(): boolean {
    const { ahead } = this
    const found = ahead.indexOf(endOfHead, Math.max(0, this.searched - 3))
    if (found === -1) {
      this.searched = ahead.length
      if (ahead.length > this.state.headBytesMax || !RequestHead.mayBecome(ahead)) this.leave()
      return false
    }
    const end = found + 4
    this.searched = 0
    const head = end > this.state.headBytesMax ? null : RequestHead.parse(ahead.toString("latin1", 0, end))
    if (head === null || head.contentLength > this.state.bodyBytesMax) {
      this.leave()
      return false
    }
    this.ahead = end === ahead.length ? empty : ahead.subarray(end)
    this.head = head
    this.body = empty
    this.bodyLength = 0
    this.phase = "body"
    this.sinceMs = this.state.nowMs
    return true
  }

  /** Takes what belongs to the body; answers how many bytes. A body that came in one piece is not copied. */
  private takeBody(bytes: Buffer): number {
    const length = this.head!.contentLength
    const taken = Math.min(bytes.length, length - this.bodyLength)
    if (this.bodyLength === 0 && taken === length) this.body = bytes.subarray(0, taken)
    else {
      this.body = withRoom(this.body, this.bodyLength, this.bodyLength + taken, length)
      bytes.copy(this.body, this.bodyLength, 0, taken)
    }
    this.bodyLength += taken
    return taken
  }

  private start(): void {
    this.phase = "busy"
    this.state.inFlight++
    this.exchange = new FastExchange(this, this.head!, this.body)
    this.head = null
    this.body = empty
    handle(this.state, this.exchange)
  }

  /** The first bytes that are not ours: `node:http` gets them untouched, and the connection with them. */
  private leave(): void {
    const { ahead, socket } = this
    this.phase = "over"
    this.ahead = empty
    this.forget()
    this.handOver(socket, ahead)
  }

  private forget(): void {
    const { socket } = this
    this.state.connections.delete(this)
    socket.off("data", this.onData)
    socket.off("end", this.onEnd)
    socket.off("error", this.onError)
    socket.off("close", this.onClose)
    socket.off("drain", this.onSocketDrain)
  }

  private readonly onEnd = (): void => {
    if (this.phase === "linger") this.socket.end()
    else this.socket.destroy()
    this.gone()
  }

  private readonly onError = (): void => {
    this.gone()
  }

  private readonly onClose = (): void => {
    this.phase = "over"
    this.state.connections.delete(this)
    this.gone()
  }

  private readonly onSocketDrain = (): void => {
    this.blockedMs = 0
    this.exchange?.drained()
  }

  private gone(): void {
    const { exchange } = this
    if (exchange === null) return
    this.exchange = null
    this.state.inFlight--
    exchange.abandon()
  }

  isDraining(): boolean {
    return this.state.draining
  }

  /** Writes for the exchange in flight. False: wait for its drain. */
  put(bytes: Buffer | string): boolean {
    const taken = typeof bytes === "string" ? this.socket.write(bytes, "latin1") : this.socket.write(bytes)
    if (!taken && this.blockedMs === 0) this.blockedMs = this.state.nowMs
    return taken
  }

  /** The exchange in flight has been answered. */
  answered(keep: boolean) {
    this.exchange = null
    this.state.inFlight--
    this.sinceMs = this.state.nowMs
    if (!keep) return this.end()
    this.phase = "head"
    this.advance()
  }

  /** Ends our side, then waits a little for the client to end its own, so that it can read all we sent. */
  private end(): void {
    this.phase = "linger"
    this.ahead = empty
    this.sinceMs = this.state.nowMs
    if (this.paused) this.socket.resume()
    this.socket.end(() => {
      this.sinceMs = this.state.nowMs
    })
  }

  sweep(nowMs: number): void {
    const forMs = nowMs - this.sinceMs
    if (this.phase === "busy") {
      if (this.blockedMs !== 0 && nowMs - this.blockedMs > this.state.stallMs) this.socket.destroy()
    } else if (this.phase === "body") {
      if (forMs > this.state.bodyMs) this.refuse(408, "timeout")
    } else if (this.phase === "linger") {
      if (forMs > (this.socket.writableFinished ? lingerMs : this.state.stallMs)) this.socket.destroy()
    } else if (this.ahead.length > 0) {
      if (forMs > this.state.headMs) this.refuse(408, "timeout")
    } else if (forMs > this.state.idleMs) this.end()
  }

  private refuse(status: number, refusal: Refusal): void {
    const body = this.state.handlers.refuse(status, refusal, refusalMessage(this.state, refusal))
    this.socket.write(localAnswer(status, { "content-type": "application/json" }, Buffer.from(body), true))
    this.end()
  }

  endIfQuiet(nowMs: number, quietMs: number): void {
    if (this.phase === "head" && this.ahead.length === 0 && nowMs - this.sinceMs >= quietMs) this.end()
  }

  destroy(): void {
    this.socket.destroy()
  }
}

/** Room for `needed` bytes of a body of `length` that holds `used`; doubles, but never beyond `length`. */
const withRoom = (body: Buffer, used: number, needed: number, length: number): Buffer => {
  if (body.length >= needed) return body
  const grown = Buffer.allocUnsafeSlow(Math.min(length, Math.max(needed, 2 * body.length, bodyBytesFirst)))
  body.copy(grown, 0, 0, used)
  return grown
}
