/** Metadata stores that a deployment may have, and what can be done to each while it runs. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as MemoryNode from "../../loadtest/servers/MemoryNode.ts"
import * as RedisServer from "../../loadtest/servers/RedisServer.ts"
import * as Rdma from "../support/Rdma.ts"

export interface Strike {
  /** Said of it: `redis-server is killed`. */
  readonly what: string
  /** Until it is there again, about `awayMs` later. */
  readonly run: (awayMs: number) => Promise<void>
}

export interface StoreKind {
  /** For `--store`. */
  readonly address: string
  /** A server that several routers share; else a file of one. */
  readonly isShared: boolean
  readonly strikes: ReadonlyArray<Strike>
  readonly close: () => Promise<void>
}

const sqlite = async (): Promise<StoreKind> => {
  const folder = await mkdtemp(join(tmpdir(), "store-"))
  return {
    address: `sqlite:${join(folder, "store.sqlite")}`,
    isShared: false,
    // Its process is the router's.
    strikes: [],
    close: () => rm(folder, { recursive: true, force: true })
  }
}

/** What may happen to a server that runs. */
const strikesAt = (
  name: string,
  server: Pick<RedisServer.RedisServer, "kill" | "start" | "wipe" | "pause" | "resume">
): ReadonlyArray<Strike> => [
  {
    what: `${name} is killed, and comes back with its data`,
    run: async (awayMs) => {
      await server.kill()
      await sleep(awayMs)
      await server.start()
    }
  },
  {
    what: `${name} is killed, and comes back without its data`,
    run: async (awayMs) => {
      await server.kill()
      await sleep(awayMs)
      await server.wipe()
    }
  },
  {
    what: `${name} is frozen`,
    run: async (awayMs) => {
      await server.pause()
      await sleep(awayMs)
      server.resume()
    }
  }
]

const redis = async (): Promise<StoreKind> => {
  // What it has answered is in the file, as far as a killed process goes.
  const server = await RedisServer.start({ config: ["appendonly yes", "appendfsync everysec"] })
  return {
    address: `redis://127.0.0.1:${server.port}`,
    isShared: true,
    strikes: strikesAt("redis-server", server),
    close: server.close
  }
}

const rdma = async (): Promise<StoreKind> => {
  await Rdma.addonFile()
  const node = await MemoryNode.start(await Rdma.libfabric())
  return { address: node.address, isShared: true, strikes: strikesAt("the memory node", node), close: node.close }
}

export const kinds = { sqlite, redis, rdma } as const

export type Kind = keyof typeof kinds
