/** A real redis-server on a free port of this machine, its data in a folder of its own; ended with the test whatever happens. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { obtain } from "./Obtain.ts"
import * as ServerProcess from "./ServerProcess.ts"

export interface RedisServer {
  readonly port: number
  /** Of the running process; 0 when there is none. */
  readonly pid: () => number
  readonly output: () => string
  /** In order: what is to be persisted is. */
  readonly stop: () => Promise<void>
  /** As by `kill -9`. */
  readonly kill: () => Promise<void>
  /** On the same port again, with what is on disk. */
  readonly start: () => Promise<void>
  /** All data gone, and started again. */
  readonly wipe: () => Promise<void>
  /** Stopped in its tracks, connections open; and going on. */
  readonly pause: () => Promise<void>
  readonly resume: () => void
  /** For good, data and all. */
  readonly close: () => Promise<void>
}

export interface Options {
  /** Lines of its configuration file besides port and folder; nothing is persisted unless they say so. */
  readonly config?: ReadonlyArray<string>
  readonly port?: number
  /** Certificate, key and authority in PEM: it speaks nothing but TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string }
  /** It watches over others and stores nothing. */
  readonly isSentinel?: boolean
}

export const executable = (): Promise<string> =>
  obtain({
    name: "redis-server",
    variable: "REDIS_SERVER",
    // Its own package holds a link to this file, which is all of Redis' servers.
    debian: {
      package: "redis-tools",
      libraries: ["libjemalloc2", "liblzf1", "libatomic1"],
      path: "usr/bin/redis-check-rdb"
    },
    image: { name: "redis:7", path: "/usr/local/bin/redis-server" }
  })

/** Said once it takes connections, also after it has read what is on disk; the last is a sentinel's. */
const ready = /Ready to accept connections|Sentinel ID is/

const linesOf = async (options: Options, port: number, folder: string): Promise<ReadonlyArray<string>> => {
  const lines = [`bind 127.0.0.1`, `dir "${folder}"`, "daemonize no"]
  if (options.isSentinel !== true) lines.push('save ""')
  if (options.tls === undefined) return [...lines, `port ${port}`, ...(options.config ?? [])]
  const [certificate, key] = [join(folder, "cert.pem"), join(folder, "key.pem")]
  await writeFile(certificate, options.tls.certificate)
  await writeFile(key, options.tls.key)
  lines.push("port 0", `tls-port ${port}`, `tls-cert-file "${certificate}"`, `tls-key-file "${key}"`)
  return [...lines, `tls-ca-cert-file "${certificate}"`, "tls-auth-clients optional", ...(options.config ?? [])]
}

export const start = async (options: Options = {}): Promise<RedisServer> => {
  const port = options.port ?? (await ServerProcess.freePort())
  const path = await executable()
  const folder = await mkdtemp(join(tmpdir(), "redis-"))
  const file = join(folder, "redis.conf")
  await writeFile(file, (await linesOf(options, port, folder)).join("\n"))
  const args = options.isSentinel === true ? [file, "--sentinel"] : [file]
  const server = ServerProcess.make("redis-server", { path, args, ready })
  await server.start()
  return {
    port,
    pid: server.pid,
    output: server.output,
    stop: () => server.end("SIGTERM"),
    kill: () => server.end("SIGKILL"),
    start: server.start,
    wipe: async () => {
      await server.end("SIGKILL")
      for (const name of await readdir(folder)) {
        if (!/\.(conf|pem)$/.test(name)) await rm(join(folder, name), { recursive: true })
      }
      await server.start()
    },
    pause: server.pause,
    resume: server.resume,
    close: async () => {
      await server.end("SIGKILL")
      await rm(folder, { recursive: true, force: true })
    }
  }
}
