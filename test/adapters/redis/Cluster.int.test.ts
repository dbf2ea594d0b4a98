import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ask, type RedisCluster, startCluster } from "../../../loadtest/servers/RedisGroups.ts"
import { DEVICE } from "../../../src/domain/Tier.ts"
import type { Interface } from "../../../src/ports/StateStore.ts"
import { stateStoreConformance } from "../../ports/StateStoreConformance.ts"
import { readAll } from "../../ports/StateStoreHistory.ts"
import { extend, random } from "../../support/Chains.ts"
import { newNamespace, type Opened, open, options, outcome, paces as rigPaces, run } from "../../support/RedisRig.ts"
import { type Holding, lines, stretchOf } from "../../support/Shares.ts"

let cluster: RedisCluster
const url = () => `redis-cluster://${cluster.primaries.map(({ port }) => `127.0.0.1:${port}`).join(",")}`
const flush = () => Promise.all(cluster.primaries.map(({ port }) => ask(port, "FLUSHALL")))

beforeAll(async () => {
  cluster = await startCluster(true)
})
afterAll(() => cluster?.close())

stateStoreConformance(
  "RedisStore on a cluster",
  async () => {
    const namespace = newNamespace()
    const opened: Array<Opened> = []
    return {
      client: async () => {
        const one = await open(options(url(), { namespace }))
        opened.push(one)
        await one.until(({ connected }) => connected)
        return one.store
      },
      // Its servers say where they are, behind any proxy's back.
      cut: null,
      wipe: async () => void (await flush()),
      close: async () => {
        for (const one of opened) await one.close()
      }
    }
  },
  { steps: 150, requests: 400, shares: 600 }
)

describe("RedisStore on a cluster", () => {
  const chains = Array.from({ length: 60 }, (_, i) => extend(new Int32Array(0), 0, 40, random(i + 1)))
  const holding = (tenure: number): Holding => ({ tenure, layer: DEVICE, stride: 8 })
  const stored = async (store: Interface) => {
    const tenure = await run(store.enter("w"))
    await run(store.settle("w", tenure))
    await run(store.write(chains.flatMap((keys) => stretchOf(holding(tenure), keys, true))))
    return tenure
  }
  const reach = (store: Interface) =>
    run(Effect.forEach(chains, (keys) => store.lookup(keys, 40, 8))).then((all) =>
      all.map((found) => found[0]?.blocks[0])
    )

  it("spreads the pieces of one chain over its servers", async () => {
    const one = await open(options(url(), { namespace: newNamespace() }))
    await stored(one.store)
    const counts = await Promise.all(cluster.primaries.map(({ port }) => ask(port, "DBSIZE")))
    for (const count of counts) expect(Number(count)).toBeGreaterThan(50)
    expect(new Set(await reach(one.store))).toEqual(new Set([40]))
    expect(lines(await readAll(one.store))).toHaveLength(chains.length * 40)
    await one.close()
    await flush()
  })

  it("goes on where slots are moved to while it is connected", async () => {
    const one = await open(options(url(), { namespace: newNamespace() }))
    const tenure = await stored(one.store)
    const before = await reach(one.store)
    await flush()
    await cluster.moveSlots(
      2,
      1,
      Array.from({ length: 300 }, (_, i) => 16_000 + i)
    )
    expect(await outcome(one.store.write([]))).toBe("refused")
    expect(new Set(await reach(one.store))).toEqual(new Set([undefined]))
    await run(one.store.generation)
    expect(await stored(one.store)).not.toBe(tenure)
    expect(await reach(one.store)).toEqual(before)
    expect(one.lines.filter((line) => line.includes("away"))).toEqual([])
    await one.close()
  })

  it("reaches it through any server that is named, and says when that is none of a cluster", async () => {
    const one = await open(options(`redis-cluster://127.0.0.1:1,127.0.0.1:${cluster.primaries[2]!.port}`))
    expect(one.store.status()).toMatchObject({ connected: true, why: "" })
    await one.close()
    const wrong = open(options(`redis://127.0.0.1:${cluster.primaries[0]!.port}`))
    await expect(wrong).rejects.toMatchObject({ code: "ERR_REDIS_MODE", why: "it is a cluster server" })
  })

  it("waits for a server of it that freezes, with calls that end in their time", async () => {
    const paces = { ...rigPaces, connectMs: 1_000 }
    const one = await open(options(url(), { namespace: newNamespace(), lookupMs: 100, deadlineMs: 2_000, paces }))
    await stored(one.store)
    const before = await outcome(Effect.forEach(chains, (keys) => one.store.lookup(keys, 40, 8)))
    expect(before).toBe("done")
    await cluster.primaries[1]!.pause()
    expect(await outcome(Effect.forEach(chains, (keys) => one.store.lookup(keys, 40, 8)))).toMatch(/late|away/)
    await one.until(({ connected }) => !connected)
    cluster.primaries[1]!.resume()
    await one.until(({ connected }) => connected)
    await expect
      .poll(() => outcome(Effect.forEach(chains, (keys) => one.store.lookup(keys, 40, 8))), { timeout: 20_000 })
      .toBe("done")
    await one.close()
  })

  it("goes on with the replica of a primary that died, with what it had", async () => {
    const one = await open(options(url(), { namespace: newNamespace() }))
    await stored(one.store)
    const before = await reach(one.store)
    // What is written is on its replica a moment later.
    const [first] = cluster.primaries
    await expect
      .poll(async () => String(await ask(first!.port, "DBSIZE")) === String(await ask(cluster.replica!.port, "DBSIZE")))
      .toBe(true)
    await first!.kill()
    await one.until(({ connected }) => !connected)
    expect(await outcome(one.store.lookup(chains[0]!, 40, 8))).toBe("away")
    await one.until(({ connected }) => connected)
    expect(await reach(one.store)).toEqual(before)
    await one.close()
  })
})
