/** Connection: what the front knows of each of its client connections, whichever parser reads it. */
import * as Defect from "./Defect.ts"
import type { Exchange } from "./Exchange.ts"
import type { FrontHandlers, Refusal } from "./Front.ts"

/** Shared by all connections of one front. */
export interface FrontState {
  readonly handlers: FrontHandlers
  readonly headBytesMax: number
  readonly bodyBytesMax: number
  readonly headMs: number
  readonly bodyMs: number
  readonly idleMs: number
  readonly stallMs: number
  readonly connections: Set<Connection>
  inFlight: number
  draining: boolean
  /** Coarse clock: set at every sweep, so that a request need not ask the time. Milliseconds, monotonic. */
  nowMs: number
}

export interface Connection {
  /** Looks at the time limits. */
  sweep(nowMs: number): void
  /** Ends the connection if it has had nothing to do for `quietMs`. */
  endIfQuiet(nowMs: number, quietMs: number): void
  destroy(): void
}

/** How long a connection that we ended waits for the client to read and to end its side. */
export const lingerMs = 2_000

export const refusalMessage = (state: FrontState, refusal: Refusal): string => {
  switch (refusal) {
    case "bodyTooLarge":
      return `The request body is larger than ${state.bodyBytesMax} bytes. Send less, or raise the limit.`
    case "headTooLarge":
      return `The request head is larger than ${state.headBytesMax} bytes. Send fewer or shorter headers.`
    case "timeout":
      return "The request did not arrive in time. Send it whole, faster."
    case "encodedBody":
      return "The request body has a content-encoding. Send it plain."
    case "transferCoding":
      return 'The request has a transfer-encoding other than "chunked". Send it with content-length or chunked.'
    case "expectation":
      return 'The request expects something other than "100-continue". Send it without expect.'
    case "internal":
      return "The router failed on this request. This is a bug in the router."
    case "badRequest":
      return "The request is not valid HTTP/1.1. Check its first line and headers."
  }
}

/** Hands an exchange to the handlers. A throw there is our bug: it answers 500 and leaves the connection usable. */
export const handle = (state: FrontState, exchange: Exchange) => {
  try {
    state.handlers.request(exchange)
  } catch (error) {
    Defect.tell(error)
    if (exchange.started) return exchange.destroy()
    const body = state.handlers.refuse(500, "internal", refusalMessage(state, "internal"))
    exchange.reply(500, { "content-type": "application/json" }, body)
  }
}
