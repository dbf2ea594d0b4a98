/** Routers at a NATS that is of no use to them, and at one that is, on the same address. */
import { once } from "node:events"
import { createServer } from "node:net"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as NatsServer from "../loadtest/servers/NatsServer.ts"
import { freePort } from "../loadtest/servers/ServerProcess.ts"
import { keysOf } from "./cluster/Agree.ts"
import * as Processes from "./support/Processes.ts"

interface Broker {
  readonly close: () => Promise<void>
}

/** What `/admin/cluster` says that counts here. */
interface Shown {
  readonly bus: { readonly connected: boolean; readonly why: string }
  readonly publishers: ReadonlyArray<{ readonly name: string; readonly role: string }>
  readonly relay: { readonly roles: Readonly<Record<string, number>>; readonly why: string }
}

interface Router {
  readonly process: Processes.Running
  readonly url: string
  readonly adminUrl: string
}

/** It speaks as a server of before KV and JetStream as they are now. */
const tooOld = async (port: number): Promise<Broker> => {
  const info = { server_id: "x", version: "2.8.4", proto: 1, go: "", host: "127.0.0.1", port, headers: true }
  const sockets = new Set<{ readonly destroy: () => void }>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.write(`INFO ${JSON.stringify({ ...info, max_payload: 1_048_576, client_id: 1 })}\r\n`)
    socket.on("data", (data) => data.includes("PING") && socket.write("PONG\r\n"))
    socket.on("error", () => {})
  }).listen(port, "127.0.0.1")
  await once(server, "listening")
  return {
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, "close")
    }
  }
}

const brokers: ReadonlyArray<{
  readonly what: string
  readonly says: RegExp
  readonly start: (port: number) => Promise<Broker>
}> = [
  {
    what: "JetStream disabled",
    says: /JetStream is not enabled on the NATS server/,
    start: (port) => NatsServer.start({ port, jetStream: false })
  },
  {
    what: "a version that is too old",
    says: /nats-server 2\.8\.4 is too old: Warmpath needs 2\.9 or newer/,
    start: tooOld
  },
  {
    what: "no room for the log",
    says: /the stream WARMPATH_default cannot be made or read: insufficient/,
    start: (port) => NatsServer.start({ port, jetStreamLimits: "max_memory_store: 1MB, max_file_store: 1MB" })
  }
]

const soon = <A>(look: () => A | Promise<A>) => vi.waitFor(look, { timeout: 30_000, interval: 100 })

describe("a NATS that is of no use", () => {
  let port = 0
  let broker: Broker
  let fleet: SimFleet.SimFleet
  let routers: ReadonlyArray<Router> = []

  const shown = async ({ adminUrl }: Router) => (await (await fetch(`${adminUrl}/admin/cluster`)).json()) as Shown
  const metrics = async ({ adminUrl }: Router) => (await fetch(`${adminUrl}/metrics`)).text()
  const ask = async ({ url }: Router, content: string): Promise<number> => {
    const body = JSON.stringify({ model: "sim/qwen3", max_tokens: 4, messages: [{ role: "user", content }] })
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body
    })
    await answer.text()
    return answer.status
  }
  const workers = () => fleet.urls.map((url) => new URL(url).host)
  /** Each worker's blocks, as each router knows them: all the same, and not none. */
  const agree = () =>
    soon(async () => {
      for (const id of workers()) {
        const known = await Promise.all(routers.map((router) => keysOf(router, id)))
        expect(known[0]!.length).toBeGreaterThan(0)
        expect(known[1]).toEqual(known[0])
      }
    })
  const replaceBy = async (start: (port: number) => Promise<Broker>) => {
    await broker.close()
    broker = await start(port)
  }

  beforeAll(async () => {
    port = await freePort()
    broker = await brokers[0]!.start(port)
    fleet = await SimFleet.start({ engines: 2, speed: 20 })
    routers = await Promise.all(
      ["a", "b"].map(async (id) => {
        const process = Processes.warmpath([
          "serve",
          ...["--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--hash-seed", "0", "--replica-id", id],
          ...["--nats", `nats://127.0.0.1:${port}`],
          ...fleet.urls.flatMap((url) => ["--worker", url])
        ])
        const [, url, adminUrl] = await process.says(/ at (http:\S+)\/v1 · admin at (http:\S+)\/admin/)
        return { process, url: url!, adminUrl: adminUrl! }
      })
    )
    await Promise.all(
      routers.map(({ url }) => soon(async () => expect((await fetch(`${url}/ready`)).status).toBe(200)))
    )
  })
  afterAll(async () => {
    await Promise.all(routers.map(({ process }) => process.stop()))
    await fleet.close()
    await broker.close()
  })

  for (const [at, { says, start, what }] of brokers.entries()) {
    it(`for ${what}, is said to be so once, and routers go on with what each reads for itself`, async () => {
      if (at > 0) await replaceBy(start)
      await soon(async () => {
        for (const router of routers) {
          const { bus, publishers, relay } = await shown(router)
          expect(bus.why).toMatch(says)
          expect(relay.why).not.toBe("")
          expect([publishers.length, relay.roles["solo"]]).toEqual([0, fleet.urls.length])
          expect(await metrics(router)).toMatch(/^warmpath_bus_connected 0$/m)
        }
      })
      for (let i = 0; i < 8; i++)
        expect(await ask(routers[i % 2]!, `${what} ${i}: ${"tell me more. ".repeat(40)}`)).toBe(200)
      await agree()
      for (const { process } of routers) {
        const lines = process
          .output()
          .split("\n")
          // The relay says why it reads for itself, too.
          .filter((line) => line.includes("NATS: ") && says.test(line))
        expect(lines).toHaveLength(1)
      }
    })
  }

  it("is one deployment again when one with room is there, and one router reads each engine", async () => {
    await replaceBy((port) => NatsServer.start({ port }))
    await soon(async () => {
      const both = await Promise.all(routers.map(shown))
      for (const { bus, relay } of both) {
        expect([bus.connected, bus.why, relay.why]).toEqual([true, "", ""])
        expect(relay.roles["solo"]).toBe(0)
      }
      for (const id of workers()) {
        const roles = both.map(({ publishers }) => publishers.find(({ name }) => name === id)?.role)
        expect(roles.sort()).toEqual(["follower", "owner"])
      }
    })
    for (let i = 0; i < 8; i++)
      expect(await ask(routers[i % 2]!, `shared ${i}: ${"tell me more. ".repeat(40)}`)).toBe(200)
    await agree()
    for (const router of routers) expect(await metrics(router)).toMatch(/^warmpath_bus_connected 1$/m)
  })
})
