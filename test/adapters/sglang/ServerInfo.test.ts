import { describe, expect, it } from "vitest"
import { read } from "../../../src/adapters/sglang/ServerInfo.ts"
import { secrets, serverInfo } from "../../support/SglangServer.ts"

const worker = "http://10.0.0.4:30000"

describe("ServerInfo.read", () => {
  it("takes out of SGLang's description what a router uses, and not one field more", () => {
    const info = read(serverInfo(), worker)
    expect(info).toStrictEqual({
      blockSize: 64,
      blockCount: 4_096,
      eventSources: [{ endpoint: "tcp://10.0.0.4:5557", replayEndpoint: null, topic: "kv-events", rank: 0 }],
      ranks: [],
      priorityOrder: "highFirst",
      unsetPriority: null,
      root: "/models/qwen3-8b-tokenizer"
    })
    for (const secret of secrets) expect(JSON.stringify(info)).not.toContain(secret)
  })

  it("takes nothing for zero that is missing or no number", () => {
    for (const odd of [null, 0, -1, 1.5, "many", {}]) {
      expect(
        read(serverInfo({ page_size: odd, max_total_num_tokens: odd, dp_size: odd, kv_events: null }), worker)
      ).toMatchObject({ blockSize: null, blockCount: null, eventSources: [], ranks: [] })
    }
    expect(read(serverInfo({ max_total_num_tokens: 0 }), worker)).toMatchObject({ blockSize: 64, blockCount: null })
    for (const body of [null, [], "x", 7]) expect(read(body, worker)).toBeNull()
  })

  it("knows what a request without a priority counts as, lower first, where the engine serves by priority", () => {
    const unset = (fields: Record<string, unknown>) => read(serverInfo(fields), worker)?.unsetPriority
    const on = { enable_priority_scheduling: true }
    const low = { ...on, schedule_low_priority_values_first: true }
    expect([unset(on), unset({ ...on, default_priority_value: null }), unset(low)]).toEqual([
      Infinity,
      Infinity,
      Infinity
    ])
    expect([unset({ ...on, default_priority_value: 5 }), unset({ ...low, default_priority_value: 5 })]).toEqual([-5, 5])
    expect(unset({ ...on, default_priority_value: 0 })).toBe(0)
    expect(unset({ default_priority_value: 5 })).toBeNull()
  })

  it("falls back on the model's own place for its tokenizer", () => {
    expect(read(serverInfo({ tokenizer_path: null }), worker)?.root).toBe("/models/qwen3-8b")
    expect(read({}, worker)?.root).toBeNull()
  })
})
