/**
 * Pool: kept-alive sockets to workers, per origin.
 *
 * Last used, first taken: the rest grow old and are closed. Plain sockets read into one buffer that all share, because each
 * read is used up before the next; TLS sockets bring their own. Time limits are looked at by one coarse sweep.
 */
import { connect, isIP, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"

export interface PoolOptions {
  /** Longest wait for a connection. Default 5 s. */
  readonly connectMs?: number
  /** Longest wait for the first byte of an answer; 0: no limit, for a long prompt may wait in a long queue. Default 0. */
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

/** Whoever is using a line. Bytes are valid during the call only. */
export interface LineUser {
  readonly onData: (bytes: Buffer, length: number) => void
  /** The worker has ended its side: nothing more comes. */
  readonly onEnd: () => void
  /** The line is gone. `error` says why, when there is a why. */
  readonly onClose: (error: NodeJS.ErrnoException | null) => void
  /** Looks at the time limits. */
  readonly onSweep: (nowMs: number) => void
}

/** One socket to a worker. */
export interface Line {
  readonly origin: Origin
  readonly socket: Socket
  user: LineUser | null
  connected: boolean
  /** It has carried an answer before. */
  reused: boolean
  /** When it was opened, or last given back. */
  sinceMs: number
  error: NodeJS.ErrnoException | null
}

export interface Pool {
  /** Parses `http://host:port` (or https), one object per address. Throws on anything else. */
  readonly origin: (url: string) => Origin
  /** Sockets now open, in use and idle. */
  readonly sockets: () => number
  readonly idle: () => number
  /** Drops the idle sockets of a worker that left. */
  readonly forget: (origin: Origin) => void
  /** Cuts every socket. */
  readonly close: () => void
  readonly limits: Required<PoolOptions>
  /** Coarse clock, set at every sweep. Milliseconds, monotonic. */
  readonly nowMs: () => number
  /** An idle line if there is one and `fresh` is false, else a new one; connecting is not waited for. */
  readonly take: (origin: Origin, fresh: boolean, user: LineUser) => Line
  /** Gives back a line whose answer ended cleanly. */
  readonly release: (line: Line) => void
}

const readBytes = 65_536

export const make = (options: PoolOptions = {}): Pool => {
  const limits: Required<PoolOptions> = {
    connectMs: options.connectMs ?? 5_000,
    firstByteMs: options.firstByteMs ?? 0,
    silenceMs: options.silenceMs ?? 300_000,
    idleMs: options.idleMs ?? 4_000,
    idleMax: options.idleMax ?? 512,
    headBytesMax: options.headBytesMax ?? 65_536,
    sweepMs: options.sweepMs ?? 1_000
  }
  const origins = new Map<string, Origin>()
  const idle = new Map<Origin, Array<Line>>()
  const lines = new Set<Line>()
  const shared = Buffer.allocUnsafeSlow(readBytes)
  let nowMs = performance.now()
  let closed = false

  const sweeper = setInterval(() => {
    nowMs = performance.now()
    for (const line of lines) {
      if (line.user !== null) line.user.onSweep(nowMs)
      else if (nowMs - line.sinceMs > limits.idleMs) line.socket.destroy()
    }
  }, limits.sweepMs)
  sweeper.unref()

  const open = (origin: Origin, user: LineUser): Line => {
    let line: Line
    const onData = (bytes: Buffer, length: number): void => {
      // Bytes nobody asked for: this worker's framing cannot be trusted.
      if (line.user === null) line.socket.destroy()
      else line.user.onData(bytes, length)
    }
    const common = {
      host: origin.host,
      port: origin.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000
    }
    const socket = origin.tls
      ? connectTls({ ...common, servername: isIP(origin.host) === 0 ? origin.host : "", ALPNProtocols: ["http/1.1"] })
      : connect({
          ...common,
          onread: {
            buffer: shared,
            callback: (length, bytes) => {
              onData(bytes as Buffer, length)
              return true
            }
          }
        })
    line = { origin, socket, user, connected: false, reused: false, sinceMs: nowMs, error: null }
    lines.add(line)
    if (origin.tls) {
      socket.setNoDelay(true)
      socket.on("data", (bytes: Buffer) => onData(bytes, bytes.length))
    }
    socket.on(origin.tls ? "secureConnect" : "connect", () => {
      line.connected = true
    })
    socket.on("end", () => {
      if (line.user === null) socket.destroy()
      else line.user.onEnd()
    })
    socket.on("error", (error) => {
      line.error = error
    })
    socket.on("close", () => {
      lines.delete(line)
      const kept = idle.get(origin)
      const at = kept?.indexOf(line) ?? -1
      if (at !== -1) kept!.splice(at, 1)
      const user = line.user
      line.user = null
      user?.onClose(line.error)
    })
    return line
  }

  return {
    limits,
    nowMs: () => nowMs,
    origin: (url) => {
      const parsed = new URL(url)
      if (parsed.protocol !== "http:" && parsed.protocol !== "https:") {
        throw new Error(
          `A worker's URL starts with http:// or https://, not "${url}". Write for example http://10.0.0.4:8000.`
        )
      }
      const known = origins.get(parsed.origin)
      if (known !== undefined) return known
      const tls = parsed.protocol === "https:"
      const origin: Origin = {
        host: parsed.hostname.replace(/^\[|\]$/g, ""),
        port: parsed.port === "" ? (tls ? 443 : 80) : Number(parsed.port),
        tls,
        hostHeader: parsed.host
      }
      origins.set(parsed.origin, origin)
      idle.set(origin, [])
      return origin
    },
    sockets: () => lines.size,
    idle: () => {
      let count = 0
      for (const kept of idle.values()) count += kept.length
      return count
    },
    forget: (origin) => {
      for (const [key, known] of origins) if (known === origin) origins.delete(key)
      const kept = idle.get(origin)
      idle.delete(origin)
      for (const line of kept ?? []) line.socket.destroy()
    },
    close: () => {
      closed = true
      clearInterval(sweeper)
      for (const line of lines) line.socket.destroy()
    },
    take: (origin, fresh, user) => {
      const kept = idle.get(origin)
      while (!fresh && kept !== undefined && kept.length > 0) {
        const line = kept.pop()!
        if (line.socket.destroyed || !line.socket.writable) continue
        line.user = user
        return line
      }
      return open(origin, user)
    },
    release: (line) => {
      line.user = null
      const kept = idle.get(line.origin)
      if (closed || kept === undefined || kept.length >= limits.idleMax || !line.socket.writable) {
        return void line.socket.destroy()
      }
      line.reused = true
      line.sinceMs = nowMs
      kept.push(line)
    }
  }
}
