/**
 * RedisBlocks: one key for each block in Redis, as the paper measures it and llm-d keeps it: 32 bytes, and a value of 8, here
 * a bit for each worker that holds it. Names of keys are made before anything is timed, and a block is written by a plain
 * SET, which is the cheapest there is and, with several holders, would lose one where two write at once.
 */
import { Effect } from "effect"
import { createClient, RESP_TYPES } from "redis"
import * as RedisServer from "../servers/RedisServer.ts"
import { processUs } from "./Cpu.ts"
import type { Store } from "./Stores.ts"
import type { Query, Workload } from "./Workload.ts"

/** As our adapter's client is set up. */
const plain = { RESP: 2, disableClientInfo: true, maintNotifications: "disabled" } as const
const commandOptions = { timeout: 0, typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } as const

const hex = (lane: number): string => (lane >>> 0).toString(16).padStart(8, "0")
/** A SHA-256 has 32 bytes; so has this. */
const textOf = (lo: number, hi: number): string => hex(hi) + hex(lo) + hex(~hi) + hex(~lo)

const namesOf = (keys: Int32Array): ReadonlyArray<string> =>
  Array.from({ length: keys.length / 2 }, (_, i) => textOf(keys[2 * i]!, keys[2 * i + 1]!))

/** Leading blocks that each worker holds, from the values of a request's blocks in order. */
const depthsOf = (values: ReadonlyArray<Buffer | null>, workers: number): Int32Array => {
  const depths = new Int32Array(workers).fill(values.length)
  let low = workers >= 32 ? -1 : (1 << workers) - 1
  let high = workers <= 32 ? 0 : workers >= 64 ? -1 : (1 << (workers - 32)) - 1
  for (let i = 0; i < values.length && (low | high) !== 0; i++) {
    const value = values[i]!
    const nextLow = value === null ? 0 : low & value.readInt32LE(0)
    const nextHigh = value === null ? 0 : high & value.readInt32LE(4)
    for (let lost = low & ~nextLow; lost !== 0; lost &= lost - 1) depths[31 - Math.clz32(lost & -lost)] = i
    for (let lost = high & ~nextHigh; lost !== 0; lost &= lost - 1) depths[63 - Math.clz32(lost & -lost)] = i
    low = nextLow
    high = nextHigh
  }
  return depths
}

export const memoryOf = (info: string): number => Number(/^used_memory:(\d+)/m.exec(info)![1])

export const open = Effect.fnUntraced(function* (workload: Workload) {
  const server = yield* Effect.acquireRelease(
    Effect.promise(() => RedisServer.start()),
    (server) => Effect.promise(server.close)
  )
  const client = createClient({ ...plain, commandOptions, socket: { host: "127.0.0.1", port: server.port } })
  yield* Effect.acquireRelease(
    Effect.promise(() => client.connect()),
    () => Effect.sync(() => client.destroy())
  )
  const { blocks, workers } = workload
  const names = new Map<Query, ReadonlyArray<string>>()
  for (const { queries } of workload.queries) for (const query of queries) names.set(query, namesOf(query.keys))
  const send = <A>(args: ReadonlyArray<string | Buffer>) => client.sendCommand(args as Array<string>) as Promise<A>
  const get = (name: string) => send<Buffer | null>(["GET", name])
  const mget = (names: ReadonlyArray<string>) => send<Array<Buffer | null>>(["MGET", ...names])

  const way = (
    name: string,
    values: (query: Query, names: ReadonlyArray<string>) => Promise<Array<Buffer | null>>
  ) => ({
    name,
    trips: () => 1,
    lookup: (query: Query) => Effect.promise(async () => depthsOf(await values(query, names.get(query)!), workers))
  })
  const hasGroups = workload.queries.some(({ queries }) => queries.some(({ groups }) => groups !== null))
  const grouped = way("Redis, MGET a range, GET the rest", async ({ groups }, names) => {
    const sent: Array<Promise<Array<Buffer | null>>> = []
    let at = 0
    for (const count of groups!) {
      sent.push(count === 1 ? get(names[at]!).then((value) => [value]) : mget(names.slice(at, at + count)))
      at += count
    }
    return (await Promise.all(sent)).flat()
  })
  const store: Store = {
    name: "Redis, a key for each block",
    isNetworked: true,
    write: (shares) => {
      const commands: Array<[string, string, Buffer]> = []
      for (const { last, share } of shares) {
        const { keys, told } = share
        for (let i = keys.length / 2 - 1, at = last; i >= 0; i--, at = blocks.parents[at]!) {
          if (((told >>> i) & 1) === 0) continue
          const value = Buffer.alloc(8)
          value.writeInt32LE(blocks.masks[2 * at]!, 0)
          value.writeInt32LE(blocks.masks[2 * at + 1]!, 4)
          commands.push(["SET", textOf(keys[2 * i]!, keys[2 * i + 1]!), value])
        }
      }
      return Effect.promise(async () => void (await Promise.all(commands.map((command) => send(command)))))
    },
    serverUs: () => processUs(server.pid()),
    bytes: Effect.promise(async () => memoryOf(String(await send<Buffer>(["INFO", "memory"])))),
    ways: [
      way("Redis, GET per block", (_, names) => Promise.all(names.map(get))),
      way("Redis, MGET per block", (_, names) => mget(names)),
      ...(hasGroups ? [grouped] : [])
    ]
  }
  return store
})
