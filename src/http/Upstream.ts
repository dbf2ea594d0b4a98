/**
 * Upstream: sends one exchange to a worker and streams the answer back.
 *
 *   head ──▶ body ──▶ over        nothing goes to the client before the first byte of payload has been checked, so until
 *                                 then every failure leaves the exchange open for another worker or for a 502
 *
 * Bytes pass as they are, framing included; what is odd is never passed. An answer that is edited is the exception: its
 * payload goes through a hook, and what comes out is framed anew. The client's pace is the worker's: a write that is
 * refused pauses the worker's socket. A client that goes destroys it.
 */
import * as ChunkedScan from "./ChunkedScan.ts"
import * as Defect from "./Defect.ts"
import { type Exchange, headerOf } from "./Exchange.ts"
import * as HeaderLines from "./HeaderLines.ts"
import type { Line, LineUser, Origin, Pool } from "./Pool.ts"
import { hasStrayBytes } from "./RequestHead.ts"
import * as ResponseHead from "./ResponseHead.ts"

/** Why a forward failed. */
export type FailCode =
  | "connect" // refused, unreachable, unknown host, TLS
  | "connectTimeout"
  | "reset" // closed before its first byte
  | "firstByteTimeout"
  | "badHead"
  | "badBody" // chunk framing broken
  | "truncated" // closed before the end of the head or body
  | "silent" // nothing for too long in the middle of an answer
  | "aborted" // by `abort()`

export type Outcome =
  | { readonly kind: "complete"; readonly status: number }
  | { readonly kind: "clientGone"; readonly sent: boolean }
  /** `sent`: some bytes went to the client, and its connection has been ended; otherwise the exchange is still to be answered. */
  | { readonly kind: "failed"; readonly sent: boolean; readonly code: FailCode; readonly reason: string }
  | { readonly kind: "held"; readonly status: number }

export interface Forward {
  readonly exchange: Exchange
  readonly origin: Origin
  /** Path and query at the worker. */
  readonly path: string
  /** Flat `[name, value, …]`, lower-case names: set or override request headers. */
  readonly extraHeaders: ReadonlyArray<string>
  readonly body: Buffer
  /** Flat `[name, value, …]`, lower-case names: set or override response headers. */
  readonly answerHeaders?: ReadonlyArray<string>
  /**
   * Nothing has gone to the client yet. `hold` discards this answer: `onEnd` says `held`, the exchange is still to be
   * answered. `edit`: the payload passes through `edit`.
   */
  readonly onHead?: (status: number, header: (name: string) => string | undefined) => "relay" | "hold" | "edit"
  /** Body payload (never framing) as it passes. The bytes are valid during the call only. */
  readonly onBytes?: (payload: Buffer) => void
  /**
   * What goes to the client in place of this payload, which `onBytes` has just been given; no bytes while it waits for
   * more. The bytes are valid during the call only, as is what it answers. `last`: the answer is whole, `payload` empty.
   */
  readonly edit?: (payload: Buffer, last: boolean) => Buffer
  /** After a failure in the middle of a chunked event stream: bytes to append so that it ends properly, or null to cut it. */
  readonly onFail?: (code: FailCode, reason: string) => string | null
  /** Called exactly once. */
  readonly onEnd: (outcome: Outcome) => void
}

