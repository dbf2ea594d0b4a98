import { assert, describe, it } from "@effect/vitest"
import * as EngineMetrics from "../../../loadtest/client/EngineMetrics.ts"

const text = `# HELP vllm:num_requests_running Requests running.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b"} 3.0
vllm:num_requests_waiting{engine="0",model_name="a b"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:prefix_cache_queries_total{engine="0"} 1000.0 1700000000000
vllm:prefix_cache_queries_created{engine="0"} 1.7e+09
vllm:prefix_cache_hits_total 4e2
vllm:request_success_total{finished_reason="stop"} 5.0
vllm:request_success_total{finished_reason="length"} 7.0
`

describe("EngineMetrics", () => {
  it("reads gauges and counters, adds up label sets, and keeps names that begin alike apart", () => {
    assert.deepStrictEqual(EngineMetrics.parse(text), {
      running: 3,
      waiting: 2,
      requests: 12,
      promptTokens: 1_000,
      cachedTokens: 400,
      kvUsage: 0.25
    })
  })
  it("does not take a missing usage for an empty cache", () => {
    assert.isNull(EngineMetrics.parse("").kvUsage)
    assert.strictEqual(EngineMetrics.parse("").running, 0)
  })
})
