/** Front: the listening side of the data plane. */
import type { Exchange } from "./Exchange.ts"

/** Why a request was refused before it became an exchange. */
export type Refusal =
  | "badRequest"
  | "bodyTooLarge"
  | "headTooLarge"
  | "timeout"
  | "encodedBody"
  | "transferCoding"
  | "expectation"
  | "internal"

export interface FrontHandlers {
  /** A whole request. Answer it through the exchange, now or later. Must not throw (a throw answers 500). */
  readonly request: (exchange: Exchange) => void
  /** The body (JSON) of an error the front itself must give. */
  readonly refuse: (status: number, refusal: Refusal, message: string) => string
}

export interface FrontOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  readonly reusePort?: boolean
  /** Longest request head, bytes. Default 32 KiB. */
  readonly headBytesMax?: number
  /** Longest request body, bytes. Default 32 MiB. */
  readonly bodyBytesMax?: number
  /** Most open connections; more are closed at once. Default 20 000. */
  readonly connectionsMax?: number
  /** Longest wait for a head once begun. Default 15 s. */
  readonly headMs?: number
  /** Longest wait for a whole body. Default 120 s. */
  readonly bodyMs?: number
  /** Longest a connection stays open without a request. Default 75 s. */
  readonly idleMs?: number
  /** Longest a client may leave bytes of an answer untaken. Default 120 s. */
  readonly stallMs?: number
  /** How often the limits above are looked at. Default 1 s. */
  readonly sweepMs?: number
}

export interface FrontServer {
  readonly host: string
  readonly port: number
  /** `host:port`, as in a URL. */
  readonly address: string
  readonly connections: () => number
  /** Exchanges not yet answered completely. */
  readonly inFlight: () => number
  /** Stops accepting, lets requests in flight finish, closes what idles. Resolves when none is left, or all were cut after `timeoutMs`. */
  readonly drain: (timeoutMs: number) => Promise<void>
  /** Cuts every connection. */
  readonly close: () => Promise<void>
}
