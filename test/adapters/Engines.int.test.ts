import { Effect, Exit, Scope } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../../loadtest/fleet/SimOptions.ts"
import * as Engines from "../../src/adapters/Engines.ts"
import * as EventSocket from "../../src/adapters/zmq/EventSocket.ts"
import type { EngineBatch } from "../../src/domain/KvEvent.ts"
import type { EventSource } from "../../src/domain/Worker.ts"
import type { Engine } from "../../src/ports/Engine.ts"
import { EventStream } from "../../src/ports/EventStream.ts"

const soon = () => AbortSignal.timeout(20_000)
const words = Array.from({ length: 90 }, (_, i) => `word${i}`).join(" ")

let closing: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of closing.reverse()) await close()
  closing = []
})

const setUp = async (options: Partial<SimOptions>) => {
  const fleet = await SimFleet.start({ engines: 1, models: ["sim/qwen3"], speed: 50, blocks: 512, ...options })
  const engines = Engines.make()
  closing.push(fleet.close, engines.close)
  const sim = fleet.engines[0]!
  return { sim, url: sim.url, engine: await engines.detect(sim, soon()) }
}

const complete = async (url: string, rank: number | null) => {
  const answer = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(rank === null ? {} : { "x-data-parallel-rank": String(rank) })
    },
    body: JSON.stringify({ model: "sim/qwen3", prompt: words, max_tokens: 2 })
  })
  await answer.text()
  expect(answer.status).toBe(200)
}

/** Everything a source has published, by its replay endpoint, as the engine's adapter reads it. */
const published = (engine: Engine, source: EventSource): Promise<ReadonlyArray<EngineBatch>> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const stream = yield* EventStream
    const quiet = { message: () => {}, connected: () => {}, disconnected: () => {} }
    const subscription = yield* stream.open(source, quiet, { name: "w", model: "m" }).pipe(Scope.provide(scope))
    const batches: Array<EngineBatch> = []
    yield* subscription.replay(0, (_seq, payload) => batches.push(engine.decode(payload)))
    yield* Scope.close(scope, Exit.void)
    return batches
  }).pipe(Effect.provide(EventSocket.layerWith({ replayTimeoutMs: 5_000 })), Effect.runPromise)

const tokensStored = (batches: ReadonlyArray<EngineBatch>): number =>
  batches
    .flatMap(({ events }) => events)
    .reduce((sum, event) => sum + (event._tag === "BlockStored" ? event.tokenIds.length : 0), 0)

describe("Engines before simulated engines", () => {
  it("finds all of an SGLang of two ranks, and hears at each what that rank caches", async () => {
    const { engine, sim, url } = await setUp({ dialect: "sglang", ranks: 2, blockSize: 16 })
    expect(engine.name).toBe("sglang")
    const facts = await engine.discover(url, soon())
    expect(facts).toMatchObject({ blockSize: 16, blockCount: 512, ranks: [0, 1], priorityOrder: "highFirst" })
    expect(facts.eventSources.map(({ endpoint, rank }) => [rank, endpoint])).toEqual(
      sim.eventSources.map(({ endpoint }, rank) => [rank, endpoint])
    )
    expect(facts.models[0]).toMatchObject({ id: "sim/qwen3", root: sim.model.folder })
    expect(JSON.stringify(facts)).not.toContain("secret")

    await complete(url, 1)
    await expect.poll(() => sim.cache(1).length).toBeGreaterThan(0)
    const [none, some] = await Promise.all(facts.eventSources.map((source) => published(engine, source)))
    expect(tokensStored(none!)).toBe(0)
    expect(tokensStored(some!)).toBe(sim.cache(1).length * 16)

    const load = await engine.load(url, soon())
    expect([...load.ranks.keys()]).toEqual([0, 1])
    expect(load).toMatchObject({ running: 0, waiting: 0 })
    expect(await engine.healthy(url, soon(), true)).toBe(true)
  })

  it("reads an SGLang of pages of one token", async () => {
    const { engine, sim, url } = await setUp({ dialect: "sglang", blockSize: 1, blocks: 4_096 })
    const facts = await engine.discover(url, soon())
    expect(facts).toMatchObject({ blockSize: 1, blockCount: 4_096, ranks: [] })
    await complete(url, null)
    await expect.poll(() => sim.cache().length).toBeGreaterThan(90)
    expect(tokensStored(await published(engine, facts.eventSources[0]!))).toBe(sim.cache().length)
  })

  it("has an SGLang tokenise texts, and does not ask for chats it cannot", async () => {
    const { engine, sim, url } = await setUp({ dialect: "sglang" })
    expect((await engine.discover(url, soon())).tokenizes).toBe(true)
    const text = { _tag: "Text", text: words, addSpecialTokens: true } as const
    expect([...(await engine.tokenize(url, "sim/qwen3", text, soon()))!]).toEqual([...sim.model.encode(words, true)])
    const body = { messages: [{ role: "user", content: "Hello" }] }
    expect(await engine.tokenize(url, "sim/qwen3", { _tag: "Messages", body }, soon())).toBeNull()
  })

  it("tells the ranks of a vLLM apart, by their sources and by their load", async () => {
    const { engine, sim, url } = await setUp({ dialect: "vllm", ranks: 3 })
    expect(engine.name).toBe("vllm")
    const facts = await engine.discover(url, soon())
    expect(facts).toMatchObject({ blockCount: 512, ranks: [0, 1, 2], priorityOrder: "lowFirst" })
    expect(facts.eventSources.map(({ endpoint }) => endpoint)).toEqual(sim.eventSources.map(({ endpoint }) => endpoint))
    await complete(url, 2)
    await expect.poll(() => sim.cache(2).length).toBeGreaterThan(0)
    const [none, , some] = await Promise.all(facts.eventSources.map((source) => published(engine, source)))
    expect(tokensStored(none!)).toBe(0)
    expect(tokensStored(some!)).toBe(sim.cache(2).length * 16)
    expect([...(await engine.load(url, soon())).ranks.keys()].sort()).toEqual([0, 1, 2])
  })

  it("reads a TensorRT-LLM's blocks, and its events where the operator says they are", async () => {
    const { engine, sim, url } = await setUp({ dialect: "trtllm", blockSize: 32 })
    expect(engine.name).toBe("trtllm")
    const facts = await engine.discover(url, soon())
    expect(facts).toMatchObject({ blockSize: 32, blockCount: 512, eventSources: [], ranks: [], tokenizes: false })
    expect(await engine.load(url, soon())).toMatchObject({ running: 0, waiting: 0, kvUsage: 0 })
    expect(await engine.healthy(url, soon(), true)).toBe(true)
    await complete(url, null)
    await expect.poll(() => sim.cache().length).toBeGreaterThan(0)
    const batches = await published(engine, { ...sim.eventSources[0]!, topic: "", rank: 0 })
    expect(tokensStored(batches)).toBe(sim.cache().length * 32)
  })
})
