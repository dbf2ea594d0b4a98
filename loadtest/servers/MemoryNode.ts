/** A real `warmpath memory-node` on a free port of this machine, over libfabric's tcp; ended with this process whatever happens. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { freePort } from "./RedisServer.ts"

export interface MemoryNode {
  /** For `--store`. */
  readonly address: string
  /** As by `kill -9`. */
  readonly kill: () => Promise<void>
  /** On the same port again, with the memory it had. */
  readonly start: () => Promise<void>
  /** That memory gone, and started again. */
  readonly wipe: () => Promise<void>
  /** Stopped in its tracks, connections open; and going on. */
  readonly pause: () => Promise<void>
  readonly resume: () => void
  /** For good, memory and all. */
  readonly close: () => Promise<void>
}

/** Where tests keep the libfabric that they obtain; null where they did not, and the system's is to be taken. */
export const keptLibrary = (): string | null => {
  const kept = fileURLToPath(new URL("../../node_modules/.cache/libfabric", import.meta.url))
  return existsSync(join(kept, "libfabric.so.1")) ? kept : null
}

const bin = fileURLToPath(new URL("../../src/bin.ts", import.meta.url))

const alive = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL")
})

/** `library`: a folder that has libfabric; null where the system has it. */
export const start = async (library: string | null): Promise<MemoryNode> => {
  const port = await freePort()
  // What the memory is of: that it outlives the process, not the machine.
  const folder = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "memory-node-"))
  const backing = join(folder, "table")
  const from = library === null ? [] : ["--library", library]
  let child: ChildProcess | null = null

  const launch = async (): Promise<void> => {
    const args = ["--listen", `127.0.0.1:${port}`, "--provider", "tcp", "--size", "64MiB", "--max-size", "1GiB"]
    const begun = spawn(process.execPath, [bin, "memory-node", ...args, "--backing", backing, ...from], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1" }
    })
    child = begun
    alive.add(begun)
    let output = ""
    await new Promise<void>((resolve, reject) => {
      const take = (chunk: Buffer): void => {
        output += chunk.toString()
        if (output.includes("admin at")) resolve()
      }
      begun.stdout.on("data", take)
      begun.stderr.on("data", take)
      begun.once("error", reject)
      begun.once("close", (code) => {
        alive.delete(begun)
        reject(new Error(`warmpath memory-node ended (${code}):\n${output}`))
      })
    })
  }
  const kill = async (): Promise<void> => {
    const ending = child
    child = null
    if (ending === null || ending.exitCode !== null || ending.signalCode !== null) return
    const ended = once(ending, "close")
    ending.kill("SIGCONT")
    ending.kill("SIGKILL")
    await ended
  }
  await launch()
  return {
    address: `rdma://127.0.0.1:${port}?provider=tcp${library === null ? "" : `&library=${encodeURIComponent(library)}`}`,
    kill,
    start: launch,
    wipe: async () => {
      await kill()
      await rm(backing, { force: true })
      await launch()
    },
    pause: async () => {
      child?.kill("SIGSTOP")
      await sleep(100)
    },
    resume: () => void child?.kill("SIGCONT"),
    close: async () => {
      await kill()
      await rm(folder, { recursive: true, force: true })
    }
  }
}
