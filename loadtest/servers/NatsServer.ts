/** A real nats-server on a free port of this machine, its data in a folder of its own; ended with the test whatever happens. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { obtain } from "./Obtain.ts"
import * as ServerProcess from "./ServerProcess.ts"

export interface NatsServer {
  readonly url: string
  readonly port: number
  readonly output: () => string
  /** The folder of its data. */
  readonly store: string
  /** In order; data on disk stay. */
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
  /** Lines of its configuration file besides port and storage: accounts, TLS, a cluster. */
  readonly config?: string
  readonly jetStream?: boolean
  /** Of JetStream's block, besides where it stores: `max_file_store: 1MB`. */
  readonly jetStreamLimits?: string
  readonly port?: number
}

export const executable = (): Promise<string> =>
  obtain({
    name: "nats-server",
    variable: "NATS_SERVER",
    debian: { package: "nats-server", path: "usr/sbin/nats-server" },
    image: { name: "nats:2.10", path: "/nats-server" }
  })

export const start = async (options: Options = {}): Promise<NatsServer> => {
  const { config = "", jetStream = true, jetStreamLimits = "", port = await ServerProcess.freePort() } = options
  const path = await executable()
  const folder = await mkdtemp(join(tmpdir(), "nats-"))
  const store = join(folder, "store")
  const server = ServerProcess.make("nats-server", {
    ...{ path, args: ["-c", join(folder, "nats.conf")], ready: /Server is ready/ }
  })
  const launch = async (): Promise<void> => {
    await mkdir(store, { recursive: true })
    const lines = [`listen: "127.0.0.1:${port}"`, config]
    if (jetStream) lines.push(`jetstream { store_dir: "${store}"\n${jetStreamLimits} }`)
    await writeFile(join(folder, "nats.conf"), lines.join("\n"))
    await server.start()
  }
  await launch()
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    store,
    output: server.output,
    stop: () => server.end("SIGTERM"),
    kill: () => server.end("SIGKILL"),
    start: launch,
    wipe: async () => {
      await server.end("SIGKILL")
      await rm(store, { recursive: true, force: true })
      await launch()
    },
    pause: server.pause,
    resume: server.resume,
    close: async () => {
      await server.end("SIGKILL")
      await rm(folder, { recursive: true, force: true })
    }
  }
}

export interface NatsCluster {
  readonly servers: ReadonlyArray<NatsServer>
  readonly urls: ReadonlyArray<string>
  readonly close: () => Promise<void>
}

/** Three servers that are one; each stream may have three copies. */
export const startCluster = async (): Promise<NatsCluster> => {
  const ports = await Promise.all([ServerProcess.freePort(), ServerProcess.freePort(), ServerProcess.freePort()])
  const routes = ports.map((port) => `nats-route://127.0.0.1:${port}`).join(", ")
  const servers = await Promise.all(
    ports.map((port, at) =>
      start({
        config: `server_name: n${at}\ncluster { name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }`
      })
    )
  )
  return {
    servers,
    urls: servers.map(({ url }) => url),
    close: async () => void (await Promise.all(servers.map((server) => server.close())))
  }
}
