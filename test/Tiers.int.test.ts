import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as Chats from "./support/Chats.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as TrueKeys from "./support/TrueKeys.ts"

describe("a conversation that its worker's device has evicted", () => {
  let stop: Array<() => Promise<void>> = []
  afterEach(async () => {
    for (const close of stop.reverse()) await close()
    stop = []
  })

  it.each([
    ["host, of which vLLM tells by hash alone", { hostBlocks: 300 }],
    ["host, of which vLLM tells all", { hostBlocks: 300, offloadEvents: "described" }],
    ["host and disk of vLLM", { hostBlocks: 60, diskBlocks: 300 }],
    ["host of SGLang", { dialect: "sglang", hostBlocks: 300 }],
    ["a store beside SGLang", { dialect: "sglang", externalBlocks: 300 }]
  ] as ReadonlyArray<[string, Partial<SimOptions>]>)(
    "goes on there rather than at an idle one, and finds what was predicted: %s",
    async (_, tiers) => {
      const options = { speed: 20, blocks: 110, maxModelLen: 1_200, ...tiers }
      const [warm, cold] = [await SimFleet.start(options), await SimFleet.start({ ...options, seed: 2 })]
      stop.push(warm.close, cold.close)
      const engine = warm.engines[0]!
      const id = TestRouter.idOf(engine.url)
      const router = await TestRouter.start({ workers: engine.url, hashSeed: 0 })
      stop.push(router.close)
      const talks = Array.from({ length: 6 }, (_, i) => Chats.conversation(() => router.url, `Room ${i}`))
      for (const { turn } of talks) await turn()
      const counts = async () => {
        const { device, disk, external, host } = (await router.worker(id)).ranks[0]!.blocks
        return { device, host, disk, external }
      }
      const total = async (name: string) =>
        Number(new RegExp(`^${name} (\\d+)$`, "m").exec(await (await fetch(`${router.adminUrl}/metrics`)).text())![1])
      // Each block once, where it is nearest.
      const truth = () => {
        const count = { device: 0, host: 0, disk: 0, external: 0 }
        for (const { tiers } of engine.truth(0)) {
          const nearest = (["device", "host", "disk", "external"] as const).find((tier) => tiers[tier] > 0)
          if (nearest !== undefined) count[nearest]++
        }
        return count
      }
      await expect.poll(counts).toEqual(truth())
      for (const tier of ["device", "host", "disk"] as const) {
        expect([...(await router.blocks(id, `?tier=${tier}`))].sort()).toEqual(TrueKeys.within(engine, 0, tier))
      }
      expect(truth().device).toBeLessThan(111)
      expect(truth().host + truth().disk + truth().external).toBeGreaterThan(50)
      await fetch(`${router.adminUrl}/admin/workers`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ url: cold.urls[0] })
      })
      await expect.poll(async () => (await router.worker(TestRouter.idOf(cold.urls[0]!))).state).toBe("ready")
      const loadedBefore = engine.state().loadedTokens
      for (const { turn } of talks) {
        const predicted = await total("warmpath_predicted_for_delivered_tokens_total")
        const { cachedTokens, promptTokens, worker } = await turn()
        expect(worker).toBe(id)
        expect(cachedTokens).toBeGreaterThan(0.6 * promptTokens)
        expect((await total("warmpath_predicted_for_delivered_tokens_total")) - predicted).toBe(cachedTokens)
      }
      expect(engine.state().loadedTokens - loadedBefore).toBeGreaterThan(50 * 16)
      expect(cold.engines[0]!.state().received).toBe(0)
      expect((await router.worker(id)).ranks[0]).toMatchObject({ trust: "exact", credit: 1, error: { overTokens: 0 } })
    }
  )
})
