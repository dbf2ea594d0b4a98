/** A deployment on this machine: a real nats-server or none, routers in processes of their own, simulated engines in this one. */
import { setTimeout as sleep } from "node:timers/promises"
import type { SimEngine } from "../../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../../loadtest/fleet/SimOptions.ts"
import * as NatsServer from "../../loadtest/servers/NatsServer.ts"
import { type Running, warmpath } from "../support/Processes.ts"

export interface Replica {
  readonly id: string
  readonly url: string
  readonly adminUrl: string
  readonly process: Running
  readonly startedMs: number
  /** When it was killed; Infinity for one that lives. */
  killedMs: number
}

export interface Cluster {
  /** One server, or three that are one; none where a router is alone. */
  readonly nats: ReadonlyArray<NatsServer.NatsServer>
  readonly engines: ReadonlyArray<SimEngine>
  /** Those that live, and those that were. */
  readonly replicas: ReadonlyArray<Replica>
  readonly living: () => ReadonlyArray<Replica>
  /** One more router, once it is ready. */
  readonly join: () => Promise<Replica>
  readonly kill: (replica: Replica) => Promise<void>
  /** Stopped in its tracks for so long, connections open. */
  readonly freeze: (replica: Replica, ms: number) => Promise<void>
  readonly close: () => Promise<void>
}

export interface Options {
  readonly engines?: Partial<SimOptions>
  readonly routers: number
  /** More flags of `warmpath serve`. */
  readonly flags?: ReadonlyArray<string>
  /** NATS servers: 1 unless told, or 3; none for a router that is alone. */
  readonly servers?: 0 | 1 | 3
}

export const model = "sim/qwen3"

/** Ready to take requests, as a balancer sees it. */
const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/ready`).then(
    async (answer) => {
      await answer.text()
      return answer.ok
    },
    () => false
  )

export const start = async ({ engines = {}, flags = [], routers, servers = 1 }: Options): Promise<Cluster> => {
  const nats =
    servers === 3 ? (await NatsServer.startCluster()).servers : servers === 1 ? [await NatsServer.start()] : []
  const shared =
    servers === 0 ? [] : ["--nats", nats.map(({ url }) => url).join(","), "--nats-replicas", String(servers)]
  const fleet = await SimFleet.start({ engines: 8, ...engines })
  const replicas: Array<Replica> = []
  const living = () => replicas.filter(({ killedMs }) => killedMs === Number.POSITIVE_INFINITY)
  const join = async (): Promise<Replica> => {
    const id = `replica-${replicas.length + 1}`
    const process = warmpath([
      "serve",
      ...["--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--hash-seed", "0", "--workers-max", "64"],
      ...shared,
      ...(servers === 0 ? [] : ["--replica-id", id]),
      ...fleet.urls.flatMap((url) => ["--worker", url]),
      ...flags
    ])
    const [, url, adminUrl] = await process.says(/ at (http:\S+)\/v1 · admin at (http:\S+)\/admin/)
    while (!(await isReady(url!))) await sleep(50)
    const replica = {
      id,
      url: url!,
      adminUrl: adminUrl!,
      process,
      startedMs: performance.now(),
      killedMs: Number.POSITIVE_INFINITY
    }
    replicas.push(replica)
    return replica
  }
  for (let i = 0; i < routers; i++) await join()
  return {
    nats,
    engines: fleet.engines,
    replicas,
    living,
    join,
    kill: (replica) => {
      replica.killedMs = performance.now()
      return replica.process.stop()
    },
    freeze: async ({ process: { process } }, ms) => {
      process.kill("SIGSTOP")
      await sleep(ms)
      process.kill("SIGCONT")
    },
    close: async () => {
      await Promise.all(living().map(({ process }) => process.stop()))
      await fleet.close()
      await Promise.all(nats.map((server) => server.close()))
    }
  }
}
