import { beforeAll, describe, expect, it, vi } from "vitest"
import * as Model from "../../../loadtest/fleet/Model.ts"
import type { SimEngine } from "../../../loadtest/fleet/SimEngine.ts"
import { qwen3 } from "../../support/SimModel.ts"
import { another, complete, idle, json, post, start } from "./Simulated.ts"

const get = (engine: SimEngine, path: string): Promise<Response> => fetch(`${engine.url}${path}`)
const text = async (engine: SimEngine, path: string): Promise<string> => (await get(engine, path)).text()

/** A series by its whole head, labels and all. */
const series = (metrics: string, head: string): number =>
  Number(
    metrics
      .split("\n")
      .find((line) => line.startsWith(`${head} `))
      ?.split(" ")
      .at(-1)
  )

const soon = { timeout: 10_000 }
const busy = { max_tokens: 400, ignore_eos: true, stream: true }

beforeAll(() => Model.load(qwen3))

describe("a simulated SGLang", () => {
  it("says what it is, secrets and event ports included, under both names", async () => {
    const engine = await start({ dialect: "sglang", ranks: 2, blockSize: 32, priorityScheduling: true })
    const info = await json(get(engine, "/server_info"))
    expect(info).toMatchObject({
      model_path: "sim/qwen3",
      page_size: 32,
      dp_size: 2,
      schedule_low_priority_values_first: false,
      enable_cache_report: true,
      max_total_num_tokens: 64 * 32,
      kv_events: {
        publisher: "zmq",
        endpoint_host: "*",
        endpoint_port_base: Number(new URL(engine.eventEndpoint).port),
        topic: "kv-events",
        block_size: 32,
        dp_size: 2
      }
    })
    expect(info["api_key"]).toMatch(/secret/)
    expect(info["version"]).toMatch(/^0\.5\./)
    const config = JSON.parse(info["kv_events_config"] as string) as { replay_endpoint: string }
    expect(config.replay_endpoint).toBe(`tcp://*:${new URL(engine.replayEndpoint!).port}`)
    const [first, second] = engine.eventSources.map(({ endpoint, replayEndpoint }) =>
      [endpoint, replayEndpoint!].map((address) => Number(new URL(address).port))
    )
    expect(second).toEqual(first!.map((port) => port + 1))
    expect(await json(get(engine, "/get_server_info"))).toEqual(info)
    const model = await json(get(engine, "/get_model_info"))
    expect(model).toMatchObject({ model_path: "sim/qwen3", is_generation: true })
    expect(await json(get(engine, "/model_info"))).toEqual(model)
    const { data } = (await json(get(engine, "/v1/models"))) as { data: ReadonlyArray<object> }
    expect(data).toMatchObject([{ id: "sim/qwen3", owned_by: "sglang", max_model_len: 64 * 32 }])
    const silent = await start({ dialect: "sglang", events: false })
    expect(await json(get(silent, "/server_info"))).toMatchObject({ kv_events: null, kv_events_config: null })
    expect((await get(engine, "/version")).status).toBe(404)
  })

  it("answers with flat errors, and minds no model's name", async () => {
    const engine = await start({ dialect: "sglang" })
    const refused = await post(engine, "/v1/chat/completions", { messages: [] })
    expect(refused.status).toBe(400)
    const body = (await refused.json()) as Record<string, unknown>
    expect(Object.keys(body)).toEqual(["object", "message", "type", "param", "code"])
    expect(body).toMatchObject({ object: "error", code: 400, param: "messages" })
    expect(await json(get(engine, "/nowhere"))).toEqual({ detail: "Not Found" })
    expect((await post(engine, "/v1/completions", { model: "other", prompt: "Hi", max_tokens: 1 })).status).toBe(200)
    const unknown = await post(engine, "/v1/completions", { lora_path: "none", prompt: "Hi" })
    expect([unknown.status, ((await unknown.json()) as { param: string }).param]).toEqual([400, "lora_path"])
  })

  it("is alive while it hangs, but makes no token then", async () => {
    const engine = await start({ dialect: "sglang" })
    expect((await get(engine, "/health_generate")).status).toBe(200)
    expect(engine.state()).toMatchObject({ finished: 0, running: 0, generatedTokens: 1 })
    // Longer than the probe's patience, which is 20 s at speed 1.
    engine.setFaults({ stallMs: 60_000 })
    expect((await get(engine, "/health")).status).toBe(200)
    expect((await get(engine, "/health_generate")).status).toBe(503)
    await idle(engine)
  })

  it("tells each rank's load, in the new form and the old", async () => {
    const engine = await start({ dialect: "sglang", ranks: 2, maxRunning: 1, blocks: 256 })
    engine.setFaults({ stallMs: 60_000 })
    const prompt = another(100)
    const stop = new AbortController()
    const ask = () => {
      const body = JSON.stringify({ prompt, ...busy })
      const headers = { "X-Data-Parallel-Rank": "1" }
      fetch(`${engine.url}/v1/completions`, { method: "POST", body, headers, signal: stop.signal }).catch(
        () => undefined
      )
    }
    ask()
    ask()
    await vi.waitFor(() => expect(engine.state(1).received).toBe(2), soon)
    const { loads } = (await json(get(engine, "/v1/loads"))) as { loads: ReadonlyArray<Record<string, number>> }
    expect(loads).toHaveLength(2)
    expect(loads[0]).toMatchObject({ dp_rank: 0, num_running_reqs: 0, num_waiting_reqs: 0, num_used_tokens: 0 })
    expect(loads[1]).toMatchObject({ dp_rank: 1, max_total_num_tokens: 256 * 16, max_running_requests: 1 })
    expect(loads[1]!["num_running_reqs"]! + loads[1]!["num_waiting_reqs"]!).toBe(2)
    expect(loads[1]!["num_waiting_uncached_tokens"]).toBe(100 * loads[1]!["num_waiting_reqs"]!)
    const old = (await json(get(engine, "/get_load"))) as unknown as ReadonlyArray<object>
    expect(old).toMatchObject([
      { dp_rank: 0, num_reqs: 0 },
      { dp_rank: 1, num_reqs: 2 }
    ])
    stop.abort()
    await vi.waitFor(() => expect(engine.state()).toMatchObject({ running: 0, waiting: 0 }), soon)
  })

  it("serves metrics with its own names, the rank only where there are several, or none when they are off", async () => {
    const one = await start({ dialect: "sglang" })
    const prompt = another(50)
    await complete(one, prompt)
    expect(await complete(one, prompt)).toBe(48)
    const labels = 'model_name="sim/qwen3",engine_type="unified",tp_rank="0",pp_rank="0"'
    const metrics = await text(one, "/metrics")
    expect(series(metrics, `sglang:num_running_reqs{${labels}}`)).toBe(0)
    expect(series(metrics, `sglang:prompt_tokens_total{${labels}}`)).toBe(100)
    expect(series(metrics, `sglang:cached_tokens_total{${labels},cache_source="device"}`)).toBe(48)
    expect(series(metrics, `sglang:cache_config_info{${labels},page_size="16",num_pages="64"}`)).toBe(1)
    expect(series(metrics, `sglang:max_total_num_tokens{${labels}}`)).toBe(1024)
    const two = await start({ dialect: "sglang", ranks: 2 })
    const both = await text(two, "/metrics")
    for (const rank of [0, 1]) expect(series(both, `sglang:token_usage{${labels},dp_rank="${rank}"}`)).toBe(0)
    const off = await start({ dialect: "sglang", metrics: false })
    expect((await get(off, "/metrics")).status).toBe(404)
  })

  it("tokenizes prompts, not chats", async () => {
    const engine = await start({ dialect: "sglang" })
    const asked = { model: "sim/qwen3", prompt: "One two three" }
    const { count, tokens } = (await json(post(engine, "/tokenize", asked))) as { count: number; tokens: Array<number> }
    expect(tokens).toEqual(engine.model.encode("One two three", true))
    expect(count).toBe(tokens.length)
    expect(await json(post(engine, "/v1/detokenize", { tokens }))).toEqual({ text: "One two three" })
    expect((await post(engine, "/v1/tokenize", { messages: [] })).status).toBe(400)
  })

  it("flushes its cache when nothing runs", async () => {
    const engine = await start({ dialect: "sglang" })
    await complete(engine, another(40))
    engine.setFaults({ stallMs: 60_000 })
    const response = await post(engine, "/v1/completions", { prompt: another(40), ...busy })
    expect((await post(engine, "/flush_cache", {})).status).toBe(400)
    await response.body!.cancel()
    await idle(engine)
    expect((await get(engine, "/flush_cache")).status).toBe(200)
    expect(engine.cache()).toEqual([])
  })
})

