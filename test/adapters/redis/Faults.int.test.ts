import { Effect, Redacted } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import { ask, startSentinel } from "../../../loadtest/servers/RedisGroups.ts"
import * as RedisServer from "../../../loadtest/servers/RedisServer.ts"
import { freePort } from "../../../loadtest/servers/ServerProcess.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import type { Interface } from "../../../src/ports/StateStore.ts"
import { readAll } from "../../ports/StateStoreHistory.ts"
import { extend, random } from "../../support/Chains.ts"
import { open, options, outcome, run } from "../../support/RedisRig.ts"
import { stretchOf } from "../../support/Shares.ts"

const keys = extend(new Int32Array(0), 0, 40, random(1))
const held = (tenure: number) => stretchOf({ tenure, layer: DEVICE, stride: 8 }, keys, true)
/** A worker that holds all of it. */
const worker = async (store: Interface, name = "w"): Promise<number> => {
  const tenure = await run(store.enter(name))
  await run(store.settle(name, tenure))
  await run(store.write(held(tenure)))
  return tenure
}
const depth = async (store: Interface) => (await run(store.lookup(keys, 40, 8)))[0]?.blocks[DEVICE]

describe("A Redis that fails", () => {
  const closing: Array<{ readonly close: () => Promise<void> }> = []
  const opened = async <A extends { readonly close: () => Promise<void> }>(one: Promise<A>): Promise<A> => {
    closing.push(await one)
    return one
  }
  const server = (given: RedisServer.Options = {}) => opened(RedisServer.start(given))
  const client = async (port: number, given: Parameters<typeof options>[1] = {}) => {
    const one = await opened(open(options(`redis://127.0.0.1:${port}`, given)))
    await one.until(({ connected }) => connected)
    return one
  }
  afterEach(async () => {
    for (const one of closing.splice(0).reverse()) await one.close()
  })

  it("that answers a greeting only when the store is closed does not keep it from closing", async () => {
    const { pause, port, resume } = await server({ config: ["requirepass secret"] })
    const store = await open(options(`redis://127.0.0.1:${port}`, { password: Redacted.make("secret") }))
    await store.until(({ connected }) => connected)
    await pause()
    await store.until(({ connected }) => !connected)
    // It has been connected to again, and has not said whether the password will do.
    await new Promise((resolve) => setTimeout(resolve, 300))
    const closed = store.close()
    await new Promise((resolve) => setTimeout(resolve, 50))
    resume()
    await closed
  })

  it("is away from the start: the store opens all the same, and is there when Redis is", async () => {
    const port = await freePort()
    const { lines, store, until } = await opened(open(options(`redis://127.0.0.1:${port}`)))
    expect(store.status()).toMatchObject({ connected: false, server: null })
    expect(store.status().why).toMatch(/ECONNREFUSED/)
    expect(await outcome(store.names)).toBe("away")
    await server({ port })
    const { server: name } = await until(({ connected }) => connected)
    expect(name).toMatch(/^redis \d+\.\d+\.\d+$/)
    await worker(store)
    expect(await depth(store)).toBe(40)
    expect(lines.at(-1)).toBe(`Store: connected to ${name} at redis://127.0.0.1:${port}`)
  })

  it("is killed and comes back without its data: what is known of it is refused until its life is asked for", async () => {
    const redis = await server()
    const { store, until } = await client(redis.port)
    const before = await run(store.generation)
    const tenure = await worker(store)
    await redis.kill()
    await until(({ connected }) => !connected)
    expect(await outcome(store.write(held(tenure)))).toBe("away")
    await redis.start()
    await until(({ connected }) => connected)
    for (const call of [store.write(held(tenure)), store.write([]), store.enter("w"), store.settle("w", tenure)]) {
      expect(await outcome(call)).toBe("refused")
    }
    expect(await run(store.generation)).not.toBe(before)
    expect(await readAll(store)).toEqual([])
    expect(await run(store.names)).toEqual([])
    await worker(store)
    expect(await depth(store)).toBe(40)
  })

  it("comes back with its data: it is served, another life begins, and no number is given out twice", async () => {
    const redis = await server({ config: ["appendonly yes", "appendfsync always"] })
    const { store, until } = await client(redis.port)
    const before = await run(store.generation)
    const tenure = await worker(store)
    await redis.kill()
    await until(({ connected }) => !connected)
    await redis.start()
    await until(({ connected }) => connected)
    expect(await depth(store)).toBe(40)
    // The last it was told may be lost, a tenure that it gave out among it.
    expect(await outcome(store.write(held(tenure)))).toBe("refused")
    expect(await run(store.generation)).not.toBe(before)
    expect(await run(store.enter("v"))).toBeGreaterThan(tenure + 1_000)
    expect(await run(store.settle("w", tenure))).toBe(true)
  })

  it("is emptied under its clients", async () => {
    const redis = await server()
    const { store } = await client(redis.port)
    const tenure = await worker(store)
    await ask(redis.port, "FLUSHALL")
    expect(await outcome(store.write(held(tenure)))).toBe("refused")
    expect(await outcome(store.leave("w", tenure))).toBe("refused")
    await run(store.generation)
    expect(await depth(store)).toBe(undefined)
    await worker(store)
    expect(await depth(store)).toBe(40)
  })

  it("freezes: calls end in their time, those after that at once, and all is well when it goes on", async () => {
    const redis = await server()
    const { store, until } = await client(redis.port, { deadlineMs: 200, lookupMs: 20 })
    const tenure = await worker(store)
    await redis.pause()
    expect(await outcome(store.lookup(keys, 40, 8))).toBe("late")
    expect(await outcome(store.write(held(tenure)))).toBe("late")
    expect((await until(({ connected }) => !connected)).why).toMatch(/did not answer/)
    expect(await outcome(store.lookup(keys, 40, 8))).toBe("away")
    redis.resume()
    await until(({ connected }) => connected)
    await run(store.write(held(tenure)))
    await expect.poll(() => outcome(store.lookup(keys, 40, 8))).toBe("done")
    expect(await depth(store)).toBe(40)
  })

  it("is full: it refuses, and says what to do", async () => {
    const redis = await server()
    const { store } = await client(redis.port)
    const tenure = await worker(store)
    await ask(redis.port, "CONFIG", "SET", "maxmemory", "1")
    const error = await run(Effect.flip(store.write(held(tenure))))
    expect(error).toMatchObject({ reason: "refused", detail: expect.stringMatching(/volatile-lru/) })
    const findings = await run(store.findings)
    expect(findings.find(({ what }) => what === "memory")).toMatchObject({
      fix: expect.stringMatching(/Raise maxmemory/)
    })
    await ask(redis.port, "CONFIG", "SET", "maxmemory", "0")
    await run(store.write(held(tenure)))
  })

  it("forgets the script, and is told it again", async () => {
    const redis = await server()
    const { store } = await client(redis.port)
    const tenure = await worker(store)
    await ask(redis.port, "FUNCTION", "FLUSH")
    await run(store.write(held(tenure)))
    await ask(redis.port, "FUNCTION", "FLUSH")
    expect(await run(store.settle("w", tenure))).toBe(true)
  })

  it("drops names that did not enter for as long as pieces are kept", async () => {
    const redis = await server()
    const { store } = await client(redis.port, { ttlMs: 1_000 })
    await run(store.enter("gone"))
    await expect
      .poll(
        async () => {
          await run(store.enter("here"))
          return (await run(store.names)).map(({ name }) => name)
        },
        { timeout: 10_000, interval: 300 }
      )
      .toEqual(["here"])
  })

  it("loses its primary to a sentinel's choice: the store goes on there, as another life", async () => {
    const group = await opened(startSentinel())
    const url = `redis-sentinel://127.0.0.1:1,127.0.0.1:${group.sentinel.port}/main`
    const { store, until } = await opened(open(options(url)))
    await until(({ connected }) => connected)
    const before = await run(store.generation)
    await worker(store)
    await expect.poll(() => ask(group.replica.port, "DBSIZE")).toBe(await ask(group.primary.port, "DBSIZE"))
    await group.primary.kill()
    await until(({ connected }) => !connected)
    expect(await outcome(store.lookup(keys, 40, 8))).toBe("away")
    await until(({ connected }) => connected)
    expect(await group.primaryPort()).toBe(group.replica.port)
    expect(await depth(store)).toBe(40)
    expect(await outcome(store.enter("w"))).toBe("refused")
    expect(await run(store.generation)).not.toBe(before)
    await worker(store)
    expect(await depth(store)).toBe(40)
  })

  it("is behind a sentinel that knows no passwords, and wants one", async () => {
    const group = await opened(startSentinel("s3cret"))
    const url = `redis-sentinel://127.0.0.1:${group.sentinel.port}/main`
    const { store } = await opened(open(options(url, { password: Redacted.make("s3cret") })))
    await worker(store)
    expect(await depth(store)).toBe(40)
    await expect(open(options(url, { password: Redacted.make("wr0ng") }))).rejects.toMatchObject({
      code: "ERR_REDIS_AUTH"
    })
    await expect(open(options(url.replace("main", "other")))).rejects.toMatchObject({
      ...{ code: "ERR_REDIS_PRIMARY", why: expect.stringMatching(/watches no primary named "other"/) }
    })
  })

  it("becomes a replica under its clients: nothing is taken for written", async () => {
    const [other, redis] = [await server(), await server()]
    const { store, until } = await client(redis.port)
    const tenure = await worker(store)
    await ask(redis.port, "REPLICAOF", "127.0.0.1", String(other.port))
    expect(await outcome(store.write(held(tenure)))).toBe("away")
    await until(({ connected, why }) => !connected && /name the primary/.test(why))
    await ask(redis.port, "REPLICAOF", "NO", "ONE")
    await until(({ connected }) => connected)
  })
})
