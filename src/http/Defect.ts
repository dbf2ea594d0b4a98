/**
 * Defect: our own fault in one request. It costs that request, never the process.
 *
 * It is told as a warning of the process, since the request path has no logger: the program writes it to the log
 * (`Log.ts`), a test may listen, and else Node prints it.
 */
export class Defect extends Error {
  override readonly name = "WarmpathDefect"
  /** `x-request-id`, and the trace it belongs to; null where they are not known. */
  readonly requestId: string | null
  readonly traceId: string | null

  constructor(cause: unknown, requestId: string | null, traceId: string | null) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.requestId = requestId
    this.traceId = traceId
    if (cause instanceof Error && cause.stack !== undefined) this.stack = cause.stack
  }
}

/** Whoever caught it first knows best which request it was. */
export const of = (thrown: unknown, requestId: string | null = null, traceId: string | null = null): Defect =>
  thrown instanceof Defect ? thrown : new Defect(thrown, requestId, traceId)

export const tell = (thrown: unknown, requestId: string | null = null, traceId: string | null = null): void =>
  process.emitWarning(of(thrown, requestId, traceId))
