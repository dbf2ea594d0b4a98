import { Redacted } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as NatsServer from "../loadtest/servers/NatsServer.ts"
import * as Findings from "../src/adapters/nats/Findings.ts"
import * as NatsRig from "./support/NatsRig.ts"
import { warmpath } from "./support/Processes.ts"

describe("doctor, of NATS", () => {
  const servers: Array<NatsServer.NatsServer> = []
  const start = async (options: NatsServer.Options = {}) => {
    const server = await NatsServer.start(options)
    servers.push(server)
    return server
  }
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.close()))
  })
  const codes = (findings: ReadonlyArray<Findings.NatsFinding>) =>
    findings.flatMap(({ code }) => (code === null ? [] : [code]))
  const all = (url: string, given: Parameters<typeof NatsRig.options>[2] = {}, deployment = NatsRig.newDeployment()) =>
    Findings.all(NatsRig.options([url], deployment, given))

  it("measures the way there, and makes nothing", async () => {
    const { url } = await start()
    const deployment = NatsRig.newDeployment()
    const first = await all(url, {}, deployment)
    expect(codes(first)).toEqual([])
    const values = new Map(first.map(({ value, what }) => [what, value]))
    expect(values.get("nats")).toMatch(/^nats-server 2\./)
    expect(values.get("round trip")).toMatch(/^p50 [\d.]+ ms$/)
    expect(values.get("rights")).toBe("publishes, and hears itself")
    const missing = new RegExp(`^WARMPATH_${deployment}, .*_fleet made by the first router$`)
    expect(values.get("stream and buckets")).toMatch(missing)
    expect((await all(url, {}, deployment)).at(-1)!.value).toMatch(missing)
  })

  it("finds the stream of a router well, and one with other settings not", async () => {
    const { url } = await start()
    const deployment = NatsRig.newDeployment()
    const router = await NatsRig.open(NatsRig.options([url], deployment))
    await router.until(({ connected, why }) => connected && why === "")
    expect((await all(url, {}, deployment)).at(-1)).toMatchObject({ code: null, value: "as configured" })
    const log = { ageMs: 600_000, bytesMax: 1024 * 1024, replicas: 1, storage: "file" } as const
    const other = await all(url, { log }, deployment)
    await router.close()
    expect(codes(other)).toEqual(["nats-layout"])
    expect(other.at(-1)!.value).toMatch(/max_bytes is 67108864 and should be 1048576/)
  })

  it("names a server without JetStream", async () => {
    const { url } = await start({ jetStream: false })
    expect(codes(await all(url))).toEqual(["nats-jetstream"])
  })

  it("names a user without rights to the deployment's subjects", async () => {
    const permissions = '{ publish: ["$JS.API.>", "_INBOX.>"], subscribe: ["_INBOX.>"] }'
    const users = `authorization { users: [{ user: "poor", password: "p", permissions: ${permissions} }] }`
    const { url } = await start({ config: users })
    const found = await all(url, { user: "poor", password: Redacted.make("p") })
    expect(codes(found)).toEqual(["nats-rights"])
  })

  it("is part of the command, with a name for what is wrong", async () => {
    const { url } = await start({ jetStream: false })
    const doctor = warmpath(["doctor", "--store", "none", "--nats", url])
    const code = await doctor.ended
    expect(doctor.errors()).toBe("")
    expect(doctor.standard()).toMatch(
      /^nats\nok .*nats-server 2\.[\s\S]*fix .*stream and buckets .*\[nats-jetstream\]/m
    )
    expect(code).toBe(1)
    const away = warmpath(["doctor", "--store", "none", "--nats", "nats://127.0.0.1:1", "--json"])
    expect(await away.ended).toBe(1)
    expect(JSON.parse(away.standard())).toMatchObject([{ worker: "nats", code: "nats-away" }, { what: "store" }])
  })
})
