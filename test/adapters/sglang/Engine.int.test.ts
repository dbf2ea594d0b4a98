import { Redacted } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Engines from "../../../src/adapters/Engines.ts"
import * as HttpJson from "../../../src/adapters/http/HttpJson.ts"
import * as Sglang from "../../../src/adapters/sglang/Engine.ts"
import type { Engine } from "../../../src/ports/Engine.ts"
import * as SglangServer from "../../support/SglangServer.ts"

let server: Awaited<ReturnType<typeof SglangServer.make>>
let http: HttpJson.HttpJson
let engine: Engine
const soon = () => AbortSignal.timeout(20_000)
const info = (more: Record<string, unknown>) => {
  server.scripts["GET /server_info"] = () => ({ body: JSON.stringify(SglangServer.serverInfo(more)) })
}
const unknown = { running: null, waiting: null, kvUsage: null }

beforeEach(async () => {
  server = await SglangServer.make()
  http = HttpJson.make()
  engine = Sglang.make(http)
})
afterEach(async () => {
  await http.close()
  await server.close()
})

describe("SGLang over HTTP", () => {
  it("tells in one visit what it serves, its pages, its event sources and where its tokenizer lies", async () => {
    expect(await engine.discover(server.url, soon())).toEqual({
      engine: "sglang",
      models: [{ id: "Qwen/Qwen3-8B", parent: null, root: "/models/qwen3-8b-tokenizer", maxModelLen: 40_960 }],
      blockSize: 64,
      blockCount: 4_096,
      eventSources: [{ endpoint: "tcp://127.0.0.1:5557", replayEndpoint: null, topic: "kv-events", rank: 0 }],
      ranks: [],
      priorityOrder: "highFirst",
      unsetPriority: null,
      tokenizes: true,
      startedAtMs: null
    })
  })

  it("keeps nothing of the keys that its own description of itself holds", async () => {
    const told = JSON.stringify(await engine.discover(server.url, soon()))
    expect(told).toContain("/models/qwen3-8b-tokenizer")
    for (const secret of SglangServer.secrets) expect(told).not.toContain(secret)
    // Nor does an error repeat what could not be used.
    server.scripts["GET /v1/models"] = () => ({ body: JSON.stringify(SglangServer.serverInfo()) })
    const failure = await engine.discover(server.url, soon()).catch((cause: unknown) => cause)
    for (const secret of SglangServer.secrets) expect(`${failure} ${JSON.stringify(failure)}`).not.toContain(secret)
  })

  it("has a source, a load and a cache of its own for each of four data-parallel ranks", async () => {
    info({
      dp_size: 4,
      kv_events: SglangServer.kvEvents({ dp_size: 4 }),
      kv_events_config: '{"publisher":"zmq","endpoint":"tcp://*:5557","replay_endpoint":"tcp://*:5657"}'
    })
    server.scripts["GET /v1/loads"] = () =>
      SglangServer.loads(...[0, 1, 2, 3].map((rank) => SglangServer.load(rank, { num_running_reqs: rank })))
    const facts = await engine.discover(server.url, soon())
    expect(facts.ranks).toEqual([0, 1, 2, 3])
    expect(facts.blockCount).toBe(4_096)
    expect(facts.eventSources.map(({ endpoint, rank, replayEndpoint }) => [rank, endpoint, replayEndpoint])).toEqual(
      [0, 1, 2, 3].map((rank) => [rank, `tcp://127.0.0.1:${5557 + rank}`, `tcp://127.0.0.1:${5657 + rank}`])
    )
    const load = await engine.load(server.url, soon())
    expect(load).toMatchObject({ running: 6, waiting: 4, kvUsage: 0.25 })
    expect(load.ranks.get(3)).toEqual({ running: 3, waiting: 1, kvUsage: 0.25 })
  })

  it("joins a version that tells nothing beyond its models", async () => {
    for (const path of Object.keys(server.scripts)) if (path !== "GET /v1/models") delete server.scripts[path]
    expect(await engine.discover(server.url, soon())).toEqual({
      engine: "sglang",
      models: [{ id: "Qwen/Qwen3-8B", parent: null, root: "Qwen/Qwen3-8B", maxModelLen: 40_960 }],
      blockSize: null,
      blockCount: null,
      eventSources: [],
      ranks: [],
      priorityOrder: null,
      unsetPriority: null,
      tokenizes: false,
      startedAtMs: null
    })
    expect(await engine.load(server.url, soon())).toEqual({ ...unknown, ranks: new Map() })
    expect(await engine.healthy(server.url, soon(), false)).toBe(false)
  })

  it("reads the old names of its routes, and its metrics where it shows them", async () => {
    server.scripts["GET /get_server_info"] = server.scripts["GET /server_info"]!
    server.scripts["GET /metrics"] = () => ({ body: SglangServer.metrics })
    delete server.scripts["GET /server_info"]
    expect(await engine.discover(server.url, soon())).toMatchObject({ blockSize: 64, startedAtMs: 1.79e12 })

    delete server.scripts["GET /get_server_info"]
    server.scripts["GET /get_model_info"] = server.scripts["GET /model_info"]!
    delete server.scripts["GET /model_info"]
    const facts = await engine.discover(server.url, soon())
    expect(facts).toMatchObject({ blockSize: 32, blockCount: 2_000, eventSources: [] })
    expect(facts.models[0]!.root).toBe("/models/qwen3-8b-tokenizer")
  })

  it("takes pages of one token, which plain CUDA has, for blocks of one token", async () => {
    info({ page_size: 1, kv_events: SglangServer.kvEvents({ block_size: 1 }) })
    expect(await engine.discover(server.url, soon())).toMatchObject({ blockSize: 1, blockCount: 262_144 })
  })

  it("hashes at the page size of its events, where that is another than its argument's", async () => {
    info({ page_size: 64, kv_events: SglangServer.kvEvents({ block_size: 128 }) })
    expect(await engine.discover(server.url, soon())).toMatchObject({ blockSize: 128, blockCount: 2_048 })
  })

  it("says that low priorities go first only where it was told to turn them round", async () => {
    info({ schedule_low_priority_values_first: true })
    expect((await engine.discover(server.url, soon())).priorityOrder).toBe("lowFirst")
  })

  it("leaves an adapter's own root alone", async () => {
    const poet = SglangServer.card("poet", { root: "/loras/poet", parent: "Qwen/Qwen3-8B", max_model_len: null })
    server.scripts["GET /v1/models"] = () => SglangServer.models(SglangServer.card("Qwen/Qwen3-8B"), poet)
    const { models } = await engine.discover(server.url, soon())
    expect(models[1]).toEqual({ id: "poet", parent: "Qwen/Qwen3-8B", root: "/loras/poet", maxModelLen: 40_960 })
  })

  it("rejects the whole visit when one question gets no answer, rather than report lost events", async () => {
    server.scripts["GET /server_info"] = () => "reset"
    await expect(engine.discover(server.url, soon())).rejects.toThrow(/server_info failed/)
  })

  it("is found and reached over IPv6", async () => {
    const six = await SglangServer.make("::1")
    try {
      const { eventSources } = await engine.discover(six.url, soon())
      expect(eventSources[0]!.endpoint).toBe("tcp://[::1]:5557")
      expect(await engine.healthy(six.url, soon(), true)).toBe(true)
    } finally {
      await six.close()
    }
  })

  it("generates a token to show that it is well only when asked to, and where it can", async () => {
    server.scripts["GET /health_generate"] = () => ({ status: 503, body: "" })
    expect(await engine.healthy(server.url, soon(), false)).toBe(true)
    expect(await engine.healthy(server.url, soon(), true)).toBe(false)
    delete server.scripts["GET /health_generate"]
    expect(await engine.healthy(server.url, soon(), true)).toBe(true)
    server.scripts["GET /health"] = () => ({ status: 503, body: "" })
    expect(await engine.healthy(server.url, soon(), true)).toBe(false)
  })

  it("is busy, not gone, while it computes long prompts and its front still answers", async () => {
    const hurried = Sglang.make(http, 20)
    server.scripts["GET /health"] = () => "hang"
    expect(await hurried.healthy(server.url, soon(), false)).toBe(true)
    server.scripts["GET /model_info"] = () => ({ status: 503, body: "" })
    expect(await hurried.healthy(server.url, soon(), false)).toBe(false)
    // A worker that is out must show its token, however long that takes.
    server.scripts["GET /health_generate"] = () => "hang"
    const asked = server.asked.length
    const controller = new AbortController()
    const deep = hurried.healthy(server.url, controller.signal, true)
    await expect.poll(() => server.asked.length).toBe(asked + 1)
    controller.abort()
    await expect(deep).rejects.toThrow(/no answer before the deadline/)
    server.scripts["GET /health"] = () => "reset"
    await expect(engine.healthy(server.url, soon(), false)).rejects.toThrow(/health failed/)
  })

  it("does not call a rank idle that is not ready, nor a worker whose scheduler reports no rank at all", async () => {
    server.scripts["GET /v1/loads"] = () =>
      SglangServer.loads(SglangServer.load(0), SglangServer.load(1, { max_total_num_tokens: 0, num_running_reqs: 0 }))
    const load = await engine.load(server.url, soon())
    expect(load).toMatchObject(unknown)
    expect([...load.ranks]).toEqual([
      [0, { running: 3, waiting: 1, kvUsage: 0.25 }],
      [1, unknown]
    ])
    server.scripts["GET /metrics"] = () => ({ body: SglangServer.metrics })
    for (const answer of [SglangServer.loads(), { status: 500, body: "" }, { body: "null" }]) {
      server.scripts["GET /v1/loads"] = () => answer
      expect(await engine.load(server.url, soon())).toEqual({ ...unknown, ranks: new Map() })
    }
  })

  it("reads load from its metrics before `/v1/loads` existed, in both spellings, and from `/get_load` without them", async () => {
    delete server.scripts["GET /v1/loads"]
    const ranks = new Map([
      [0, { running: 5, waiting: 4, kvUsage: 0.75 }],
      [1, { running: 2, waiting: 0, kvUsage: 0.25 }]
    ])
    server.scripts["GET /metrics"] = () => ({ body: SglangServer.metrics })
    expect(await engine.load(server.url, soon())).toEqual({ running: 7, waiting: 4, kvUsage: 0.5, ranks })
    server.scripts["GET /metrics"] = () => ({ body: SglangServer.metrics.replaceAll("sglang:", "sglang_") })
    expect((await engine.load(server.url, soon())).ranks).toEqual(ranks)

    delete server.scripts["GET /metrics"]
    const old = [
      { dp_rank: 0, num_reqs: 5, num_waiting_reqs: 2, num_tokens: 900 },
      { dp_rank: 1, num_reqs: 1, num_waiting_reqs: 0, num_tokens: 80 }
    ]
    server.scripts["GET /get_load"] = () => ({ body: JSON.stringify(old) })
    expect(await engine.load(server.url, soon())).toMatchObject({ running: 4, waiting: 2, kvUsage: null })
  })

  it("asks for tokens of chats and of texts as the client sent them", async () => {
    const body = {
      messages: [{ role: "user", content: "hi" }],
      tools: [{ type: "function", function: { name: "f" } }],
      tool_choice: "none",
      reasoning_effort: "low",
      chat_template_kwargs: { enable_thinking: false }
    }
    expect(await engine.tokenize(server.url, "m", { _tag: "Messages", body }, soon())).toEqual(Uint32Array.of(7, 8, 9))
    expect(JSON.parse(server.asked[0]!.body)).toEqual({ model: "m", ...body })
    const text = { _tag: "Text", text: "hi", addSpecialTokens: false } as const
    expect(await engine.tokenize(server.url, "m", text, soon())).toEqual(Uint32Array.of(1, 2, 3))
    expect(JSON.parse(server.asked[1]!.body)).toEqual({ model: "m", prompt: "hi", add_special_tokens: false })
    const ids = Uint32Array.of(5, 6)
    expect(await engine.tokenize(server.url, "m", { _tag: "Tokens", ids }, soon())).toBe(ids)
    expect(server.asked.length).toBe(2)
  })

  it("is not asked for the tokens of each chat in a version that only knows texts", async () => {
    const full = server.scripts["POST /tokenize"]!
    server.scripts["POST /tokenize"] = (request, body) =>
      "messages" in JSON.parse(body) ? { status: 422, body: '{"detail":[]}' } : full(request, body)
    expect((await engine.discover(server.url, soon())).tokenizes).toBe(true)
    const before = server.asked.length
    const chat = { _tag: "Messages", body: { messages: [{ role: "user", content: "hi" }] } } as const
    expect(await engine.tokenize(server.url, "m", chat, soon())).toBeNull()
    expect(server.asked.length).toBe(before)
    // It was updated.
    server.scripts["POST /tokenize"] = full
    await engine.discover(server.url, soon())
    expect(await engine.tokenize(server.url, "m", chat, soon())).toEqual(Uint32Array.of(7, 8, 9))
  })
})

