import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Engines from "../../../src/adapters/Engines.ts"
import type { Engine } from "../../../src/ports/Engine.ts"
import * as ScriptedServer from "../../support/ScriptedServer.ts"

const metrics = `# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{engine_type="pytorch",model_name="qwen3-8b",pid="11"} 6.0
trtllm_num_requests_waiting{engine_type="pytorch",model_name="qwen3-8b",pid="11"} 2.0
trtllm_kv_cache_utilization{engine_type="pytorch",model_name="qwen3-8b",pid="11"} 0.625
trtllm_kv_cache_tokens_per_block{engine_type="pytorch",model_name="qwen3-8b",pid="11"} 32.0
trtllm_kv_cache_tokens_per_block{engine_type="pytorch",model_name="qwen3-8b",pid="12"} 0.0
trtllm_kv_cache_max_blocks{engine_type="pytorch",model_name="qwen3-8b",pid="11"} 8192.0
`

let server: Awaited<ReturnType<typeof ScriptedServer.make>>
let engines: Engines.Engines
let engine: Engine
const soon = () => AbortSignal.timeout(20_000)

beforeEach(async () => {
  server = await ScriptedServer.make({
    "GET /health": () => ({ body: "" }),
    "GET /v1/models": () => ({
      body: '{"object":"list","data":[{"id":"qwen3-8b","object":"model","created":1790000000,"owned_by":"tensorrt_llm"}]}'
    }),
    "GET /prometheus/metrics": () => ({ body: metrics })
  })
  engines = Engines.make()
  engine = await engines.detect(server, soon())
})
afterEach(async () => {
  await engines.close()
  await server.close()
})

describe("TensorRT-LLM over HTTP", () => {
  it("is known by the owner of its models, and tells its blocks and its load in its metrics", async () => {
    expect(await engine.discover(server.url, soon())).toEqual({
      engine: "trtllm",
      models: [{ id: "qwen3-8b", parent: null, root: null, maxModelLen: null }],
      blockSize: 32,
      blockCount: 8_192,
      eventSources: [],
      ranks: [],
      priorityOrder: null,
      unsetPriority: null,
      tokenizes: false,
      startedAtMs: null
    })
    expect(await engine.load(server.url, soon())).toEqual({ running: 6, waiting: 2, kvUsage: 0.625, ranks: new Map() })
  })

  it("takes a hub name for the place where the model's files came from", async () => {
    server.scripts["GET /v1/models"] = () => ({
      body: '{"object":"list","data":[{"id":"Qwen/Qwen3-8B","owned_by":"tensorrt_llm"}]}'
    })
    expect((await engine.discover(server.url, soon())).models[0]!.root).toBe("Qwen/Qwen3-8B")
  })

  it("joins without performance metrics, and is not called idle for it", async () => {
    delete server.scripts["GET /prometheus/metrics"]
    expect(await engine.discover(server.url, soon())).toMatchObject({ blockSize: null, blockCount: null })
    expect(await engine.load(server.url, soon())).toMatchObject({ running: null, waiting: null, kvUsage: null })
  })

  it("never reads what only one reader gets", async () => {
    await engine.discover(server.url, soon())
    await engine.load(server.url, soon())
    const drained = server.asked.filter(({ path }) => /kv_cache_events| \/metrics/.test(path))
    expect(drained).toEqual([])
  })

  it("is well when it says so, and shows a token where its version can", async () => {
    expect(await engine.healthy(server.url, soon(), true)).toBe(true)
    server.scripts["GET /health_generate"] = () => ({ status: 500, body: "" })
    expect(await engine.healthy(server.url, soon(), true)).toBe(false)
    expect(await engine.healthy(server.url, soon(), false)).toBe(true)
  })
})
