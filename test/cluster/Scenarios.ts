/** What may happen to a deployment under load, and what must hold nevertheless. */
import { setTimeout as sleep } from "node:timers/promises"
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Random from "../../loadtest/Random.ts"
import type { NatsServer } from "../../loadtest/servers/NatsServer.ts"
import * as Agree from "./Agree.ts"
import * as Cluster from "./Cluster.ts"
import * as Load from "./Load.ts"
import * as Watch from "./Watch.ts"

export interface Options {
  readonly forMs: number
  readonly everyMs: number
  readonly perSecond: number
  readonly routers: number
  readonly seed: number
  readonly say: (text: string) => void
}

export interface Outcome {
  readonly requests: number
  readonly failed: number
  /** Failures that nothing done here explains, the first few. */
  readonly unexplained: ReadonlyArray<string>
  /** Where a router's picture is not the engine's cache, once all is calm. */
  readonly differences: ReadonlyArray<string>
  readonly healedMs: number
  /** Longest time that an engine's events had no reader, and more than one; ms. */
  readonly noneMs: number
  readonly manyMs: number
  /** Longest time between two looks at that: what a machine that stands still adds to it. */
  readonly stalledMs: number
  readonly strikes: number
}

/** Small caches that turn over, fast engines: two cores run all of this. */
const engines = { speed: 20, blocks: 400, maxModelLen: 2_000, outputTokens: 20 }

const healMs = 60_000

const run = async (
  options: Options,
  strike: (cluster: Cluster.Cluster, random: Random.Random) => Promise<void>,
  servers: 1 | 3 = 1
): Promise<Outcome> => {
  const { everyMs, forMs, perSecond, routers, say, seed } = options
  const random = Random.make(seed)
  const cluster = await Cluster.start({ engines, routers, servers })
  try {
    const load = Load.start({ living: cluster.living, perSecond, seed })
    const watch = Watch.start(cluster)
    const endMs = performance.now() + forMs
    let strikes = 0
    while (performance.now() < endMs) {
      await sleep(everyMs * (0.5 + random()))
      await strike(cluster, random)
      say(`strike ${++strikes}: ${load.sent.length} requests so far`)
    }
    await sleep(everyMs)
    const watched = await watch.stop()
    const sent = await load.stop()
    const calmMs = performance.now()
    const differences = await Agree.settle(cluster, healMs)
    return {
      requests: sent.length,
      failed: sent.filter(({ error }) => error !== null).length,
      unexplained: Load.unexplained(sent)
        .slice(0, 5)
        .map(({ error, replica }) => `${replica.id}: ${error}`),
      differences,
      healedMs: performance.now() - calmMs,
      ...watched,
      strikes
    }
  } finally {
    await cluster.close()
  }
}

/** A router is killed, and another started in its place. */
export const routersDie = (options: Options): Promise<Outcome> =>
  run(options, async (cluster, random) => {
    const living = cluster.living()
    const victim = living[Math.floor(random() * living.length)]!
    await cluster.kill(victim)
    await cluster.join()
  })

const natsStrikes = ["killed", "stopped", "wiped", "paused"] as const

/** The broker is killed, stopped, wiped or frozen, for some seconds each. */
export const natsFails = (options: Options): Promise<Outcome> => {
  let turn = 0
  return run(options, async ({ nats: servers }, random) => {
    const nats = servers[0]!
    const how = natsStrikes[turn++ % natsStrikes.length]!
    const awayMs = 500 + 7_000 * random()
    options.say(`nats-server is ${how}`)
    if (how === "wiped") return nats.wipe()
    if (how === "paused") await nats.pause()
    else await nats[how === "killed" ? "kill" : "stop"]()
    await sleep(awayMs)
    if (how === "paused") nats.resume()
    else await nats.start()
  })
}

/** Which of three servers decides on the log. Waits while none does: routers make the log, and elections take seconds. */
const leaderOf = async ({ nats }: Cluster.Cluster): Promise<NatsServer> => {
  const connection = await connect({ servers: nats.map(({ url }) => url) })
  try {
    for (;;) {
      const streams = await jetstreamManager(connection)
        .then((manager) => manager.streams.list().next())
        .catch(() => [])
      const leader = streams.find(({ config }) => config.name.startsWith("WARMPATH"))?.cluster?.leader
      if (leader !== undefined && leader !== "") return nats[Number(leader.slice(1))]!
      await sleep(100)
    }
  } finally {
    await connection.close()
  }
}

/** Of three NATS servers the one that decides on the log is killed, and comes back later. */
export const leaderDies = (options: Options): Promise<Outcome> =>
  run(
    options,
    async (cluster, random) => {
      const leader = await leaderOf(cluster)
      await leader.kill()
      await sleep(2_000 + 3_000 * random())
      await leader.start()
    },
    3
  )