describe("Engines.detect", () => {
  it("knows SGLang by its model list, and by its model's origin behind another owner", async () => {
    const engines = Engines.make()
    try {
      expect((await engines.detect(server, soon())).name).toBe("sglang")
      server.scripts["GET /v1/models"] = () => SglangServer.models(SglangServer.card("m", { owned_by: "acme" }))
      expect((await engines.detect(server, soon())).name).toBe("sglang")
      server.scripts["GET /get_model_info"] = server.scripts["GET /model_info"]!
      delete server.scripts["GET /model_info"]
      expect((await engines.detect(server, soon())).name).toBe("sglang")
      server.scripts["GET /get_model_info"] = () => ({ body: '{"model_path":"/m"}' })
      expect((await engines.detect(server, soon())).name).toBe("unknown")
    } finally {
      await engines.close()
    }
  })

  it("brings a worker's key to every question", async () => {
    for (const [path, script] of Object.entries(server.scripts)) {
      server.scripts[path] = (request, body) =>
        request.headers.authorization === "Bearer sk-1" ? script(request, body) : { status: 401, body: "{}" }
    }
    const engines = Engines.make()
    try {
      const found = await engines.detect({ ...server, apiKey: Redacted.make("sk-1") }, soon())
      expect(await found.discover(server.url, soon())).toMatchObject({ blockSize: 64, tokenizes: true })
    } finally {
      await engines.close()
    }
  })
})
