import { afterEach, describe, expect, it } from "vitest"
import type { SimEngine } from "../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as Chats from "./support/Chats.ts"
import * as EngineProxy from "./support/EngineProxy.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as TrueKeys from "./support/TrueKeys.ts"

const soon = { timeout: 10_000, interval: 20 }

describe("the data-parallel ranks of a worker", () => {
  let stop: Array<() => Promise<void>> = []
  afterEach(async () => {
    for (const close of stop.reverse()) await close()
    stop = []
  })

  const engine = async (options: Partial<SimOptions>): Promise<SimEngine> => {
    const fleet = await SimFleet.start({ speed: 40, ...options })
    stop.push(fleet.close)
    return fleet.engines[0]!
  }

  const route = async (
    engines: ReadonlyArray<{ readonly url: string }>,
    knobs: Readonly<Record<string, unknown>> = {}
  ) => {
    const router = await TestRouter.start({
      workers: engines.map(({ url }) => url).join(","),
      hashSeed: 0,
      replayCheckMs: 200,
      probeIntervalMs: 50,
      ...knobs
    })
    stop.push(router.close)
    return router
  }

  const ranksOf = (engine: SimEngine) => Array.from({ length: engine.options.ranks }, (_, rank) => rank)

  /** What the index holds for each rank, and what each rank's cache does. */
  const views = (router: TestRouter.TestRouter, engine: SimEngine) =>
    Promise.all(
      ranksOf(engine).map(async (rank) =>
        [...(await router.blocks(TestRouter.idOf(engine.url), `?rank=${rank}`))].sort()
      )
    )
  const truths = (engine: SimEngine) => ranksOf(engine).map((rank) => TrueKeys.within(engine, rank, "device"))

  it.each([
    ["vLLM", { ranks: 3 }],
    ["SGLang", { dialect: "sglang", ranks: 2 }]
  ] as ReadonlyArray<[string, Partial<SimOptions>]>)(
    "are told apart and named in each request, keep their conversations, and share the work: %s",
    async (_, options) => {
      const worker = await engine(options)
      const router = await route([worker])
      const ranks = ranksOf(worker)
      const talks = Array.from({ length: 12 }, (_, i) => Chats.conversation(() => router.url, `Street ${i}`))
      /** Requests, by rank. */
      const received = () => ranks.map((rank) => worker.state(rank).received)
      const homes: Array<number> = []
      for (const { turn } of talks) {
        const before = received()
        // SGLang leaves a zero out.
        expect((await turn()).cachedTokens ?? 0).toBe(0)
        homes.push(received().findIndex((count, rank) => count > before[rank]!))
      }
      expect(new Set(homes)).toEqual(new Set(ranks))
      let cached = talks.map(() => 0)
      for (let round = 0; round < 3; round++) {
        const turns = []
        for (const [i, { turn }] of talks.entries()) {
          const before = received()
          turns.push(await turn())
          expect(received().findIndex((count, rank) => count > before[rank]!)).toBe(homes[i])
        }
        const found = turns.map(({ cachedTokens }) => cachedTokens!)
        expect(found.every((tokens, i) => tokens > cached[i]!)).toBe(true)
        cached = found
      }
      for (const rank of ranks) expect(worker.state(rank).rankNamed).toBe(worker.state(rank).received)
      await expect.poll(() => views(router, worker), soon).toEqual(truths(worker))
      const { ranks: shown } = await router.worker(TestRouter.idOf(worker.url))
      expect(shown.map(({ rank }) => rank)).toEqual(ranks)
      expect(new Set(shown.map(({ slot }) => slot)).size).toBe(ranks.length)
      for (const [rank, { blocks, credit, error, trust }] of shown.entries()) {
        expect([trust, credit]).toEqual(["exact", 1])
        expect(error.samples).toBeGreaterThan(0)
        expect(error).toMatchObject({ overTokens: 0, deliveredShare: 1 })
        expect(blocks["device"]).toBe(worker.cache(rank).length)
      }
      const metrics = await (await fetch(`${router.adminUrl}/metrics`)).text()
      for (const rank of ranks) {
        expect(metrics).toContain(
          `warmpath_worker_trust{worker="${TestRouter.idOf(worker.url)}",rank="${rank}",trust="exact"} 1`
        )
      }
    }
  )

  it("are used at once when requests come at once", async () => {
    const worker = await engine({ ranks: 3, speed: 4 })
    const router = await route([worker])
    await Promise.all(
      Array.from({ length: 9 }, (_, i) => Chats.conversation(() => router.url, `Gate ${i}`).turn({ max_tokens: 20 }))
    )
    for (const rank of ranksOf(worker)) expect(worker.state(rank).received).toBeGreaterThanOrEqual(2)
  })

  it("stand beside a worker without ranks, whose clients may name a rank themselves", async () => {
    const [ranked, single] = [await engine({ ranks: 2 }), await engine({})]
    const proxies = [await EngineProxy.start(ranked.url), await EngineProxy.start(single.url)]
    for (const { close } of proxies) stop.push(close)
    const router = await route(proxies, { policy: "round-robin" })
    expect((await router.workers()).map(({ ranks }) => ranks.map(({ rank }) => rank))).toEqual([[0, 1], [null]])
    for (let i = 0; i < 9; i++) {
      await Chats.ask(
        router.url,
        { messages: [{ role: "user", content: `${i}: ${"a sign on the road, ".repeat(20)}` }] },
        { "x-data-parallel-rank": "any" }
      )
    }
    // What is no number vLLM does not mind. Only where a rank was chosen is it replaced.
    const named = proxies.map(({ asked }) => asked.map(({ headers }) => headers["x-data-parallel-rank"]))
    expect(named[0]!.sort()).toEqual(["0", "0", "0", "1", "1", "1"])
    expect(named[1]).toEqual(["any", "any", "any"])
    for (const each of [ranked, single]) {
      const id = TestRouter.idOf(proxies[each === ranked ? 0 : 1]!.url)
      const view = () =>
        Promise.all(
          ranksOf(each).map(async (rank) =>
            [...(await router.blocks(id, each === ranked ? `?rank=${rank}` : ""))].sort()
          )
        )
      await expect.poll(view, soon).toEqual(truths(each))
    }
  })

  it("are followed when a restart brings more of them, or fewer, or leaves one", async () => {
    let current = await engine({ ranks: 2 })
    const port = Number(new URL(current.url).port)
    const router = await route([current], { breakerOpenMsMin: 50, joinRetryMsMin: 50, discoverIntervalMs: 200 })
    const id = TestRouter.idOf(current.url)
    const talk = async (count: number) => {
      for (let i = 0; i < count; i++) await Chats.conversation(() => router.url, `Door ${i}`).turn()
    }
    await talk(6)
    for (const ranks of [3, 1, 2]) {
      await stop.splice(0, 1)[0]!()
      const next = await SimFleet.start({ speed: 40, ranks, port })
      stop.unshift(next.close)
      current = next.engines[0]!
      await expect
        .poll(async () => (await router.worker(id)).ranks.map(({ rank }) => rank), soon)
        .toEqual(ranks === 1 ? [null] : ranksOf(current))
      await expect.poll(async () => (await router.worker(id)).state, soon).toBe("ready")
      await talk(2 * ranks + 2)
      expect(ranksOf(current).every((rank) => current.state(rank).received > 0)).toBe(true)
      const view = () =>
        Promise.all(
          ranksOf(current).map(async (rank) =>
            [...(await router.blocks(id, ranks === 1 ? "" : `?rank=${rank}`))].sort()
          )
        )
      await expect.poll(view, soon).toEqual(truths(current))
      expect((await router.worker(id)).ranks.map(({ trust }) => trust)).toEqual(ranksOf(current).map(() => "exact"))
    }
  })
})
