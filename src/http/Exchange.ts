/**
 * Exchange: one request whose whole body has been read, and the answer to it. The same whichever parser accepted it.
 *
 * An exchange is answered once: by `reply` (a local answer), or by `begin`, `write` … `finish` (a relayed one, driven by
 * `Upstream`). When the client has gone every answering call does nothing.
 */

/** How the end of a body is told. `close` is a worker's only: towards a client it becomes `chunked`. */
export type Framing = "none" | "length" | "chunked" | "close"

export interface Exchange {
  readonly method: string
  /** Origin form: starts with `/`. */
  readonly target: string
  /** The target without its query. */
  readonly path: string
  /** The first value of a header; `name` in lower case. */
  header(name: string): string | undefined
  /** Flat `[name, value, …]`, as received. */
  readonly headers: ReadonlyArray<string>
  readonly body: Buffer
  readonly remoteAddress: string
  /** The client went before the answer was complete. */
  readonly gone: boolean
  /** Some bytes of an answer have been handed to the client's socket. */
  readonly started: boolean
  /** A whole local answer. Adds content-length, date and, when needed, `connection: close`. */
  reply(status: number, headers: Readonly<Record<string, string>>, body: string | Buffer): void
  /** Called once if the client goes before the answer is complete; at once if it has gone. Several may be registered. */
  onAbort(fn: () => void): void

  /** True: `write` takes bytes with the worker's chunk framing in them. False: `write` takes payload only. */
  readonly framed: boolean
  /**
   * States the head of a relayed answer: flat headers without hop-by-hop ones; the framing is added here. Sent together
   * with the first bytes. `length` counts when the framing is `length`; -1 leaves out content-length.
   */
  begin(status: number, reason: string, headers: ReadonlyArray<string>, framing: Framing, length: number): void
  /** Copies `bytes[from, to)` to the client. False: the client is slower than we are; wait for `onDrain`. */
  write(bytes: Buffer, from: number, to: number): boolean
  /** The one listener told when a `write` that answered false has been taken. */
  onDrain(fn: () => void): void
  /** The answer is complete. */
  finish(): void
  /** Cuts the connection, so that the client sees that the answer is not whole. */
  destroy(): void
}

/** The value of the first header called `name` (lower case) in a flat list. */
export const headerOf = (headers: ReadonlyArray<string>, name: string): string | undefined => {
  for (let i = 0; i < headers.length; i += 2) {
    const candidate = headers[i]!
    if (candidate.length === name.length && (candidate === name || candidate.toLowerCase() === name))
      return headers[i + 1]
  }
  return undefined
}
