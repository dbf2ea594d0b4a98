import { describe, expect, it } from "vitest"
import * as Dialect from "../../src/http/Dialect.ts"
import * as OpenAi from "../../src/http/OpenAi.ts"
import { facts } from "./RequestPath.ts"

const chat = (rest: string): string => `{"model":"m", "messages":[{"role":"user","content":"1.0"}]${rest}}`

type Order = "lowFirst" | "highFirst" | null

/** The body a worker gets for one that came. */
const sent = (text: string, engine: string, order: Order = null, clients: Order = order): string => {
  const bytes = Buffer.from(text)
  const parsed = OpenAi.parse("chat", "r", bytes)
  if (!parsed.ok) throw new Error(parsed.error._tag)
  return Dialect.body(bytes, parsed.request, { engine, priorityOrder: order }, clients).toString()
}

describe("Usage the client did not ask for", () => {
  const bare = chat(', "stream":true , "temperature":1.0')
  it("is asked for in front of all that came, which stays byte for byte", () => {
    for (const engine of ["vllm", "sglang", "trtllm"]) {
      expect(sent(bare, engine)).toBe(bare.replace("{", '{"stream_options":{"include_usage":true},'))
    }
  })
  it("is asked for where the client said no", () => {
    for (const [options, expected] of [
      ["null", '{"include_usage":true}'],
      ['{ "include_usage" : false }', '{ "include_usage" : true }'],
      ['{"include_usage":null,"x":1.0}', '{"include_usage":true,"x":1.0}'],
      ['{"include_usage":false,"continuous_usage_stats":true}', '{"include_usage":true,"continuous_usage_stats":false}']
    ]) {
      expect(sent(chat(`,"stream":true,"stream_options": ${options}`), "vllm")).toBe(
        chat(`,"stream":true,"stream_options": ${expected}`)
      )
    }
  })
  it("is not added where it was asked for, where it comes anyway, and where the options are the engine's to judge", () => {
    for (const rest of [
      "",
      ',"stream":false,"stream_options":null',
      ',"stream":true,"stream_options":{"include_usage":true}',
      ',"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}',
      ',"stream":true,"stream_options":{}',
      ',"stream":true,"stream_options":7',
      ',"stream":true,"stream_options":[]'
    ]) {
      expect(sent(chat(rest), "vllm")).toBe(chat(rest))
    }
  })
  it("is not asked of an engine nobody knows", () => {
    expect(sent(bare, "unknown")).toBe(bare)
  })
})

describe("The order of priorities", () => {
  const workers = (...orders: ReadonlyArray<"lowFirst" | "highFirst" | null>) => {
    const all = orders.map((priorityOrder) => ({ facts: { ...facts, priorityOrder } }))
    return Dialect.orderOf((slot) => all[slot], 8, "m")
  }
  it("is that of the workers that serve the model, and lower first where they have both", () => {
    expect([
      workers("lowFirst", null, "highFirst"),
      workers("highFirst", "lowFirst"),
      workers("lowFirst", "lowFirst"),
      workers("highFirst", null),
      workers(null)
    ]).toEqual(["lowFirst", "lowFirst", "lowFirst", "highFirst", null])
  })
  it("is not that of a worker that serves another model", () => {
    const models = [{ id: "other", parent: null, root: null, maxModelLen: null }]
    const all = [
      { facts: { ...facts, models, priorityOrder: "lowFirst" as const } },
      { facts: { ...facts, priorityOrder: "highFirst" as const } }
    ]
    expect(Dialect.orderOf((slot) => all[slot], 2, "m")).toBe("highFirst")
  })
  it("is lower first for the placement, whatever it is for clients", () => {
    expect([
      Dialect.lowFirst(3, "highFirst"),
      Dialect.lowFirst(3, "lowFirst"),
      Dialect.lowFirst(3, null),
      Dialect.lowFirst(0, "highFirst"),
      Dialect.lowFirst(null, "highFirst")
    ]).toEqual([-3, 3, 3, 0, null])
  })
  it("is turned for those that take the highest first, where it is mixed", () => {
    for (const [was, turned] of [
      ["5", "-5"],
      ["-5", "5"],
      ["0", "0"],
      ["-0", "0"],
      ["123456789012345678901", "-123456789012345678901"],
      ["5.0", "-5.0"],
      ["-1e2", "1e2"]
    ]) {
      const text = chat(`, "priority" : ${was}`)
      expect(sent(text, "sglang", "highFirst", "lowFirst")).toBe(chat(`, "priority" : ${turned}`))
      expect(sent(text, "vllm", "lowFirst", "lowFirst")).toBe(text)
      expect(sent(text, "sglang", "highFirst", "highFirst")).toBe(text)
    }
  })
  it("is left alone when it is no number, and inside messages", () => {
    for (const rest of [',"priority":"5"', ',"priority":null', ',"x":{"priority":5}']) {
      expect(sent(chat(rest), "sglang", "highFirst", "lowFirst")).toBe(chat(rest))
    }
  })
})
