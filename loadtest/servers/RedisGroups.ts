/** Several redis-servers that belong together: a cluster, and a primary whose replica a sentinel promotes. */
import { setTimeout as sleep } from "node:timers/promises"
import { createClient } from "redis"
import { type RedisServer, start } from "./RedisServer.ts"
import { freePort } from "./ServerProcess.ts"

const slots = 16_384
const settleMs = 20_000

/** Commands in their order, on a connection of their own. */
const askAll = async (port: number, commands: ReadonlyArray<ReadonlyArray<string>>): Promise<Array<unknown>> => {
  const client = createClient({ RESP: 2, socket: { host: "127.0.0.1", port, reconnectStrategy: false } })
  client.on("error", () => {})
  await client.connect()
  return Promise.all(commands.map((command) => client.sendCommand([...command]))).finally(() => client.destroy())
}

export const ask = async (port: number, ...command: ReadonlyArray<string>): Promise<unknown> =>
  (await askAll(port, [command]))[0]

const until = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
  for (const late = Date.now() + settleMs; Date.now() < late; await sleep(50)) {
    if (await holds().catch(() => false)) return
  }
  throw new Error(`After ${settleMs} ms there was still not: ${what}`)
}

const closeAll = async (servers: ReadonlyArray<RedisServer>): Promise<void> =>
  void (await Promise.all(servers.map((server) => server.close())))

export interface RedisCluster {
  readonly primaries: ReadonlyArray<RedisServer>
  /** Of the first primary; null unless asked for. */
  readonly replica: RedisServer | null
  /** Gives slots from one primary to another, with nothing in them. */
  readonly moveSlots: (from: number, to: number, slots: ReadonlyArray<number>) => Promise<void>
  readonly close: () => Promise<void>
}

/** Three primaries with a third of the slots each. */
export const startCluster = async (withReplica = false): Promise<RedisCluster> => {
  const servers = await Promise.all(
    Array.from({ length: withReplica ? 4 : 3 }, async () => {
      // By default the bus is 10 000 above, where a free port may have no room.
      const bus = await freePort()
      const lines = [
        "cluster-enabled yes",
        `cluster-port ${bus}`,
        "repl-diskless-sync-delay 0",
        "cluster-node-timeout 1000"
      ]
      return { bus, server: await start({ config: lines }) }
    })
  )
  const primaries = servers.slice(0, 3).map(({ server }) => server)
  const replica = servers[3]?.server ?? null
  const ids = await Promise.all(servers.map(({ server }) => ask(server.port, "CLUSTER", "MYID") as Promise<string>))
  for (const [at, { port }] of primaries.entries()) {
    const first = Math.ceil((at * slots) / 3)
    const last = Math.ceil(((at + 1) * slots) / 3) - 1
    await ask(port, "CLUSTER", "ADDSLOTSRANGE", String(first), String(last))
    // Else all begin with the same epoch, and agree only after a while.
    await ask(port, "CLUSTER", "SET-CONFIG-EPOCH", String(at + 1))
  }
  for (const { bus, server } of servers.slice(1)) {
    await ask(primaries[0]!.port, "CLUSTER", "MEET", "127.0.0.1", String(server.port), String(bus))
  }
  const knows = async (server: RedisServer): Promise<boolean> => {
    const info = String(await ask(server.port, "CLUSTER", "INFO"))
    return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${servers.length}`)
  }
  const all = () => Promise.all(servers.map(({ server }) => knows(server))).then((known) => known.every(Boolean))
  await until("a cluster in which all know all", all)
  if (replica !== null) {
    await ask(replica.port, "CLUSTER", "REPLICATE", ids[0]!)
    const isLinked = async () => String(await ask(replica.port, "INFO", "replication")).includes("link_status:up")
    await until("a replica that has what its primary has", isLinked)
  }
  return {
    primaries,
    replica,
    moveSlots: async (from, to, moved) => {
      const set = (at: number, ...how: ReadonlyArray<string>) =>
        askAll(
          primaries[at]!.port,
          moved.map((slot) => ["CLUSTER", "SETSLOT", String(slot), ...how])
        )
      await set(to, "IMPORTING", ids[from]!)
      await set(from, "MIGRATING", ids[to]!)
      await set(to, "NODE", ids[to]!)
      await set(from, "NODE", ids[to]!)
    },
    close: () => closeAll(servers.map(({ server }) => server))
  }
}

export interface RedisSentinel {
  readonly sentinel: RedisServer
  /** As they began. */
  readonly primary: RedisServer
  readonly replica: RedisServer
  /** Which port the sentinel says the primary has. */
  readonly primaryPort: () => Promise<number>
  readonly close: () => Promise<void>
}

/**
 * A primary named `main`, its replica and a sentinel that promotes it half a second after the primary fell silent. With a
 * password the servers want it, and the sentinel wants none.
 */
export const startSentinel = async (password: string | null = null): Promise<RedisSentinel> => {
  const secrets = password === null ? [] : [`requirepass ${password}`, `masterauth ${password}`]
  const config = ["repl-diskless-sync-delay 0", ...secrets]
  const primary = await start({ config })
  const replica = await start({ config: [`replicaof 127.0.0.1 ${primary.port}`, ...config] })
  await until("a replica that has what its primary has", async () =>
    /sync: Finished with success/.test(replica.output())
  )
  const sentinel = await start({
    isSentinel: true,
    config: [
      `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
      ...(password === null ? [] : [`sentinel auth-pass main ${password}`]),
      "sentinel down-after-milliseconds main 500",
      "sentinel failover-timeout main 3000"
    ]
  })
  const primaryPort = async (): Promise<number> =>
    Number(((await ask(sentinel.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")) as Array<string>)[1])
  await until("a sentinel that knows the replica", async () =>
    String(await ask(sentinel.port, "INFO", "sentinel")).includes("slaves=1")
  )
  return { sentinel, primary, replica, primaryPort, close: () => closeAll([sentinel, primary, replica]) }
}
