import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Redacted } from "effect"
import { createClient } from "redis"
import { afterEach, describe, expect, it } from "vitest"
import { ask } from "../../../loadtest/servers/RedisGroups.ts"
import * as RedisServer from "../../../loadtest/servers/RedisServer.ts"
import { permissions } from "../../../src/adapters/redis/RedisStore.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import { readAll } from "../../ports/StateStoreHistory.ts"
import { extend, random } from "../../support/Chains.ts"
import { open, options, run } from "../../support/RedisRig.ts"
import { stretchOf } from "../../support/Shares.ts"
import * as TcpProxy from "../../support/TcpProxy.ts"
import { certificate, privateKey } from "../../support/TestCertificate.ts"

/** Granted word for word as the README and errors say. */
const acl = (granted: string) => [
  `user default off`,
  `user warm on >s3cret ${granted.replace(", and for doctor", "").replace("; in a cluster", "")}`
]
const password = Redacted.make("s3cret")

describe("A Redis that has to be reached in its own way", () => {
  const closing: Array<{ readonly close: () => Promise<void> }> = []
  const opened = async <A extends { readonly close: () => Promise<void> }>(one: Promise<A>): Promise<A> => {
    closing.push(await one)
    return one
  }
  const server = (given: RedisServer.Options = {}) => opened(RedisServer.start(given))
  const store = async (url: string, given: Parameters<typeof options>[1] = {}) => {
    const one = await opened(open(options(url, given)))
    expect(one.store.status()).toMatchObject({ connected: true, why: "" })
    return one.store
  }
  const refusal = (url: string, given: Parameters<typeof options>[1] = {}) =>
    open(options(url, given)).then(
      () => "opened",
      (error) => error
    )
  const caFile = async (): Promise<string> => {
    const folder = await mkdtemp(join(tmpdir(), "ca-"))
    closing.push({ close: () => rm(folder, { recursive: true }) })
    await writeFile(join(folder, "ca.pem"), certificate)
    return join(folder, "ca.pem")
  }
  afterEach(async () => {
    for (const one of closing.splice(0).reverse()) await one.close()
  })

  it("takes a user who may do what is listed, and nothing else", async () => {
    const { port } = await server({ config: acl(permissions("test")) })
    const one = await store(`redis://warm@127.0.0.1:${port}`, { password })
    const keys = extend(new Int32Array(0), 0, 40, random(1))
    await run(one.generation)
    const tenure = await run(one.enter("w"))
    await run(one.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)))
    expect(await run(one.settle("w", tenure))).toBe(true)
    expect(await run(one.lookup(keys, 40, 8))).toEqual([{ name: "w", blocks: [40, 40, 40, 40, 0] }])
    expect((await readAll(one)).length).toBeGreaterThan(0)
    for (const { value } of await run(one.findings)) expect(value).not.toMatch(/unknown/)
    expect((await run(one.findings)).find(({ what }) => what === "script")?.value).toBe("as Functions")
    await run(one.leave("w", tenure))
    expect(await run(one.names)).toEqual([])
  })

  it("works by scripts for a user who may not load Functions", async () => {
    const granted = permissions("test").replace("+fcall +function|load", "")
    const { port } = await server({ config: acl(granted) })
    const one = await store(`redis://127.0.0.1:${port}`, { user: "warm", password })
    const keys = extend(new Int32Array(0), 0, 40, random(1))
    const tenure = await run(one.enter("w"))
    await run(one.write(stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)))
    expect(await run(one.lookup(keys, 40, 8))).toEqual([{ name: "w", blocks: [40, 40, 40, 40, 0] }])
    expect((await run(one.findings)).find(({ what }) => what === "script")?.value).toMatch(/by EVALSHA, because/)
  })

  it.each(["hget", "hvals", "scan", "hincrby", "pexpire", "hgetall"])(
    "says what a user lacks: +%s",
    async (command) => {
      const { port } = await server({ config: acl(permissions("test").replace(` +${command} `, " ")) })
      expect(await refusal(`redis://warm@127.0.0.1:${port}`, { password })).toMatchObject({
        code: "ERR_REDIS_PERMISSION",
        why: expect.stringMatching(new RegExp(command, "i")),
        fix: expect.stringMatching(/^It needs: ~test:s:\* ~\{test\}:\* \+hget/)
      })
    }
  )

  it("says what a user lacks: a namespace of its own", async () => {
    const { port } = await server({ config: acl(permissions("other")) })
    expect(await refusal(`redis://warm@127.0.0.1:${port}`, { password })).toMatchObject({
      code: "ERR_REDIS_PERMISSION"
    })
  })

  it("refuses a wrong password, a missing one, and one it does not want", async () => {
    const { port } = await server({ config: ["requirepass s3cret"] })
    const url = `redis://127.0.0.1:${port}`
    const wrong = await refusal(url, { password: Redacted.make("wr0ng") })
    expect(wrong).toMatchObject({ code: "ERR_REDIS_AUTH", store: url, fix: expect.stringMatching(/storePassword/) })
    expect(JSON.stringify(wrong) + wrong).not.toMatch(/wr0ng/)
    expect(await refusal(url)).toMatchObject({ code: "ERR_REDIS_AUTH" })
    await store(url, { password })
    const { port: without } = await server()
    expect(await refusal(`redis://127.0.0.1:${without}`, { password })).toMatchObject({ code: "ERR_REDIS_AUTH" })
  })

  it("waits when its password is changed while it is connected, and says so meanwhile", async () => {
    const { port } = await server()
    const proxy = await opened(TcpProxy.open(port))
    const { until } = await opened(open(options(`redis://127.0.0.1:${proxy.port}`)))
    const admin = await createClient({ socket: { port } }).connect()
    closing.push({ close: async () => admin.destroy() })
    await admin.configSet("requirepass", "s3cret")
    // Those that are connected stay so; a new connection is refused.
    proxy.cut(true)
    proxy.cut(false)
    await until(({ connected, why }) => !connected && /refuses who we are.*storePassword/.test(why))
    await admin.configSet("requirepass", "")
    await until(({ connected }) => connected)
  })

  it("speaks TLS, checked by its authority", async () => {
    const { port } = await server({ tls: { certificate, key: privateKey } })
    const one = await store(`rediss://localhost:${port}`, { caFile: await caFile() })
    expect(await run(one.names)).toEqual([])
    expect((await run(one.findings)).find(({ what }) => what === "TLS")).toEqual({
      what: "TLS",
      value: "on",
      fix: null
    })
  })

  it("is not taken where its certificate is unknown or another's, or the file is missing", async () => {
    const { port } = await server({ tls: { certificate, key: privateKey } })
    const file = await caFile()
    for (const [host, ca] of [
      ["localhost", null],
      ["127.0.0.1", file],
      ["localhost", `${file}.missing`]
    ] as const) {
      expect(await refusal(`rediss://${host}:${port}`, { caFile: ca })).toMatchObject({
        code: "ERR_REDIS_TLS",
        fix: expect.stringMatching(/storeTlsCa/)
      })
    }
  })

  it("says when one side speaks TLS and the other does not", async () => {
    const { port: secure } = await server({ tls: { certificate, key: privateKey } })
    const { port: plain } = await server()
    expect(await refusal(`redis://localhost:${secure}`)).toMatchObject({
      ...{ code: "ERR_REDIS_TLS", why: "it speaks TLS only" }
    })
    expect(await refusal(`rediss://localhost:${plain}`)).toMatchObject({
      ...{ code: "ERR_REDIS_TLS", why: "it does not speak TLS" }
    })
  })

  it("says when it is another kind of server, or has no such database", async () => {
    const { port } = await server()
    const sentinel = await server({ isSentinel: true })
    expect(await refusal(`redis-cluster://127.0.0.1:${port}`)).toMatchObject({ code: "ERR_REDIS_MODE" })
    expect(await refusal(`redis-sentinel://127.0.0.1:${port}/main`)).toMatchObject({ code: "ERR_REDIS_MODE" })
    expect(await refusal(`redis://127.0.0.1:${sentinel.port}`)).toMatchObject({ code: "ERR_REDIS_MODE" })
    expect(await refusal(`redis-sentinel://127.0.0.1:${sentinel.port}/main`)).toMatchObject({
      code: "ERR_REDIS_PRIMARY"
    })
    expect(await refusal(`redis://127.0.0.1:${port}/99`)).toMatchObject({ code: "ERR_REDIS_DATABASE" })
    await store(`redis://127.0.0.1:${port}/3`)
  })

  it("is not touched where another release keeps its data", async () => {
    const { port } = await server()
    await ask(port, "HSET", "{test}:meta", "generation", "0", "layout", "2")
    expect(await refusal(`redis://127.0.0.1:${port}`)).toMatchObject({ code: "ERR_REDIS_LAYOUT" })
    await store(`redis://127.0.0.1:${port}`, { namespace: "mine" })
  })

  it("is of no use with an address or a namespace that is none", async () => {
    expect(await refusal("redis://a,b")).toMatchObject({ code: "ERR_REDIS_URL" })
    expect(await refusal("redis://a", { namespace: "{a}" })).toMatchObject({ code: "ERR_REDIS_URL" })
    expect(await refusal("redis://me:s3cret@a")).toMatchObject({ store: "redis://me@a" })
  })
})
