/** A real nats-server on a free port of this machine, its data in a folder of its own; ended with the test whatever happens. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { obtain } from "./Obtain.ts"

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

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, "close")
  return port
}

const alive = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL")
})

export const start = async (options: Options = {}): Promise<NatsServer> => {
  const { config = "", jetStream = true, jetStreamLimits = "", port = await freePort() } = options
  const path = await executable()
  const folder = await mkdtemp(join(tmpdir(), "nats-"))
  const store = join(folder, "store")
  let child: ChildProcess | null = null
  let output = ""

  const launch = async (): Promise<void> => {
    await mkdir(store, { recursive: true })
    const lines = [`listen: "127.0.0.1:${port}"`, config]
    if (jetStream) lines.push(`jetstream { store_dir: "${store}"\n${jetStreamLimits} }`)
    await writeFile(join(folder, "nats.conf"), lines.join("\n"))
    const begun = spawn(path, ["-c", join(folder, "nats.conf")], { stdio: ["ignore", "pipe", "pipe"] })
    child = begun
    alive.add(begun)
    await new Promise<void>((resolve, reject) => {
      const take = (chunk: Buffer) => {
        output += chunk.toString()
        if (output.includes("Server is ready")) resolve()
      }
      begun.stdout.on("data", take)
      begun.stderr.on("data", take)
      begun.once("error", reject)
      begun.once("close", (code) => {
        alive.delete(begun)
        reject(new Error(`nats-server ended (${code}):\n${output}`))
      })
    })
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = child
    child = null
    output = ""
    if (ending === null || ending.exitCode !== null || ending.signalCode !== null) return
    const ended = once(ending, "close")
    // A paused one would not hear of anything else.
    ending.kill("SIGCONT")
    ending.kill(signal)
    await ended
  }
  await launch()
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    store,
    output: () => output,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    start: launch,
    wipe: async () => {
      await end("SIGKILL")
      await rm(store, { recursive: true, force: true })
      await launch()
    },
    pause: async () => {
      child?.kill("SIGSTOP")
      // The signal takes a moment to reach every thread.
      await sleep(100)
    },
    resume: () => void child?.kill("SIGCONT"),
    close: async () => {
      await end("SIGKILL")
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
  const ports = await Promise.all([freePort(), freePort(), freePort()])
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