describe("a simulated TensorRT-LLM", () => {
  it("answers the paths a router needs", async () => {
    const engine = await start({ dialect: "trtllm" })
    expect((await get(engine, "/health")).status).toBe(200)
    expect(await json(get(engine, "/version"))).toEqual({ version: "1.3.0" })
    const { data } = (await json(get(engine, "/v1/models"))) as { data: ReadonlyArray<object> }
    expect(data).toMatchObject([{ id: "sim/qwen3", owned_by: "tensorrt_llm" }])
    expect(data[0]).not.toHaveProperty("max_model_len")
    await complete(engine, another(40))
    const metrics = await text(engine, "/prometheus/metrics")
    const labels = '{model_name="sim/qwen3",engine_type="pytorch"}'
    expect(series(metrics, `trtllm_kv_cache_tokens_per_block${labels}`)).toBe(16)
    expect(series(metrics, `trtllm_kv_cache_max_blocks${labels}`)).toBe(64)
    expect(series(metrics, `trtllm_num_requests_waiting${labels}`)).toBe(0)
    expect(await json(get(engine, "/metrics"))).toMatchObject([
      { numActiveRequests: 0, kvCacheStats: { maxNumBlocks: 64 } }
    ])
    expect(await json(post(engine, "/kv_cache_events", {}))).toEqual([])
    expect(await json(post(engine, "/v1/chat/completions", { messages: [] }))).toMatchObject({ object: "error" })
    expect((await get(engine, "/kv_event_sources")).status).toBe(404)
  })
})

