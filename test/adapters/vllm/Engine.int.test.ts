import { Redacted } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Engines from "../../../src/adapters/Engines.ts"
import * as HttpJson from "../../../src/adapters/http/HttpJson.ts"
import * as Vllm from "../../../src/adapters/vllm/Engine.ts"
import * as VllmServer from "../../support/VllmServer.ts"

let server: Awaited<ReturnType<typeof VllmServer.make>>
let http: HttpJson.HttpJson
const soon = () => AbortSignal.timeout(20_000)

beforeEach(async () => {
  server = await VllmServer.make()
  http = HttpJson.make()
})
afterEach(async () => {
  await http.close()
  await server.close()
})

describe("vLLM over HTTP", () => {
  it("tells in one visit what it serves, its cache, its event sources and its start", async () => {
    server.scripts["GET /kv_event_sources"] = () => ({
      body: JSON.stringify([
        { data_parallel_rank: 1, endpoint: "tcp://*:5558", replay_endpoint: null, topic: "" },
        { data_parallel_rank: 0, endpoint: "tcp://10.0.0.9:5557", replay_endpoint: "tcp://0.0.0.0:5657", topic: "kv" }
      ])
    })
    expect(await Vllm.make(http).discover(server.url, soon())).toEqual({
      engine: "vllm",
      models: [{ id: "Qwen/Qwen3-8B", parent: null, root: "Qwen/Qwen3-8B", maxModelLen: 40_960 }],
      blockSize: 16,
      blockCount: 4_000,
      eventSources: [
        { endpoint: "tcp://10.0.0.9:5557", replayEndpoint: "tcp://127.0.0.1:5657", topic: "kv", rank: 0 },
        { endpoint: "tcp://127.0.0.1:5558", replayEndpoint: null, topic: "", rank: 1 }
      ],
      ranks: [0, 1],
      priorityOrder: "lowFirst",
      unsetPriority: null,
      tokenizes: true,
      startedAtMs: 1.79e12
    })
  })

  it("joins an old version that lacks event sources, metrics and the tokeniser", async () => {
    for (const path of ["GET /kv_event_sources", "GET /metrics", "POST /tokenize"]) delete server.scripts[path]
    const facts = await Vllm.make(http).discover(server.url, soon())
    expect(facts).toMatchObject({
      blockSize: null,
      blockCount: null,
      eventSources: [],
      ranks: [],
      tokenizes: false,
      startedAtMs: null
    })
  })

  it("knows its ranks by its metrics where its events are off, and counts one alone as none", async () => {
    expect((await Vllm.make(http).discover(server.url, soon())).ranks).toEqual([0, 1])
    // Behind an external balancer each rank has an address of its own.
    server.scripts["GET /metrics"] = () => ({ body: 'vllm:num_requests_running{engine="3"} 1\n' })
    server.scripts["GET /kv_event_sources"] = () => ({
      body: '{"3":{"publisher":"zmq","endpoint":"tcp://*:5560","topic":""}}'
    })
    const facts = await Vllm.make(http).discover(server.url, soon())
    expect([facts.ranks, facts.eventSources.map(({ rank }) => rank)]).toEqual([[], [3]])
  })

  it("gives an adapter the context length of its base", async () => {
    const base = VllmServer.card("qwen")
    const adapter = VllmServer.card("poet", { root: "/loras/poet", parent: "qwen", max_model_len: null })
    server.scripts["GET /v1/models"] = () => VllmServer.models(base, adapter)
    const { models } = await Vllm.make(http).discover(server.url, soon())
    expect(models[1]).toEqual({ id: "poet", parent: "qwen", root: "/loras/poet", maxModelLen: 40_960 })
  })

  it("rejects the whole visit when one question gets no answer, rather than report lost events", async () => {
    server.scripts["GET /kv_event_sources"] = () => "reset"
    await expect(Vllm.make(http).discover(server.url, soon())).rejects.toThrow(/kv_event_sources failed/)
  })

  it("rejects a visit while the engine still loads, and says so", async () => {
    server.scripts["GET /v1/models"] = () => ({ status: 503, body: "" })
    await expect(Vllm.make(http).discover(server.url, soon())).rejects.toThrow(/answered 503 .*still loading/)
  })

  it("ends a question that hangs when its signal says so", async () => {
    server.scripts["GET /health"] = () => "hang"
    const controller = new AbortController()
    const asked = Vllm.make(http).healthy(server.url, controller.signal, false)
    await expect.poll(() => server.asked.length).toBe(1)
    controller.abort()
    await expect(asked).rejects.toThrow(/no answer before the deadline/)
  })

  it("refuses an answer that never ends to grow", async () => {
    server.scripts["GET /v1/models"] = () => ({ body: "x".repeat(17 * 1024 * 1024) })
    await expect(Vllm.make(http).discover(server.url, soon())).rejects.toThrow(/answered more than 16777216 bytes/)
  })

  it("is healthy on 200 and not on 503", async () => {
    const engine = Vllm.make(http)
    expect(await engine.healthy(server.url, soon(), false)).toBe(true)
    // It has no route that generates a token.
    expect(await engine.healthy(server.url, soon(), true)).toBe(true)
    expect(server.asked.map(({ path }) => path)).toEqual(["GET /health", "GET /health"])
    server.scripts["GET /health"] = () => ({ status: 503, body: "" })
    expect(await engine.healthy(server.url, soon(), false)).toBe(false)
  })

  it("names the address when nothing listens there", async () => {
    await server.close()
    await expect(Vllm.make(http).healthy(server.url, soon(), false)).rejects.toThrow(
      /127\.0\.0\.1:\d+\/health failed: .*ECONNREFUSED/
    )
  })

  it("sums load over ranks and averages usage, new names before old, and tells each rank's own", async () => {
    expect(await Vllm.make(http).load(server.url, soon())).toEqual({
      running: 7,
      waiting: 1,
      kvUsage: 0.5,
      ranks: new Map([
        [0, { running: 3, waiting: 1, kvUsage: 0.25 }],
        [1, { running: 4, waiting: 0, kvUsage: 0.75 }]
      ])
    })
  })

  it("reads the names used under Ray and those of old versions", async () => {
    server.scripts["GET /metrics"] = () => ({
      body: 'vllm_num_requests_running{engine="0"} 2\nvllm:gpu_cache_usage_perc 0.5\n'
    })
    expect(await Vllm.make(http).load(server.url, soon())).toEqual({
      running: 2,
      waiting: null,
      kvUsage: 0.5,
      ranks: new Map([[0, { running: 2, waiting: null, kvUsage: null }]])
    })
  })

  it("does not call a worker idle whose statistics are off", async () => {
    const unknown = { running: null, waiting: null, kvUsage: null, ranks: new Map() }
    server.scripts["GET /metrics"] = () => ({ body: "python_info 1.0\n" })
    expect(await Vllm.make(http).load(server.url, soon())).toEqual(unknown)
    server.scripts["GET /metrics"] = () => ({ status: 404, body: "" })
    expect(await Vllm.make(http).load(server.url, soon())).toEqual(unknown)
  })

  it("asks for tokens of chats and of texts with every field that shapes the prompt", async () => {
    const engine = Vllm.make(http)
    const body = {
      messages: [{ role: "user", content: "hi" }],
      tools: [{ type: "function", function: { name: "f" } }],
      add_generation_prompt: true,
      chat_template_kwargs: { enable_thinking: false }
    }
    expect(await engine.tokenize(server.url, "m", { _tag: "Messages", body }, soon())).toEqual(Uint32Array.of(7, 8, 9))
    expect(JSON.parse(server.asked[0]!.body)).toEqual({ model: "m", ...body })
    const text = { _tag: "Text", text: "hi", addSpecialTokens: true } as const
    expect(await engine.tokenize(server.url, "m", text, soon())).toEqual(Uint32Array.of(1, 2, 3))
    expect(JSON.parse(server.asked[1]!.body)).toEqual({ model: "m", prompt: "hi", add_special_tokens: true })
  })

  it("declines prompts whose tokens that endpoint cannot tell exactly", async () => {
    const engine = Vllm.make(http)
    const messages = [{ role: "user", content: "hi" }]
    for (const more of [{ reasoning_effort: "low" }, { documents: [{}] }, { tools: [{}], tool_choice: "none" }]) {
      expect(
        await engine.tokenize(server.url, "m", { _tag: "Messages", body: { messages, ...more } }, soon())
      ).toBeNull()
    }
    expect(server.asked).toEqual([])
    server.scripts["POST /tokenize"] = () => ({ status: 400, body: '{"error":{"message":"no"}}' })
    expect(await engine.tokenize(server.url, "m", { _tag: "Messages", body: { messages } }, soon())).toBeNull()
    server.scripts["POST /tokenize"] = () => ({ body: '{"tokens":[1,-2]}' })
    expect(await engine.tokenize(server.url, "m", { _tag: "Messages", body: { messages } }, soon())).toBeNull()
  })

  it("gives token prompts back without asking", async () => {
    const ids = Uint32Array.of(5, 6)
    expect(await Vllm.make(http).tokenize(server.url, "m", { _tag: "Tokens", ids }, soon())).toBe(ids)
    expect(server.asked).toEqual([])
  })
})

