import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as BlockHash from "../src/hot/BlockHash.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as VllmPublisher from "./support/VllmPublisher.ts"
import * as VllmServer from "./support/VllmServer.ts"
import * as ZmqPublisher from "./support/ZmqPublisher.ts"

const model = "Qwen/Qwen3-8B"
const soon = { timeout: 10_000, interval: 10 }
/** Seconds of the router pass in so many ms. */
const fast = 20

let stop: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of stop.reverse()) await close()
  stop = []
})

/** A router before one engine that publishes, and whose answers say whatever a test wants. */
const setUp = async (tokenizes = true, toldBlockSize = VllmPublisher.blockSize) => {
  const hasher = BlockHash.make(0n)
  const wire = await ZmqPublisher.open("with topic")
  const engine = VllmPublisher.make(hasher, model, "map")
  const server = await VllmServer.make()
  const { endpoint, replayEndpoint } = wire
  const source = { publisher: "zmq", endpoint, replay_endpoint: replayEndpoint, topic: "kv-events" }
  server.scripts["GET /kv_event_sources"] = () => ({ body: JSON.stringify({ 0: source }) })
  server.scripts["GET /metrics"] = () => ({
    body: `vllm:cache_config_info{block_size="${toldBlockSize}",num_gpu_blocks="4000"} 1\nprocess_start_time_seconds 1790000000\n`
  })
  if (!tokenizes) server.scripts["POST /tokenize"] = () => ({ status: 404, body: "{}" })
  stop.push(server.close, async () => wire.close())
  for (let i = 1; i <= 2; i++) await wire.publish(engine.store([1, 2].slice(0, i)))
  const router = await TestRouter.start(
    { workers: server.url, hashSeed: 0, discoverIntervalMs: 1_000, probeIntervalMs: 500 },
    TestRouter.fastClock(fast)
  )
  stop.push(router.close)
  const rank = async () => (await router.worker(TestRouter.idOf(server.url))).ranks[0]!
  await expect.poll(async () => (await rank()).trust, soon).toBe("exact")
  const ask = async (prompt: unknown, promptTokens: number, cachedTokens: number | null) => {
    server.scripts["POST /v1/completions"] = () => ({
      body: JSON.stringify({
        choices: [{ index: 0, text: "x", finish_reason: "length" }],
        usage: {
          prompt_tokens: promptTokens,
          completion_tokens: 1,
          prompt_tokens_details: cachedTokens === null ? null : { cached_tokens: cachedTokens }
        }
      })
    })
    const response = await fetch(`${router.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model, prompt, max_tokens: 1 })
    })
    expect(response.status, await response.text()).toBe(200)
  }
  return { ask, engine, rank, router, server, wire }
}

const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms / fast))

describe("what an engine reports", () => {
  it("makes no publisher silent where a hundred prompts were all shorter than a block", async () => {
    const { ask, rank } = await setUp()
    await ask([1, 2, 3, 4, 5, 6], 6, 4)
    const short = Array.from({ length: 100 }, (_, i) => [i, 2, 3])
    await ask(short, 300, 0)
    await pass(30_000)
    expect(await rank()).toMatchObject({ trust: "exact", why: "" })
    // One that is long enough for all of them is missed.
    await ask(
      Array.from({ length: 40 }, (_, i) => i),
      40,
      0
    )
    await expect.poll(async () => (await rank()).why, soon).toBe("silent though its worker works")
  })

  it("need not say what was cached for a silent publisher to be noticed, where all it held was known", async () => {
    const { ask, rank } = await setUp()
    for (let i = 0; i < 5; i++) await ask([100, 101, 102, 103, 200, 201, 202, 203, 9], 9, null)
    await pass(30_000)
    expect(await rank()).toMatchObject({ trust: "exact", why: "" })
    await ask(
      Array.from({ length: 40 }, (_, i) => i),
      40,
      null
    )
    await expect.poll(async () => (await rank()).why, soon).toBe("silent though its worker works")
  })

  it("is no report while it is always 0, though events tell of a cache", async () => {
    const { ask, rank } = await setUp()
    const cached = [100, 101, 102, 103, 200, 201, 202, 203, 9]
    for (let i = 0; i < 20; i++) await ask(cached, 9, 0)
    await pass(80_000)
    expect(await rank()).toMatchObject({ trust: "exact", why: "", credit: 1 })
    await ask(cached, 9, 8)
    for (let i = 0; i < 10; i++) await ask(cached, 9, 0)
    expect((await rank()).credit).toBeLessThan(0.5)
  })
})

describe("what is guessed of a worker whose prompts are texts", () => {
  it("outlives a gap in its events, which do not tell of it, and ends with its life", async () => {
    const { ask, engine, rank, wire } = await setUp(false)
    const blocks = async () => (await rank()).guesses?.blocks ?? 0
    await ask("x".repeat(400), 100, 0)
    const guessed = await blocks()
    expect(guessed).toBeGreaterThan(20)
    await wire.publish(engine.store([5]), true)
    await wire.publish(engine.store([6]))
    await expect.poll(async () => (await rank()).events, soon).toMatchObject({ gaps: 1, health: "whole", lastSeq: 3 })
    expect(await blocks()).toBe(guessed)
    engine.restart()
    await wire.raw(["kv-events", ZmqPublisher.seqFrame(0), engine.store([7])])
    await expect.poll(blocks, soon).toBe(0)
  })
})

describe("what a worker says of itself", () => {
  it("is not known exactly by the events of one rank, where there is no room to tell its ranks apart", async () => {
    const fleet = await SimFleet.start({ engines: 1, ranks: 2, speed: 40 })
    stop.push(fleet.close)
    const router = await TestRouter.start({ workers: fleet.urls.join(","), workersMax: 1 })
    stop.push(router.close)
    const { ranks } = await router.worker(TestRouter.idOf(fleet.urls[0]!))
    expect(ranks).toHaveLength(1)
    expect(ranks[0]).toMatchObject({
      trust: "approximate",
      why: "events of 2 ranks, and no request can name one",
      events: null
    })
  })

  it("does not outrank what its events show: a new adapter brings back no block size that was wrong", async () => {
    const { ask, rank, server } = await setUp(true, 16)
    const cached = [100, 101, 102, 103, 200, 201, 202, 203, 9]
    await ask(cached, 9, 8)
    expect((await rank()).error).toMatchObject({ samples: 1, deliveredShare: 1, meanTokens: 0 })
    server.scripts["GET /v1/models"] = () =>
      VllmServer.models(VllmServer.card(model), VllmServer.card("adapter", { parent: model }))
    const visits = () => server.asked.filter(({ path }) => path === "GET /kv_event_sources").length
    const before = visits()
    await expect.poll(visits, soon).toBeGreaterThan(before + 2)
    await ask(cached, 9, 8)
    expect((await rank()).error).toMatchObject({ samples: 2, deliveredShare: 1, meanTokens: 0 })
  })

  it("is not taken back by half a visit: events are followed on when some of its answers fail", async () => {
    const { engine, rank, router, server, wire } = await setUp()
    const id = TestRouter.idOf(server.url)
    const { "GET /kv_event_sources": sources, "GET /metrics": metrics } = server.scripts
    const visits = () => server.asked.filter(({ path }) => path === "GET /kv_event_sources").length
    for (const failing of ["GET /kv_event_sources", "GET /metrics"]) {
      const before = visits()
      server.scripts[failing] = () => ({ status: 503, body: "busy" })
      await expect.poll(visits, soon).toBeGreaterThan(before + 2)
      server.scripts["GET /kv_event_sources"] = sources!
      server.scripts["GET /metrics"] = metrics!
      await expect.poll(visits, soon).toBeGreaterThan(before + 4)
      expect((await rank()).events).toMatchObject({ health: "whole", complete: true, replays: expect.any(Number) })
    }
    // It was never followed anew: that would have asked for all there is, once more.
    expect(wire.asked.filter((from) => from === 0).length).toBe(1)
    await wire.publish(engine.store([1, 2, 3]))
    await expect.poll(async () => (await router.blocks(id)).length, soon).toBe(3)
  })
})