describe("data-parallel ranks", () => {
  it("of vLLM are named by header in any case, and announced, measured and counted one by one", async () => {
    const engine = await start({ ranks: 3 })
    const prompt = another(50)
    await complete(engine, prompt, {}, { "X-data-parallel-rank": "2" })
    expect(await complete(engine, prompt, {}, { "x-DATA-parallel-RANK": "2" })).toBe(48)
    expect(await complete(engine, prompt, {}, { "X-data-parallel-rank": "1" })).toBe(0)
    expect([0, 1, 2].map((rank) => engine.state(rank).received)).toEqual([0, 1, 2])
    expect([engine.state().received, engine.state().rankNamed]).toEqual([3, 3])
    expect([0, 1, 2].map((rank) => engine.cache(rank).length)).toEqual([0, 3, 3])
    const sources = (await json(get(engine, "/kv_event_sources"))) as Record<string, { endpoint: string }>
    expect(Object.keys(sources)).toEqual(["0", "1", "2"])
    expect(Object.values(sources).map(({ endpoint }) => endpoint)).toEqual(engine.eventSources.map((s) => s.endpoint))
    expect(new Set(engine.eventSources.flatMap((source) => [source.endpoint, source.replayEndpoint])).size).toBe(6)
    const metrics = await text(engine, "/metrics")
    const hits = [0, 1, 2].map((rank) =>
      series(metrics, `vllm:prefix_cache_hits_total{engine="${rank}",model_name="sim/qwen3"}`)
    )
    expect(hits).toEqual([0, 0, 48])
  })

  it("of vLLM are not chosen by what is no number, and refused when there are fewer", async () => {
    const engine = await start({ ranks: 2 })
    await complete(engine, another(20), {}, { "X-data-parallel-rank": "first" })
    expect(engine.state().rankNamed).toBe(0)
    const response = await post(engine, "/v1/completions", { prompt: "Hi" }, { "X-data-parallel-rank": "2" })
    expect(response.status).toBe(400)
    expect(JSON.stringify(await response.json())).toContain("out of range [0, 2)")
  })

  it("of SGLang are named by header or body, the header first, and must be numbers", async () => {
    const engine = await start({ dialect: "sglang", ranks: 2 })
    await complete(engine, another(20), { routed_dp_rank: 1 })
    expect(engine.state(1).received).toBe(1)
    await complete(engine, another(20), { routed_dp_rank: 1 }, { "X-Data-Parallel-Rank": "0" })
    expect([engine.state(0).received, engine.state().rankNamed]).toEqual([1, 2])
    for (const rank of ["first", "2", "-1"]) {
      const response = await post(engine, "/v1/completions", { prompt: "Hi" }, { "X-Data-Parallel-Rank": rank })
      expect([response.status, ((await response.json()) as { object: string }).object]).toEqual([400, "error"])
    }
  })

  it("that are not named get what has the least to do", async () => {
    const engine = await start({ ranks: 2, maxModelLen: 1000 })
    engine.setFaults({ stallMs: 60_000 })
    const asked = [1, 2, 3, 4].map(() => post(engine, "/v1/completions", { prompt: another(20), ...busy }))
    const responses = await Promise.all(asked)
    expect([engine.state(0).received, engine.state(1).received]).toEqual([2, 2])
    await Promise.all(responses.map((response) => response.body!.cancel()))
  })

  it("keep their ports over a restart", async () => {
    const engine = await start({ ranks: 3 })
    const before = engine.eventSources
    await engine.restart()
    expect(engine.eventSources).toEqual(before)
    await engine.restart(true)
    expect(engine.eventSources).not.toEqual(before)
  })
})