const empty = Buffer.alloc(0)
const none: ReadonlyArray<string> = []
const endOfHead = Buffer.from("\r\n\r\n", "latin1")
const originForm = /^\/[!"$-~]*$/

/** Up to here head and body are joined into one buffer; above, two buffers go out in one call. */
const joinBytesMax = 65_536
/** 100, 102 and 103 heads before the answer; more are odd. */
const informationalMax = 16

/** Sends `forward` to its origin. `abort` cuts it off (`failed`, `aborted`); after the end it does nothing. */
export const forward = (pool: Pool, forward: Forward): { readonly abort: () => void } => {
  if (!originForm.test(forward.path)) {
    throw new Error(`A path at a worker starts with "/" and has no spaces or controls, not "${forward.path}".`)
  }
  const job = new Job(pool, forward)
  forward.exchange.onAbort(job.clientGone)
  forward.exchange.onDrain(job.drained)
  job.send(false)
  return job
}

class Job implements LineUser {
  private readonly pool: Pool
  private forward: Forward
  private readonly exchange: Exchange
  private line: Line | null = null
  private phase: "head" | "body" | "over" = "head"
  /** A head that has not come whole, or chunk framing that waits for its first payload. */
  private held: Buffer = empty
  private answer: ResponseHead.ResponseHead | null = null
  private chunks: ChunkedScan.ChunkedScan | null = null
  private informational = 0
  /** Bytes still to come of a body with a length. */
  private left = 0
  private received = false
  private paused = false
  private lastMs = 0
  private relaying = false
  private editing = false

  constructor(pool: Pool, forward: Forward) {
    this.pool = pool
    this.forward = forward
    this.exchange = forward.exchange
  }

  /** Sends the request, on a fresh socket or on any. */
  send(fresh: boolean) {
    if (this.phase === "over") return
    const { body, exchange, extraHeaders, origin, path } = this.forward
    const headers = HeaderLines.passed(exchange.headers, extraHeaders)
    const bodiless = body.length === 0 && (exchange.method === "GET" || exchange.method === "HEAD")
    const head =
      `${exchange.method} ${path} HTTP/1.1\r\nhost: ${origin.hostHeader}\r\n${HeaderLines.lines(headers)}` +
      (bodiless ? "\r\n" : `content-length: ${body.length}\r\n\r\n`)
    const line = this.pool.take(origin, fresh, this)
    this.line = line
    this.lastMs = this.pool.nowMs()
    if (body.length <= joinBytesMax) {
      const joined = Buffer.allocUnsafe(head.length + body.length)
      joined.write(head, 0, "latin1")
      body.copy(joined, head.length)
      line.socket.write(joined)
    } else {
      line.socket.cork()
      line.socket.write(head, "latin1")
      line.socket.write(body)
      line.socket.uncork()
    }
  }

  onData(bytes: Buffer, length: number) {
    if (this.phase === "over") return
    this.received = true
    this.lastMs = this.pool.nowMs()
    try {
      if (this.phase === "body") this.takeBody(bytes, 0, length)
      else this.takeHead(bytes, length)
    } catch (error) {
      this.hookFailed(error)
    }
  }

  private hookFailed(error: unknown): void {
    this.warn(error)
    this.fail("aborted", "the router failed on its answer")
  }

  /** Tells the outcome. A hook that throws is our bug: it must cost this request at most, not the process. */
  private tell(outcome: Outcome): void {
    try {
      this.forward.onEnd(outcome)
    } catch (error) {
      this.warn(error)
      this.exchange.destroy()
    }
  }

  private warn(error: unknown): void {
    Defect.tell(error, headerOf(this.forward.extraHeaders, "x-request-id"))
  }

  private takeHead(bytes: Buffer, length: number) {
    const known = this.held.length
    const all = known === 0 ? bytes.subarray(0, length) : Buffer.concat([this.held, bytes.subarray(0, length)])
    this.held = empty
    const max = this.pool.limits.headBytesMax
    for (let from = 0; ; ) {
      const found = all.indexOf(endOfHead, Math.max(from, known - 3))
      if (found === -1) {
        const rest = all.subarray(from)
        if (rest.length > max) return this.fail("badHead", `its response head is longer than ${max} bytes`)
        if (hasStrayBytes(rest)) return this.fail("badHead", "its response head has a stray control character")
        this.held = Buffer.from(rest)
        return
      }
      const end = found + 4
      if (end - from > max) return this.fail("badHead", `its response head is longer than ${max} bytes`)
      const head = ResponseHead.parse(all.toString("latin1", from, end), this.exchange.method)
      if (typeof head === "string") return this.fail("badHead", head)
      from = end
      if (head.status >= 200) return this.start(head, all, from)
      if (++this.informational > informationalMax)
        return this.fail("badHead", "it sent informational heads without end")
      if (from === all.length) return
    }
  }

  /** The head is whole: relay it or hold it, and go on with the first bytes of the body. */
  private start(head: ResponseHead.ResponseHead, bytes: Buffer, from: number) {
    const { answerHeaders, edit, onHead } = this.forward
    const verdict = onHead?.(head.status, (name) => headerOf(head.headers, name))
    if (verdict === "hold") {
      this.over()
      this.line!.socket.destroy()
      return this.tell({ kind: "held", status: head.status })
    }
    // The hook may have answered or aborted.
    if ((this.phase as string) === "over") return
    this.answer = head
    this.phase = "body"
    // It will not be sent again, and the answer may stream for minutes.
    this.forward = { ...this.forward, body: empty }
    this.editing = verdict === "edit" && edit !== undefined && head.framing !== "none"
    const passed = HeaderLines.passed(head.headers, answerHeaders ?? none)
    // Nobody knows how long an edited answer will be: towards the client it ends when the worker's does.
    if (this.editing) this.exchange.begin(head.status, head.reason, passed, "close", -1)
    else this.exchange.begin(head.status, head.reason, passed, head.framing, head.length)
    if (head.framing === "chunked") this.chunks = ChunkedScan.make()
    else if (head.framing === "length") this.left = head.length
    this.takeBody(bytes, from, bytes.length)
  }

  private takeBody(bytes: Buffer, from: number, to: number) {
    const { framing } = this.answer!
    if (framing === "chunked") return this.takeChunked(bytes, from, to)
    if (framing === "none") return this.complete(to > from)
    if (framing === "close") {
      if (to > from) this.pass(bytes, from, to)
      return
    }
    const end = Math.min(to, from + this.left)
    this.left -= end - from
    if (end > from) this.pass(bytes, from, end)
    if (this.left === 0) this.complete(end < to)
  }

  private takeChunked(bytes: Buffer, from: number, to: number) {
    if (from === to) return
    const chunks = this.chunks!
    const end = ChunkedScan.scan(chunks, bytes, from, to)
    if (end === ChunkedScan.BAD) return this.fail("badBody", "its chunked body is broken")
    const done = ChunkedScan.isDone(chunks)
    if (this.editing) {
      // Several chunks of one read become one: their framing is not passed on.
      ChunkedScan.join(chunks, bytes)
      if (chunks.spanCount > 0) this.pass(bytes, chunks.spans[0]!, chunks.spans[1]!)
      if (done) this.complete(end < to)
      return
    }
    const { onBytes } = this.forward
    if (onBytes !== undefined) {
      for (let i = 0; i < chunks.spanCount; i += 2) onBytes(bytes.subarray(chunks.spans[i], chunks.spans[i + 1]))
    }
    if (this.exchange.framed) this.passFramed(bytes, from, end, done)
    else for (let i = 0; i < chunks.spanCount; i += 2) this.write(bytes, chunks.spans[i]!, chunks.spans[i + 1]!)
    if (done) this.complete(end < to)
  }

  /** Passes framing and payload, without trailers. Until there is payload or the end, the framing waits. */
  private passFramed(bytes: Buffer, from: number, end: number, done: boolean): void {
    const { cutFrom, cutTo, spanCount } = this.chunks!
    let piece =
      cutFrom === cutTo
        ? bytes.subarray(from, end)
        : Buffer.concat([bytes.subarray(from, cutFrom), bytes.subarray(cutTo, end)])
    if (!this.relaying) {
      if (this.held.length > 0) piece = Buffer.concat([this.held, piece])
      if (spanCount === 0 && !done) {
        this.held = Buffer.from(piece)
        return
      }
      this.relaying = true
      this.held = empty
    }
    if (piece.length > 0) this.write(piece, 0, piece.length)
  }

  private pass(bytes: Buffer, from: number, to: number): void {
    const payload = bytes.subarray(from, to)
    this.forward.onBytes?.(payload)
    if (this.editing) this.passEdited(payload, false)
    else this.write(bytes, from, to)
  }

  private passEdited(payload: Buffer, last: boolean): void {
    const edited = this.forward.edit!(payload, last)
    if (edited.length > 0) this.write(edited, 0, edited.length)
  }

  private write(bytes: Buffer, from: number, to: number): void {
    if (this.phase === "over") return
    if (!this.exchange.write(bytes, from, to) && !this.paused) {
      this.paused = true
      this.line!.socket.pause()
    }
  }

  readonly drained = (): void => {
    if (!this.paused || this.phase === "over") return
    this.paused = false
    this.lastMs = this.pool.nowMs()
    this.line?.socket.resume()
  }

  /** The answer is whole. `surplus`: bytes came after its end, so the socket is not to be trusted. */
  private complete(surplus: boolean): void {
    if (this.phase === "over") return
    if (this.editing) {
      try {
        this.passEdited(empty, true)
      } catch (error) {
        return this.hookFailed(error)
      }
    }
    const line = this.line!
    const answer = this.answer!
    this.over()
    if (this.paused) line.socket.resume()
    if (answer.keepAlive && !surplus && line.socket.writableLength === 0) this.pool.release(line)
    else line.socket.destroy()
    this.exchange.finish()
    this.tell({ kind: "complete", status: answer.status })
  }

  private over() {
    this.phase = "over"
    this.held = empty
    if (this.line !== null) this.line.user = null
  }

  readonly clientGone = () => {
    if (this.phase === "over") return
    this.over()
    this.line?.socket.destroy()
    this.tell({ kind: "clientGone", sent: this.exchange.started })
  }

  abort() {
    this.fail("aborted", "it was cut off")
  }

  onEnd() {
    if (this.phase === "over") return
    if (this.phase === "body" && this.answer!.framing === "close") return this.complete(false)
    this.broken(null)
  }

  onClose(error: NodeJS.ErrnoException | null) {
    if (this.phase !== "over") this.broken(error)
  }

  /** The socket ended before the answer did. */
  private broken(error: NodeJS.ErrnoException | null) {
    const line = this.line!
    const why = error === null ? "" : ` (${error.code ?? error.message})`
    if (this.received) return this.fail("truncated", `it closed in the middle of its answer${why}`)
    if (line.reused) {
      // It closed the socket while we were writing to it: the request was not taken. Once, for the next socket is fresh.
      line.user = null
      line.socket.destroy()
      return this.send(true)
    }
    if (!line.connected) return this.fail("connect", `it could not be reached${why}`)
    this.fail("reset", `it closed the connection without an answer${why}`)
  }

  onSweep(nowMs: number) {
    const { connectMs, firstByteMs, silenceMs } = this.pool.limits
    const forMs = nowMs - this.lastMs
    if (!this.line!.connected) {
      if (forMs > connectMs) this.fail("connectTimeout", `it did not accept a connection within ${connectMs} ms`)
    } else if (!this.received) {
      if (firstByteMs > 0 && forMs > firstByteMs) this.fail("firstByteTimeout", `it sent nothing for ${firstByteMs} ms`)
    } else if (!this.paused && forMs > silenceMs) this.fail("silent", `it fell silent for ${silenceMs} ms`)
  }

  private fail(code: FailCode, reason: string) {
    if (this.phase === "over") return
    const sent = this.exchange.started
    this.over()
    this.line?.socket.destroy()
    if (sent) this.endBroken(code, reason)
    this.tell({ kind: "failed", sent, code, reason })
  }

  private lastWords(code: FailCode, reason: string): string | null {
    try {
      return this.forward.onFail?.(code, reason) ?? null
    } catch (error) {
      this.warn(error)
      return null
    }
  }

  /** Ends an answer that was begun: properly, with a last event, where that is possible; else by cutting it. */
  private endBroken(code: FailCode, reason: string) {
    const { answer, chunks, editing, exchange } = this
    const isEvents = headerOf(answer!.headers, "content-type")?.startsWith("text/event-stream") ?? false
    const framed = exchange.framed && chunks !== null && !editing
    const isOpen = editing || (answer!.framing !== "length" && (!framed || ChunkedScan.isBetween(chunks)))
    const text = isEvents && isOpen ? this.lastWords(code, reason) : null
    if (text === null) return exchange.destroy()
    const payload = Buffer.from(text)
    const open = framed ? `${payload.length.toString(16)}\r\n` : ""
    const close = framed ? "\r\n0\r\n\r\n" : ""
    const last = Buffer.concat([Buffer.from(open), payload, Buffer.from(close)])
    exchange.write(last, 0, last.length)
    exchange.finish()
  }
}
