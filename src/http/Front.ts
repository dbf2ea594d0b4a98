/**
 * Front: the listening side of the data plane.
 *
 * Every connection starts on our own strict parser (`FastConnection`); what is outside its language goes to `node:http`
 * (`NodeConnection`) with the same handlers behind it. Time limits are looked at by one coarse sweep, not a timer each.
 */
import { createServer, type Socket } from "node:net"
import type { Connection, FrontState } from "./Connection.ts"
import type { Exchange } from "./Exchange.ts"
import { FastConnection } from "./FastConnection.ts"
import { makeServer } from "./NodeConnection.ts"

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
  /** Several processes or threads listen on one port, and the kernel spreads connections. */
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
  /** Longest a connection stays open without a request. Default 75 s, longer than clients' pools keep theirs. */
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

/**
 * While draining, a kept-alive connection is ended only after this much silence. One in steady use sooner gets
 * `connection: close` with an answer; ending it between two requests would lose the one on its way.
 */
const drainQuietMs = 500
const drainStepMs = 25

export const listen = (options: FrontOptions, handlers: FrontHandlers): Promise<FrontServer> => {
  const connections = new Set<Connection>()
  const state: FrontState = {
    handlers,
    headBytesMax: options.headBytesMax ?? 32_768,
    bodyBytesMax: options.bodyBytesMax ?? 33_554_432,
    headMs: options.headMs ?? 15_000,
    bodyMs: options.bodyMs ?? 120_000,
    idleMs: options.idleMs ?? 75_000,
    stallMs: options.stallMs ?? 120_000,
    connections,
    inFlight: 0,
    draining: false,
    nowMs: performance.now()
  }
  const node = makeServer(state)
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
  server.maxConnections = options.connectionsMax ?? 20_000
  server.on("connection", (socket: Socket) => {
    new FastConnection(socket, state, node.take)
  })
  const sweeper = setInterval(() => {
    state.nowMs = performance.now()
    for (const connection of connections) connection.sweep(state.nowMs)
  }, options.sweepMs ?? 1_000)
  sweeper.unref()

  let stopped: Promise<void> | null = null
  const stopListening = (): Promise<void> => {
    stopped ??= new Promise((resolve) => {
      server.close(() => {
        clearInterval(sweeper)
        // The server counts a connection as gone just before that connection hears of it.
        const settle = (): unknown => (connections.size === 0 ? resolve() : setImmediate(settle))
        settle()
      })
    })
    return stopped
  }
  const close = (): Promise<void> => {
    const done = stopListening()
    for (const connection of connections) connection.destroy()
    return done
  }
  const drain = async (timeoutMs: number): Promise<void> => {
    state.draining = true
    // Two turns of the loop accept what the kernel has queued for us: closing the listening socket would reset those.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    const done = stopListening()
    const startMs = performance.now()
    const step = setInterval(() => {
      const nowMs = performance.now()
      state.nowMs = nowMs
      if (nowMs - startMs > timeoutMs) for (const connection of connections) connection.destroy()
      // Connections know when they fell silent to a sweep: before the drain that was coarse, so nobody is judged by it.
      else if (nowMs - startMs >= drainQuietMs) {
        // Only after what has arrived meanwhile was read: in a turn of the event loop timers come first.
        setImmediate(() => {
          for (const connection of connections) connection.endIfQuiet(nowMs, drainQuietMs)
        })
      }
    }, drainStepMs)
    await done
    clearInterval(step)
  }

  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      clearInterval(sweeper)
      reject(error)
    })
    server.listen({ host: options.host, port: options.port, reusePort: options.reusePort ?? false }, () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : options.port
      const host = options.host
      resolve({
        host,
        port,
        address: `${host.includes(":") ? `[${host}]` : host}:${port}`,
        connections: () => connections.size,
        inFlight: () => state.inFlight,
        drain,
        close
      })
    })
  })
}
