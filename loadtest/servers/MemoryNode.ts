/** A real `warmpath memory-node` on a free port of this machine, over libfabric's tcp; ended with this process whatever happens. */
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as ServerProcess from "./ServerProcess.ts"

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

/** `library`: a folder that has libfabric; null where the system has it. */
export const start = async (library: string | null): Promise<MemoryNode> => {
  const port = await ServerProcess.freePort()
  // What the memory is of: that it outlives the process, not the machine.
  const folder = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "memory-node-"))
  const backing = join(folder, "table")
  const from = library === null ? [] : ["--library", library]
  const args = ["--listen", `127.0.0.1:${port}`, "--provider", "tcp", "--size", "64MiB", "--max-size", "1GiB"]
  const node = ServerProcess.make("warmpath memory-node", {
    path: process.execPath,
    args: [bin, "memory-node", ...args, "--backing", backing, ...from],
    ready: /admin at/
  })
  const kill = () => node.end("SIGKILL")
  await node.start()
  return {
    address: `rdma://127.0.0.1:${port}?provider=tcp${library === null ? "" : `&library=${encodeURIComponent(library)}`}`,
    kill,
    start: node.start,
    wipe: async () => {
      await kill()
      await rm(backing, { force: true })
      await node.start()
    },
    pause: node.pause,
    resume: node.resume,
    close: async () => {
      await kill()
      await rm(folder, { recursive: true, force: true })
    }
  }
}
