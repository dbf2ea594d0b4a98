/**
 * Memory nodes one after another in one process beside this one, told over IPC: a test has a node of its own without waiting for
 * a process. Run as a program it is that process; imported, it starts one.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { load } from "../../src/adapters/rdma/Fabric.ts"
import type { Node } from "../../src/adapters/rdma/MemoryNode.ts"
import * as MemoryNodes from "./MemoryNodes.ts"

export interface MemoryNodeHost {
  /** A new node, empty, in the place of the one there was; answers its port. */
  readonly renew: (provider: string, port?: number) => Promise<number>
  readonly close: () => Promise<void>
}

interface Order {
  readonly provider: string
  readonly port: number
}

const main = (addon: string, library: string | null): void => {
  const fabric = load(addon)
  let node: Node | null = null
  process.on("message", async ({ port, provider }: Order) => {
    await node?.close()
    node = await MemoryNodes.node(fabric, { port, provider, library, spinUs: null })
    process.send?.(node.port)
  })
  process.once("disconnect", () => process.exit())
}

export const start = (addon: string, library: string | null): MemoryNodeHost => {
  const child = fork(fileURLToPath(import.meta.url), [addon, library ?? ""], {
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  const ended = once(child, "exit").then(() => Promise.reject(new Error("The process of memory nodes ended")))
  ended.catch(() => {})
  return {
    renew: async (provider, port = 0) => {
      const answer = once(child, "message")
      child.send({ provider, port } satisfies Order)
      return (await Promise.race([answer, ended]))[0] as number
    },
    close: async () => {
      child.disconnect()
      await ended.catch(() => {})
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv[2]!, process.argv[3] || null)
