/** Pool: kept-alive sockets to workers, per origin. */

export interface PoolOptions {
  /** Longest wait for a connection. Default 5 s. */
  readonly connectMs?: number
  /** Longest wait for the first byte of an answer; 0: no limit (prefill of a long prompt in a long queue). Default 0. */
  readonly firstByteMs?: number
  /** Longest silence in the middle of an answer. Default 300 s. */
  readonly silenceMs?: number
  /** Longest an unused socket is kept. Default 4 s: uvicorn closes after 5. */
  readonly idleMs?: number
  /** Most unused sockets kept per origin. Default 512. */
  readonly idleMax?: number
  /** Longest response head, bytes. Default 64 KiB. */
  readonly headBytesMax?: number
  /** How often the limits above are looked at. Default 1 s. */
  readonly sweepMs?: number
}

/** One worker's address, parsed once. */
export interface Origin {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  /** Value of the `host` header. */
  readonly hostHeader: string
}

export interface Pool {
  /** Parses `http://host:port` (or https). Throws on anything else. */
  readonly origin: (url: string) => Origin
  /** Sockets now open, in use and idle. */
  readonly sockets: () => number
  readonly idle: () => number
  /** Drops the idle sockets of a worker that left. */
  readonly forget: (origin: Origin) => void
  readonly close: () => void
}
