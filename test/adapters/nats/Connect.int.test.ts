import { once } from "node:events"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Redacted, Scope } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import * as NatsServer from "../../../loadtest/servers/NatsServer.ts"
import { freePort } from "../../../loadtest/servers/ServerProcess.ts"
import type { Options } from "../../../src/adapters/nats/NatsBus.ts"
import type { Bus } from "../../../src/ports/Bus.ts"
import * as NatsKeys from "../../support/NatsKeys.ts"
import { type Connected, newDeployment, open, options, run } from "../../support/NatsRig.ts"
import { certificate, privateKey } from "../../support/TestCertificate.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const soon = (look: () => void | Promise<void>) => vi.waitFor(look, { timeout: 15_000, interval: 10 })

let folder: string
let closing: Array<{ readonly close: () => Promise<void> }>

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "nats-keys-"))
  closing = []
})
afterEach(async () => {
  for (const one of closing.reverse()) await one.close()
  await rm(folder, { recursive: true })
})

const start = async (given: NatsServer.Options = {}): Promise<NatsServer.NatsServer> => {
  const server = await NatsServer.start(given)
  closing.push(server)
  return server
}
const bus = async (servers: ReadonlyArray<string>, given: Partial<Options> = {}): Promise<Connected> => {
  const connected = await open(options(servers, newDeployment(), given))
  closing.push(connected)
  return connected
}
const file = async (name: string, text: string): Promise<string> => {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

/** Uses every part of it once. */
const works = async (it: Bus["Service"]): Promise<void> => {
  const scope = Scope.makeUnsafe()
  const heard: Array<string> = []
  const begin = (effect: Effect.Effect<void, never, Scope.Scope>) => run(Scope.provide(effect, scope))
  const hear = (text: string) => void heard.push(text)
  await begin(it.subscribe("x.*", (subject) => hear(subject)))
  await begin(it.serve("q", (_, send) => Effect.sync(() => send(bytes("answer")))))
  await begin(it.follow(0, { entry: ({ position }) => hear(`entry ${position}`), lost: hear }))
  await begin(it.table("leases").watch({ all: () => hear("all"), changed: ({ key }) => hear(key), removed: hear }))
  await soon(() => expect(heard).toEqual(["all"]))
  expect(it.publish("x.y", bytes(""))).toBe(true)
  await run(it.ask("q", bytes(""), () => hear("answer"), 2_000))
  it.append("kv.m.w", bytes("1"), "1", (result) => "reason" in result && hear(result.message))
  await run(it.table("leases").put("row", bytes("1")))
  expect((await run(it.table("leases").all)).length).toBe(1)
  await run(it.table("leases").remove("row"))
  await soon(() => expect([...heard].sort()).toEqual(["all", "answer", "entry 1", "row", "row", "x.y"]))
  await run(Scope.close(scope, Exit.void))
}

describe("NATS", () => {
  it("that is away does not keep the router from starting, and is used once it is there", async () => {
    const port = await freePort()
    const connected = await bus([`nats://127.0.0.1:${port}`])
    const { why } = await connected.until((status) => status.why.includes("refused"))
    expect(why).toContain(`cannot connect to nats://127.0.0.1:${port}`)
    await start({ port })
    await connected.until((status) => status.connected)
    await works(connected.bus)
    expect(connected.bus.status()).toMatchObject({ connected: true, why: "" })
    // Said once, however often it was tried.
    expect(connected.lines.filter((line) => line.includes("away")).length).toBe(1)
  })

  it("is used by mutual TLS and an nkey", async () => {
    const [cert, key] = [await file("cert.pem", certificate), await file("key.pem", privateKey)]
    const user = NatsKeys.userKey()
    const server = await start({
      config: [
        `tls { cert_file: "${cert}", key_file: "${key}", ca_file: "${cert}", verify: true }`,
        `authorization { users: [ { nkey: ${user.publicKey} } ] }`
      ].join("\n")
    })
    const servers = [`tls://localhost:${server.port}`]
    const tls = { caFile: cert, certFile: cert, keyFile: key }
    const nkeySeedFile = await file("user.nk", `${user.seed}\n`)
    const connected = await bus(servers, { tls, nkeySeedFile })
    await connected.until((status) => status.connected)
    await works(connected.bus)

    const stranger = await bus(servers, { tls, nkeySeedFile: await file("other.nk", NatsKeys.userKey().seed) })
    expect((await stranger.until(({ why }) => why.includes("cannot"))).why).toContain("refuses who we are")
    const trusting = await bus(servers, { tls: { caFile: null, certFile: cert, keyFile: key }, nkeySeedFile })
    expect((await trusting.until(({ why }) => why.includes("cannot"))).why).toMatch(/self.signed/)
    const nameless = await bus(servers, { tls: { ...tls, certFile: null, keyFile: null }, connectTimeoutMs: 500 })
    // A server that hangs up may be heard before what it says; it is asked again.
    await nameless.until(({ why }) => /cannot connect.*certificate/.test(why))
  })

  it("is used with a credentials file, read anew for each connection", async () => {
    const { config, creds } = NatsKeys.operator()
    const server = await start({ config })
    const credsFile = join(folder, "user.creds")
    const connected = await bus([server.url], { credsFile })
    expect((await connected.until(({ why }) => why.includes("cannot"))).why).toContain("user.creds")
    await file("user.creds", creds)
    await connected.until((status) => status.connected)
    await works(connected.bus)
  })

  it("is used with a user and password, and with a token; a wrong one is said, and never shown", async () => {
    const server = await start({ config: 'authorization { user: "u", password: "right" }' })
    const right = await bus([server.url], { user: "u", password: Redacted.make("right") })
    await right.until((status) => status.connected)
    const wrong = await bus([`nats://in-url:hidden@127.0.0.1:${server.port}`], {
      user: "u",
      password: Redacted.make("secret")
    })
    await wrong.until(({ why }) => why.includes("refuses who we are"))
    expect(`${JSON.stringify(wrong.bus.status())} ${wrong.lines.join(" ")}`).not.toMatch(/secret|hidden/)
    const other = await start({ config: 'authorization { token: "t" }' })
    const byToken = await bus([other.url], { token: Redacted.make("t") })
    await byToken.until((status) => status.connected)
  })

  it("needs no more permissions than the README says", async () => {
    const readme = await readFile(new URL("../../../src/adapters/nats/README.md", import.meta.url), "utf8")
    const deployment = newDeployment()
    const permissions = /```text\n(permissions[\s\S]*?)```/.exec(readme)![1]!.replaceAll("<d>", deployment)
    const server = await start({
      config: `authorization { users: [ { user: "u", password: "p", ${permissions.trim()} } ] }`
    })
    const connected = await open(options([server.url], deployment, { user: "u", password: Redacted.make("p") }))
    closing.push(connected)
    await connected.until((status) => status.connected)
    await works(connected.bus)
    // Enough that the server holds back until it hears how far we are.
    for (let at = 0; at < 500; at++) connected.bus.append("kv.m.w", new Uint8Array(8_192), `large ${at}`)
    const scope = Scope.makeUnsafe()
    let heard = 0
    const follower = { entry: () => void heard++, lost: () => {} }
    await run(Scope.provide(connected.bus.follow(0, follower), scope))
    await soon(() => expect(heard).toBe(501))
    await run(Scope.close(scope, Exit.void))
    // What ending it asked of the server has been answered by then.
    await run(connected.bus.position)
    expect(connected.bus.status().why).toBe("")
  })

  it("refuses at once what the account may not append", async () => {
    const deployment = newDeployment()
    const server = await start({
      config: `authorization { users: [ { user: "u", password: "p", permissions { publish { deny: "warmpath.${deployment}.kv.m.>" } } } ] }`
    })
    const connected = await open(options([server.url], deployment, { user: "u", password: Redacted.make("p") }))
    closing.push(connected)
    await connected.until((status) => status.connected)
    const append = (subject: string) =>
      new Promise((resolve) => connected.bus.append(subject, bytes("a"), subject, resolve))
    const [denied, taken] = await Promise.all([append("kv.m.w"), append("kv.other.w")])
    expect(denied).toMatchObject({ reason: "refused", detail: expect.stringContaining("Permissions Violation") })
    expect(taken).toEqual({ position: 1 })
  })

  it("without JetStream is said to be so, and left alone", async () => {
    const server = await start({ jetStream: false })
    const connected = await bus([server.url])
    const { why } = await connected.until((status) => status.connected)
    expect(why).toContain("JetStream is not enabled on the NATS server")
    expect(connected.lines.length).toBe(1)
  })

  it("that is too old is said to be so", async () => {
    const old = createServer((socket) => {
      socket.write(
        `INFO ${JSON.stringify({ server_id: "x", version: "2.8.4", proto: 1, go: "", host: "127.0.0.1", port: 1, headers: true, max_payload: 1048576, client_id: 1 })}\r\n`
      )
      socket.on("data", (data) => data.includes("PING") && socket.write("PONG\r\n"))
      socket.on("error", () => {})
    }).listen(0, "127.0.0.1")
    await once(old, "listening")
    closing.push({ close: async () => void old.close() })
    const connected = await bus([`nats://127.0.0.1:${(old.address() as { port: number }).port}`])
    const { why } = await connected.until((status) => status.connected)
    expect(why).toBe("nats-server 2.8.4 is too old: Warmpath needs 2.9 or newer")
  })

  it("that takes connections and answers nothing, as on a full disk, is away for as long, and said once", async () => {
    let connections = 0
    const hung = createServer((socket) => {
      connections++
      socket.write(
        `INFO ${JSON.stringify({ server_id: "x", version: "2.9.10", proto: 1, go: "", host: "127.0.0.1", port: 1, headers: true, max_payload: 1048576, client_id: 1 })}\r\n`
      )
      // To the first, with which a client connects, and to nothing else.
      socket.once("data", () => socket.write("PONG\r\n"))
      socket.on("error", () => {})
    }).listen(0, "127.0.0.1")
    await once(hung, "listening")
    closing.push({ close: async () => void hung.close() })
    const connected = await bus([`nats://127.0.0.1:${(hung.address() as { port: number }).port}`])
    const told: Array<boolean> = []
    connected.bus.onStatus((status) => void told.push(status.connected))
    await vi.waitFor(() => expect(connections).toBeGreaterThan(2), { timeout: 30_000 })
    expect(told).not.toContain(true)
    expect(connected.lines.length).toBe(1)
    expect(connected.bus.status().why).toContain("broke: it takes connections, and does not answer")
  })

  it("with a stream of other settings is left as it is, until someone mends it", async () => {
    const server = await start()
    const deployment = newDeployment()
    const first = await open(options([server.url], deployment))
    closing.push(first)
    await first.until((status) => status.connected)
    const log = { ageMs: 60_000, bytesMax: 1_000_000, replicas: 1, storage: "file" as const }
    const second = await open(options([server.url], deployment, { log }))
    closing.push(second)
    const { why } = await second.until((status) => status.connected)
    expect(why).toContain(`the stream WARMPATH_${deployment} is not as configured`)
    expect(why).toContain("max_age is 600000000000 and should be 60000000000")
    expect(why).toContain("nats stream edit")
    // Meanwhile it does what it can.
    await works(second.bus)
    await first.close()
    await server.wipe()
    await second.until((status) => status.connected && status.why === "")
  })

  it("with less room than asked for is said to be so", async () => {
    const server = await start({ config: "jetstream { max_file_store: 1MB }", jetStream: false })
    const connected = await bus([server.url])
    const { why } = await connected.until((status) => status.connected)
    expect(why).toMatch(/the stream WARMPATH_\w+ cannot be made or read: insufficient storage/)
  })
})
