import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import { Exit, Scope } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import * as NatsServer from "../../../loadtest/servers/NatsServer.ts"
import type { Bus } from "../../../src/ports/Bus.ts"
import { type Connected, newDeployment, open, options, run } from "../../support/NatsRig.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)
const soon = (look: () => void | Promise<void>) => vi.waitFor(look, { timeout: 30_000, interval: 20 })

let cluster: NatsServer.NatsCluster
let scope: Scope.Closeable
let closing: Array<Connected>

beforeAll(async () => {
  cluster = await NatsServer.startCluster()
  scope = Scope.makeUnsafe()
  closing = []
})
afterAll(async () => {
  await run(Scope.close(scope, Exit.void))
  await Promise.all(closing.map((one) => one.close()))
  await cluster.close()
})

const threeCopies = {
  log: { ageMs: 600_000, bytesMax: 64 * 1024 * 1024, replicas: 3, storage: "file" as const },
  tables: { replicas: 3, storage: "file" as const }
}

/** The server that decides on a stream. */
const leaderOf = async (stream: string): Promise<NatsServer.NatsServer> => {
  const nc = await connect({ servers: [...cluster.urls] })
  const jsm = await jetstreamManager(nc)
  const { cluster: told } = await jsm.streams.info(stream).finally(() => nc.close())
  return cluster.servers[Number(told!.leader!.slice(1))]!
}

const follow = async (bus: Bus["Service"]): Promise<ReadonlyArray<string>> => {
  const heard: Array<string> = []
  const follower = {
    entry: ({ data, position }: { data: Uint8Array; position: number }) => void heard.push(`${position} ${text(data)}`),
    lost: (why: string) => void heard.push(`lost: ${why}`)
  }
  await run(Scope.provide(bus.follow(0, follower), scope))
  return heard
}

describe("A cluster of three NATS servers", () => {
  it("loses nothing that was acknowledged when the leader is killed under load, and no follower misses any of it", async () => {
    const deployment = newDeployment()
    const replicas: Array<Connected> = []
    for (let at = 0; at < 3; at++) {
      // Each begins with a server of its own.
      const urls = [0, 1, 2].map((next) => cluster.urls[(at + next) % 3]!)
      const connected = await open(options(urls, deployment, threeCopies))
      closing.push(connected)
      replicas.push(connected)
    }
    // The servers need a moment to agree on who leads.
    await Promise.all(replicas.map((one) => one.until(({ connected, why }) => connected && why === "")))
    const heard = await Promise.all(replicas.map(({ bus }) => follow(bus)))

    const acked: Array<string> = []
    let failed = 0
    let sent = 0
    const load = setInterval(() => {
      for (const { bus } of replicas) {
        const data = `x${sent++}`
        bus.append("kv.m.w", bytes(data), data, (result) => {
          if ("position" in result) acked.push(`${result.position} ${data}`)
          else failed++
        })
      }
    }, 5)
    await soon(() => expect(Math.min(...heard.map(({ length }) => length))).toBeGreaterThan(100))
    const killed = await leaderOf(`WARMPATH_${deployment}`)
    const before = acked.length
    await killed.kill()
    await soon(() => expect(acked.length).toBeGreaterThan(before + 500))
    clearInterval(load)
    await soon(() => expect(replicas.every(({ bus }) => bus.status().connected)).toBe(true))

    for (const each of heard) {
      await soon(() => {
        const known = new Set(each)
        expect(acked.filter((one) => !known.has(one))).toEqual([])
      })
      expect(each.filter((one) => one.startsWith("lost"))).toEqual([])
      const positions = each.map((one) => Number(one.split(" ")[0]))
      expect(positions).toEqual(positions.map((_, at) => at + 1))
    }
    // All hear the same, what was never acknowledged among it.
    expect(heard[1]).toEqual(heard[0])
    expect(heard[2]).toEqual(heard[0])
    expect(failed).toBeLessThan(sent)

    // Tables go on with two of three, too; and the third comes back.
    const table = replicas[0]!.bus.table("leases")
    await soon(async () => void (await run(table.put("w", bytes("1")))))
    await killed.start()
    await soon(() => expect(replicas.every(({ bus }) => bus.status().why === "")).toBe(true))
  })
})
