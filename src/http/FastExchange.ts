/** FastExchange: one exchange on a `FastConnection`. Answers leave as bytes: head and first bytes of the body in one write. */
import { STATUS_CODES } from "node:http"
import { type Exchange, type Framing, headerOf } from "./Exchange.ts"
import * as HeaderLines from "./HeaderLines.ts"
import type { RequestHead } from "./RequestHead.ts"

/** What an exchange needs of the connection it came on. */
export interface FastWriter {
  readonly remoteAddress: string
  isDraining(): boolean
  /** False: wait for the drain. */
  put(bytes: Buffer | string): boolean
  /** The exchange has been answered; `keep` says whether the connection may carry another. */
  answered(keep: boolean): void
  destroy(): void
}

const lastChunk = "0\r\n\r\n"

/** A whole answer of our own. */
export const localAnswer = (
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
  close: boolean
): Buffer => {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`
  for (const name in headers) head += `${name}: ${HeaderLines.clean(headers[name]!)}\r\n`
  const length = status === 204 || status === 304 ? "" : `content-length: ${body.length}\r\n`
  head += `date: ${HeaderLines.date()}\r\n${length}${close ? "connection: close\r\n" : ""}\r\n`
  return Buffer.concat([Buffer.from(head, "latin1"), body])
}

export class FastExchange implements Exchange {
  readonly method = "POST"
  readonly target: string
  readonly path: string
  readonly headers: ReadonlyArray<string>
  readonly body: Buffer
  readonly framed = true
  gone = false
  started = false
  private readonly connection: FastWriter
  private readonly close: boolean
  private over = false
  /** What the answer's head says about the connection. */
  private closing = false
  private aborts: Array<() => void> | null = null
  private drain: (() => void) | null = null
  /** The head of a relayed answer, without its end, until it goes out with the first bytes. */
  private answerHead = ""
  /** The worker's body has no framing of its own, so it is chunked here. */
  private chunks = false

  constructor(connection: FastWriter, head: RequestHead, body: Buffer) {
    this.connection = connection
    this.target = head.target
    this.path = head.path
    this.headers = head.headers
    this.close = head.close
    this.body = body
  }

  get remoteAddress(): string {
    return this.connection.remoteAddress
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
    this.started = true
    const bytes = typeof body === "string" ? Buffer.from(body) : body
    this.connection.put(localAnswer(status, headers, bytes, this.mustClose()))
    this.done()
  }

  begin(status: number, reason: string, headers: ReadonlyArray<string>, framing: Framing, length: number): void {
    this.chunks = framing === "close"
    const frame =
      framing === "chunked" || framing === "close"
        ? "transfer-encoding: chunked\r\n"
        : length === -1 || status === 204
          ? ""
          : `content-length: ${length}\r\n`
    this.answerHead = `HTTP/1.1 ${status} ${reason}\r\n${HeaderLines.lines(headers)}${frame}`
  }

  write(bytes: Buffer, from: number, to: number): boolean {
    if (this.over) return true
    const head = this.takeHead()
    const open = this.chunks ? `${head}${(to - from).toString(16)}\r\n` : head
    const length = to - from
    const out = Buffer.allocUnsafe(open.length + length + (this.chunks ? 2 : 0))
    if (open !== "") out.write(open, 0, "latin1")
    bytes.copy(out, open.length, from, to)
    if (this.chunks) out.write("\r\n", open.length + length, "latin1")
    return this.connection.put(out)
  }

  onDrain(fn: () => void): void {
    this.drain = fn
  }

  drained(): void {
    this.drain?.()
  }

  finish(): void {
    if (this.over) return
    const rest = this.takeHead() + (this.chunks ? lastChunk : "")
    if (rest !== "") this.connection.put(rest)
    this.done()
  }

  destroy(): void {
    if (this.over) return
    this.over = true
    this.aborts = null // Nobody needs to hear that the client went: we cut it.
    this.connection.destroy()
  }

  abandon(): void {
    this.over = true
    this.gone = true
    const { aborts } = this
    this.aborts = null
    if (aborts !== null) for (const fn of aborts) fn()
  }

  private takeHead(): string {
    if (this.started) return ""
    this.started = true
    this.mustClose()
    return `${this.answerHead}${this.closing ? "connection: close\r\n" : ""}\r\n`
  }

  private mustClose(): boolean {
    this.closing = this.close || this.connection.isDraining()
    return this.closing
  }

  private done(): void {
    this.over = true
    this.aborts = null
    this.connection.answered(!this.closing)
  }
}
