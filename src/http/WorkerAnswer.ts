/**
 * WorkerAnswer: what is read from a worker's answer as it passes, and what is changed in it.
 *
 * Read: when its first token came, the usage it reports. Changed: a stream loses the usage that its client did not ask for,
 * a flat error is wrapped, a stream that breaks off is told so. A compressed answer tells nothing and passes as it is.
 */
import { SseScan, type Usage } from "../hot/SseScan.ts"
import * as FlatError from "./FlatError.ts"
import * as Problem from "./Problem.ts"

const isCompressed = (encoding: string | undefined): boolean => encoding !== undefined && !/^identity$/i.test(encoding)

export class WorkerAnswer {
  private readonly engine: string
  private readonly hidesUsage: boolean
  private scan: SseScan | null = null
  private collect: ReturnType<typeof FlatError.collect> | null = null
  private compressed = false

  /** `hidesUsage`: the router asked for the usage of this stream, the client did not. */
  constructor(engine: string, hidesUsage: boolean) {
    this.engine = engine
    this.hidesUsage = hidesUsage
  }

  /** The head has come: whether the body is to go through `edit`. */
  begin(status: number, header: (name: string) => string | undefined): "relay" | "edit" {
    this.compressed = isCompressed(header("content-encoding"))
    if (this.compressed) return "relay"
    const contentType = header("content-type")
    if (status < 300) {
      const isEvents = contentType?.startsWith("text/event-stream") === true
      const edits = isEvents && this.hidesUsage
      this.scan = new SseScan(isEvents, edits)
      return edits ? "edit" : "relay"
    }
    if (!FlatError.isPossible(this.engine, status, contentType)) return "relay"
    this.collect = FlatError.collect()
    return "edit"
  }

  /** Payload as it passes. True when its first token is in it. */
  feed(payload: Buffer): boolean {
    return this.scan?.feed(payload) ?? false
  }

  /** What goes to the client of the payload just fed, or, `last`, of what was still held: see `Forward.edit`. */
  edit(payload: Buffer, last: boolean): Buffer {
    if (this.scan === null) return this.collect!(payload, last)
    if (last) this.scan.end()
    return this.scan.take()
  }

  /** What to append to an event stream that broke off, or null where it can only be cut. */
  lastWords(worker: string, reason: string): string | null {
    if (this.compressed) return null
    const message = `Worker "${worker}" broke off in the middle of its answer: ${reason}. What came before this is not the whole answer.`
    // A record cut in the middle is ended first: it cannot be taken back.
    const before = this.scan?.midRecord === true ? "\n\n" : ""
    return `${before}data: ${Problem.errorBody(message, "bad_gateway", null, "worker_failed")}\n\n`
  }

  /** No more will come. The usage of an answer that is no stream is read now. */
  end(): void {
    this.scan?.end()
  }

  get usage(): Usage | null {
    return this.scan?.usage ?? null
  }

  /** Tokens generated, as far as the answer tells; the records of a stream stand in for them. */
  get outputTokens(): number | null {
    const { scan } = this
    return scan?.usage?.completionTokens ?? (scan?.stream === true ? scan.records : null)
  }
}
