/** Where a router may keep what it knows, each begun empty. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as MemoryNode from "../servers/MemoryNode.ts"
import * as RedisServer from "../servers/RedisServer.ts"

export interface Store {
  /** For `--store`. */
  readonly address: string
  readonly close: () => Promise<void>
}

export const none: Store = { address: "none", close: async () => {} }

const sqlite = async (): Promise<Store> => {
  const folder = await mkdtemp(join(tmpdir(), "restart-"))
  return {
    address: `sqlite:${join(folder, "store.sqlite")}`,
    close: () => rm(folder, { recursive: true, force: true })
  }
}

const redis = async (): Promise<Store> => {
  const server = await RedisServer.start()
  return { address: `redis://127.0.0.1:${server.port}`, close: server.close }
}

const rdma = async (): Promise<Store> => {
  const node = await MemoryNode.start(MemoryNode.keptLibrary())
  return { address: node.address, close: node.close }
}

/** Each rejects, saying why, where it cannot be had on this machine. */
export const kinds = { sqlite, redis, rdma } as const

export type Kind = keyof typeof kinds
