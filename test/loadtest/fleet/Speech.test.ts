import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import * as Model from "../../../loadtest/fleet/Model.ts"
import * as Speech from "../../../loadtest/fleet/Speech.ts"
import { llama31, qwen3 } from "../../support/SimModel.ts"

const want = { seed: 1, min: 0, mean: 60, max: 10_000, ignoreEos: false }
const question = "Which routers keep the longest prefix of a conversation warm, and why does it matter to readers?"

describe("Model", () => {
  it("gives a chat its ids segment by segment as it would whole", async () => {
    const files = JSON.parse(readFileSync(`${qwen3}/tokenizer.json`, "utf8")) as Model.Json
    const config = JSON.parse(readFileSync(`${qwen3}/tokenizer_config.json`, "utf8")) as Model.Json
    const model = Model.make("here", files, config)
    // One added token that strips its surroundings makes the whole tokenizer unfit for cutting.
    const spoilt = { id: 151_999, content: "<never>", lstrip: true, rstrip: false, normalized: false, special: true }
    const added = files["added_tokens"] as ReadonlyArray<unknown>
    const whole = Model.make("here", { ...files, added_tokens: [...added, spoilt] }, config)
    const messages: Array<Model.Json> = [
      { role: "system", content: "Sei hilfsbereit. 東京 🙂\r\n\t<|im_start|> in the text" }
    ]
    for (let turn = 0; turn < 12; turn++) {
      messages.push({ role: "user", content: `${turn}: ${question} ${"x".repeat(turn * 7)}` })
      const text = model.render({ messages })
      expect(model.encode(text, false)).toEqual(whole.encode(text, false))
      messages.push({ role: "assistant", content: `Answer ${turn}.` })
    }
  })

  it("knows what each tokenizer puts around a text", async () => {
    const llama = await Model.load(llama31)
    expect(llama.encode("hello", true)).toEqual([128_000, ...llama.encode("hello", false)])
    const qwen = await Model.load(qwen3)
    expect(qwen.encode("hello", true)).toEqual(qwen.encode("hello", false))
  })

  it("hands a template parts as text, and tool calls with their arguments parsed", async () => {
    const model = await Model.load(qwen3)
    const messages = [
      {
        role: "user",
        content: [
          { type: "text", text: "one" },
          { type: "text", text: "two" }
        ]
      },
      { role: "assistant", content: null, tool_calls: [{ function: { name: "f", arguments: '{"a": [1]}' } }] }
    ]
    const text = model.render({ messages, tools: [{ type: "function", function: { name: "f" } }] })
    expect(text).toContain("one\ntwo<|im_end|>")
    expect(text).toContain('"arguments": {"a": [1]}')
    // As vLLM's own request model prints a tool: every declared field, in its order.
    expect(text).toContain('{"type": "function", "function": {"name": "f", "description": null, "parameters": null}}')
    expect(() => model.render({ messages: [{ role: "user", content: [{ type: "image_url" }] }] })).toThrow(/text only/)
  })

  it("reads a folder once a process", () => {
    expect(Model.load(qwen3)).toBe(Model.load(qwen3))
  })
})

describe("Speech", () => {
  it("says what tokenises to the ids it was generated with, so that a follow-up turn hits them", async () => {
    for (const folder of [qwen3, llama31]) {
      const model = await Model.load(folder)
      const speech = Speech.make(model)
      const words = new Set<string>()
      for (let i = 0; i < 40; i++) {
        const messages = [{ role: "user", content: `${question} ${i}` }]
        const prompt = model.encode(model.render({ messages }), false)
        const answer = speech.answer(prompt, want)
        expect(answer.stops).toBe(true)
        const text = answer.texts.join("")
        for (const word of text.split(" ")) words.add(word)
        expect(model.encode(text, false)).toEqual(answer.ids.slice(0, -1))
        const next = [...messages, { role: "assistant", content: text }, { role: "user", content: "And then?" }]
        const ids = model.encode(model.render({ messages: next }), false)
        expect(ids.slice(0, prompt.length + answer.ids.length)).toEqual([...prompt, ...answer.ids])
      }
      expect(words.has("routers")).toBe(true)
      expect(words.size).toBeGreaterThan(50)
    }
  })

  it("says the same for the same prompt and seed, and something else for another", async () => {
    const speech = Speech.make(await Model.load(qwen3))
    expect(speech.answer([1, 2, 3], want)).toEqual(speech.answer([1, 2, 3], want))
    expect(speech.answer([1, 2, 3], want)).not.toEqual(speech.answer([1, 2, 4], want))
    expect(speech.answer([1, 2, 3], want)).not.toEqual(speech.answer([1, 2, 3], { ...want, seed: 2 }))
  })

  it("stops at the limit without an end token, at the limit exactly when it must not end, and never below the least", async () => {
    const speech = Speech.make(await Model.load(qwen3))
    for (let i = 0; i < 50; i++) {
      const short = speech.answer([i], { ...want, max: 3 })
      expect(short.ids.length).toBeLessThanOrEqual(3)
      expect(speech.answer([i], { ...want, max: 1 })).toMatchObject({ stops: false })
      expect(speech.answer([i], { ...want, max: 333, ignoreEos: true }).ids).toHaveLength(333)
      expect(speech.answer([i], { ...want, mean: 2, min: 20 }).ids.length).toBeGreaterThan(20)
    }
  })
})
