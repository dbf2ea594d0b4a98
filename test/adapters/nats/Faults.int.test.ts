import { cp, rm } from "node:fs/promises"
import { DiscardPolicy, jetstreamManager } from "@nats-io/jetstream"
import { connect, headers } from "@nats-io/transport-node"
import { Effect, Exit, Scope } from "effect"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import * as NatsServer from "../../../loadtest/servers/NatsServer.ts"
import type { Bus } from "../../../src/ports/Bus.ts"
import { type Connected, newDeployment, open, options, paces, run } from "../../support/NatsRig.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)
const soon = (look: () => void | Promise<void>) => vi.waitFor(look, { timeout: 20_000, interval: 10 })

let server: NatsServer.NatsServer
let deployment: string
let scope: Scope.Closeable
let closing: Array<Connected>

beforeAll(async () => {
  server = await NatsServer.start()
})
afterAll(() => server.close())
beforeEach(() => {
  deployment = newDeployment()
  scope = Scope.makeUnsafe()
  closing = []
})
afterEach(async () => {
  server.resume()
  await run(Scope.close(scope, Exit.void))
  await Promise.all(closing.map((one) => one.close()))
})

const replica = async (at = paces): Promise<Connected> => {
  const connected = await open(options([server.url], deployment), at)
  closing.push(connected)
  await connected.until((status) => status.connected)
  return connected
}
const follow = async (bus: Bus["Service"]) => {
  const heard: Array<string> = []
  const follower = {
    entry: ({ data, position }: { data: Uint8Array; position: number }) => void heard.push(`${position} ${text(data)}`),
    lost: () => void heard.push("lost")
  }
  await run(Scope.provide(bus.follow(0, follower), scope))
  return heard
}
const watch = async (bus: Bus["Service"]) => {
  const heard: Array<string> = []
  const watcher = {
    all: (rows: ReadonlyArray<unknown>) => void heard.push(`all ${rows.length}`),
    changed: ({ key }: { key: string }) => void heard.push(key),
    removed: (key: string) => void heard.push(`-${key}`)
  }
  await run(Scope.provide(bus.table("members").watch(watcher), scope))
  return heard
}
const append = (bus: Bus["Service"], data: string) =>
  new Promise<string>((resolve) =>
    bus.append("kv.m.w", bytes(data), data, (result) =>
      resolve("position" in result ? `${result.position} ${data}` : result.reason)
    )
  )