describe("Engines.detect", () => {
  it("knows vLLM by its model list, by its metrics behind another owner, and anything else as plain OpenAI", async () => {
    const engines = Engines.make()
    try {
      expect((await engines.detect(server, soon())).name).toBe("vllm")
      server.scripts["GET /v1/models"] = () => VllmServer.models(VllmServer.card("m", { owned_by: "acme" }))
      expect((await engines.detect(server, soon())).name).toBe("vllm")
      server.scripts["GET /metrics"] = () => ({ body: "http_requests_total 1\n" })
      const plain = await engines.detect(server, soon())
      expect(plain.name).toBe("unknown")
      expect(await plain.discover(server.url, soon())).toMatchObject({
        engine: "unknown",
        eventSources: [],
        blockSize: null
      })
      expect(await plain.healthy(server.url, soon(), false)).toBe(true)
      expect(await plain.load(server.url, soon())).toEqual({
        running: null,
        waiting: null,
        kvUsage: null,
        ranks: new Map()
      })
      expect(() => plain.decode(new Uint8Array())).toThrow(/publishes no KV events/)
      await server.close()
      await expect(engines.detect(server, soon())).rejects.toThrow(/Is the engine up/)
    } finally {
      await engines.close()
    }
  })

  it("brings a worker's key to every question, and says what is missing where it has none", async () => {
    for (const [path, script] of Object.entries(server.scripts)) {
      server.scripts[path] = (request, body) =>
        request.headers.authorization === "Bearer sk-1" ? script(request, body) : { status: 401, body: "{}" }
    }
    const engines = Engines.make()
    try {
      await expect(engines.detect(server, soon())).rejects.toThrow(/answered 401.*apiKey/)
      const engine = await engines.detect({ ...server, apiKey: Redacted.make("sk-1") }, soon())
      expect(await engine.discover(server.url, soon())).toMatchObject({ blockSize: 16, tokenizes: true })
      expect(await engine.healthy(server.url, soon(), false)).toBe(true)
    } finally {
      await engines.close()
    }
  })
})