describe("priorities", () => {
  const order = async (options: Parameters<typeof start>[0]): Promise<string> => {
    const engine = await start({ ...options, maxRunning: 1, priorityScheduling: true })
    const done: Array<string> = []
    engine.setFaults({ stallMs: 1500 })
    const first = complete(engine, another(20), { max_tokens: 20, ignore_eos: true })
    await vi.waitFor(() => expect(engine.state().received).toBe(1), soon)
    const asked: Array<Promise<unknown>> = []
    for (const [i, priority] of [0, 7, -7].entries()) {
      asked.push(complete(engine, another(20), { priority }).then(() => done.push(String(priority))))
      await vi.waitFor(() => expect(engine.state().received).toBe(i + 2), soon)
    }
    await Promise.all([first, ...asked])
    return done.join(" ")
  }

  it("go the lowest first with vLLM, the highest with SGLang, unless told otherwise", async () => {
    const orders = [order({}), order({ dialect: "sglang" }), order({ dialect: "sglang", lowPriorityFirst: true })]
    expect(await Promise.all(orders)).toEqual(["-7 0 7", "7 0 -7", "-7 0 7"])
  })
})

describe("usage", () => {
  it("leaves out what was cached when told to, streamed or whole", async () => {
    const engine = await start({ reportCached: false })
    const prompt = another(40)
    const body = { prompt, max_tokens: 1 }
    await complete(engine, prompt)
    const whole = await json(post(engine, "/v1/completions", body))
    expect(whole["usage"]).toEqual({
      prompt_tokens: 40,
      completion_tokens: 1,
      total_tokens: 41,
      prompt_tokens_details: null
    })
    const asked = { ...body, stream: true, stream_options: { include_usage: true } }
    expect(await (await post(engine, "/v1/completions", asked)).text()).toContain('"prompt_tokens_details":null')
    const silent = await (await post(engine, "/v1/completions", { ...body, stream: true })).text()
    expect(silent).not.toContain("usage")
    expect(engine.state().cachedTokens).toBe(96)
  })
})