const asAdmin = async (work: (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<unknown>) => {
  const nc = await connect({ servers: server.url })
  await work(await jetstreamManager(nc)).finally(() => nc.close())
}

describe("A router on NATS", () => {
  it("loses nothing that was acknowledged when NATS is killed and starts again", async () => {
    const [a, b] = [await replica(), await replica()]
    const heard = await follow(b.bus)
    const rows = await watch(b.bus)
    await soon(() => expect(rows).toEqual(["all 0"]))
    await run(a.bus.table("members").put("a", bytes("1")))
    const acked = [await append(a.bus, "x1"), await append(a.bus, "x2")]
    await soon(() => expect(heard).toEqual(acked))
    await server.kill()
    await a.until((status) => !status.connected)
    expect(a.bus.publish("x", bytes(""))).toBe(false)
    expect(await append(a.bus, "while away")).toBe("away")
    await server.start()
    await Promise.all([a, b].map((one) => one.until((status) => status.connected)))
    acked.push(await append(a.bus, "x3"))
    expect(acked).toEqual(["1 x1", "2 x2", "3 x3"])
    await soon(() => expect(heard).toEqual(acked))
    await soon(() => expect(rows).toEqual(["all 0", "a", "all 1"]))
  })

  it("goes on by itself when all data of NATS go while it appends", async () => {
    const [a, b] = [await replica(), await replica()]
    const heard = await follow(b.bus)
    const acked: Array<string> = []
    let sent = 0
    const load = setInterval(() => {
      for (let at = 0; at < 5; at++)
        void append(a.bus, `x${sent++}`).then((done) => void (done.includes(" ") && acked.push(done)))
    }, 2)
    await soon(() => expect(heard.length).toBeGreaterThan(200))
    await server.wipe()
    const wipedAt = acked.length
    await soon(() => expect(acked.length).toBeGreaterThan(wipedAt + 200))
    clearInterval(load)
    // What came after the loss is the new log, from its first entry on.
    await soon(() => expect(heard.at(-1)).toBe(acked.at(-1)))
    const lost = heard.lastIndexOf("lost")
    const anew = acked.findLastIndex((one) => one.startsWith("1 "))
    expect(anew).toBeGreaterThan(0)
    expect(heard.slice(lost + 1)).toEqual(acked.slice(anew))
    expect(heard.slice(0, heard.indexOf("lost"))).toEqual(acked.slice(0, heard.indexOf("lost")))
  })

  it("makes streams and buckets anew when someone deletes them", async () => {
    const [a, b] = [await replica(), await replica()]
    const heard = await follow(b.bus)
    const rows = await watch(b.bus)
    await soon(() => expect(rows).toEqual(["all 0"]))
    await run(a.bus.table("members").put("a", bytes("1")))
    await append(a.bus, "x1")
    await soon(() => expect([heard, rows]).toEqual([["1 x1"], ["all 0", "a"]]))
    await asAdmin(async (jsm) => {
      await jsm.streams.delete(`WARMPATH_${deployment}`)
      await jsm.streams.delete(`KV_warmpath_${deployment}_members`)
    })
    await soon(() => expect(heard).toEqual(["1 x1", "lost"]))
    await soon(() => expect(rows).toEqual(["all 0", "a", "all 0"]))
    expect(await append(a.bus, "y1")).toBe("1 y1")
    await run(a.bus.table("members").put("b", bytes("1")))
    await soon(() => expect([heard.at(-1), rows.at(-1)]).toEqual(["1 y1", "b"]))
  })

  it("says what is lost when NATS comes back with an older state, though it has as many entries by then", async () => {
    const [a, b] = [await replica(), await replica()]
    const heard = await follow(b.bus)
    for (let at = 1; at <= 3; at++) await append(a.bus, `x${at}`)
    await server.stop()
    const copy = `${server.store}.copy`
    await cp(server.store, copy, { recursive: true })
    await server.start()
    await a.until((status) => status.connected)
    for (let at = 4; at <= 6; at++) await append(a.bus, `x${at}`)
    await soon(() => expect(heard.length).toBe(6))
    await b.until((status) => status.connected)
    await server.stop()
    await rm(server.store, { recursive: true })
    await cp(copy, server.store, { recursive: true })
    await rm(copy, { recursive: true })
    await server.start()
    await a.until((status) => status.connected)
    for (let at = 4; at <= 9; at++) await append(a.bus, `y${at}`)
    await soon(() => expect(heard.at(-1)).toBe("9 y9"))
    const first = heard.indexOf("lost")
    expect(first).toBe(6)
    const since = heard.slice(heard.lastIndexOf("lost") + 1)
    expect(since.slice(-6)).toEqual(["4 y4", "5 y5", "6 y6", "7 y7", "8 y8", "9 y9"])
  })

  it("gives up a NATS that says nothing, closes in time, and is back when that is", async () => {
    const [a, b] = [await replica(), await replica()]
    const heard = await follow(a.bus)
    await server.pause()
    const appended = append(a.bus, "x1")
    const row = run(Effect.result(a.bus.table("leases").put("w", bytes("1"))))
    // So many wait; those after them are told at once.
    const waiting = Array.from({ length: 10_000 }, (_, at) => append(a.bus, `waits ${at}`))
    expect(await waiting.at(-1)).toBe("late")
    expect(a.bus.status().connected).toBe(true)
    await a.until((status) => !status.connected)
    // Whether the server will take it, nobody can say yet.
    expect(["away", "late"]).toContain(await appended)
    expect(await row).toMatchObject({ failure: { _tag: "BusError" } })
    expect(a.bus.publish("x", bytes(""))).toBe(false)
    const began = performance.now()
    await b.close()
    expect(performance.now() - began).toBeLessThan(3_000)
    server.resume()
    await a.until((status) => status.connected)
    const acked = await append(a.bus, "x2")
    await soon(() => expect(heard.at(-1)).toBe(acked))
    expect(heard).not.toContain("lost")
  })

  it("hears in the answer and in the status what NATS does not take", async () => {
    await asAdmin((jsm) =>
      jsm.streams.add({
        name: `WARMPATH_${deployment}`,
        subjects: [`warmpath.${deployment}.kv.>`],
        max_bytes: 1_000,
        discard: DiscardPolicy.New
      })
    )
    const { bus } = await replica()
    expect(bus.status().why).toContain('discard is "new" and should be "old"')
    expect(await append(bus, "x")).toBe("1 x")
    expect(bus.status().why).not.toContain("takes nothing")
    expect(await append(bus, "x".repeat(2_000))).toBe("refused")
    expect(bus.status().connected).toBe(true)
    expect(bus.status().why).toContain("the log takes nothing: maximum bytes exceeded")
  })

  it("keeps no more of its log than its bytes, the oldest going first", async () => {
    const log = { ageMs: 600_000, bytesMax: 100_000, replicas: 1, storage: "file" as const }
    const small = await open(options([server.url], deployment, { log }))
    closing.push(small)
    await small.until((status) => status.connected)
    const acked: Array<string> = []
    for (let at = 0; at < 50; at++) acked.push(await append(small.bus, `${at}`.padEnd(10_000)))
    const heard = await follow(small.bus)
    await soon(() => expect(heard.at(-1)).toBe(acked.at(-1)))
    expect(heard.length).toBeGreaterThan(5)
    expect(heard.length).toBeLessThan(12)
    expect(heard).toEqual(acked.slice(-heard.length))
  })

  it("forgets rows that were removed, and only those", async () => {
    const { bus } = await replica({ ...paces, marksMs: 300 })
    const table = bus.table("fleet")
    for (const key of ["gone", "again", "kept"]) await run(table.put(key, bytes("1")))
    for (const key of ["gone", "again"]) await run(table.remove(key))
    await run(table.put("again", bytes("2")))
    const kept = async (jsm: Awaited<ReturnType<typeof jetstreamManager>>) => {
      const { state } = await jsm.streams.info(`KV_warmpath_${deployment}_fleet`, { subjects_filter: ">" })
      return Object.keys(state.subjects ?? {}).map((subject) => subject.split(".").at(-1))
    }
    await asAdmin((jsm) => soon(async () => expect((await kept(jsm)).sort()).toEqual(["again", "kept"])))
    expect((await run(table.all)).map(({ key, value }) => `${key} ${text(value)}`).sort()).toEqual([
      "again 2",
      "kept 1"
    ])
  })

  it("takes an answer that lost a message on the way for late, not for whole", async () => {
    const { bus } = await replica()
    const nc = await connect({ servers: server.url })
    nc.subscribe(`warmpath.${deployment}.q`, {
      callback: (_, question) => {
        question.respond("first")
        const end = headers()
        end.set("Warmpath-End", "done")
        end.set("Warmpath-Answers", "2")
        question.respond("", { headers: end })
      }
    })
    await nc.flush()
    const asked = await run(Effect.result(bus.ask("q", bytes(""), () => {}, 10_000)))
    expect(asked).toMatchObject({ failure: { reason: "late", detail: "1 of 2 answers were lost" } })
    await nc.close()
  })

  it("keeps its connection when one of its own callbacks throws", async () => {
    const { bus, lines } = await replica()
    let calls = 0
    const take = () => {
      calls++
      throw new Error("a mistake of ours")
    }
    await run(Scope.provide(bus.subscribe("x", take), scope))
    bus.publish("x", bytes(""))
    bus.publish("x", bytes(""))
    await soon(() => expect(calls).toBe(2))
    expect(await append(bus, "x1")).toBe("1 x1")
    expect(bus.status()).toMatchObject({ connected: true, why: "" })
    expect(lines.filter((line) => line.includes("heard from the bus failed")).length).toBe(2)
  })
})
