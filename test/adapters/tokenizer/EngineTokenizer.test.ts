import { describe, expect, it } from "vitest"
import * as EngineTokenizer from "../../../src/adapters/tokenizer/EngineTokenizer.ts"
import type { ChatBody, Prompt } from "../../../src/domain/Request.ts"
import type { Engine } from "../../../src/ports/Engine.ts"

type Tokenize = Engine["tokenize"]

const text = (content: string): Prompt => ({ _tag: "Text", text: content, addSpecialTokens: true })
const chat = (body: Partial<ChatBody>, lossyNumbers = false): Prompt => ({
  _tag: "Messages",
  body: { messages: [{ role: "user", content: "hi" }], ...body },
  lossyNumbers
})

const make = (tokenize: Tokenize, more: Partial<EngineTokenizer.Options> = {}) => {
  const asked: Array<Prompt> = []
  const engine = {
    tokenize: (...question: Parameters<Tokenize>) => {
      asked.push(question[2])
      return tokenize(...question)
    }
  }
  const options = {
    engine,
    model: "m",
    url: () => "http://w",
    deadlineMs: 5_000,
    concurrencyMax: 2,
    cacheBytesMax: 10_000
  }
  return { asked, tokenizer: EngineTokenizer.make({ ...options, ...more }) }
}

const never: Tokenize = () => new Promise(() => {})
const ids = Uint32Array.of(1, 2)

describe("EngineTokenizer", () => {
  it("asks the engine once for a prompt, and once for those in flight", async () => {
    const { asked, tokenizer } = make(async () => ids)
    const both = [tokenizer.encode(text("a")), tokenizer.encode(text("a"))]
    expect(await Promise.all(both)).toEqual([ids, ids])
    expect(tokenizer.encode(text("a"))).toEqual(ids)
    expect(asked.length).toBe(1)
  })

  it("does not ask for a prompt with a picture or a sound in it, whose ids would not tell it from another", () => {
    const { asked, tokenizer } = make(async () => ids, { concurrencyMax: 4 })
    for (const part of [
      { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
      { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
      { image_url: "http://x/y.png" }
    ]) {
      const content = [{ type: "text", text: "What is this?" }, part]
      expect(
        tokenizer.encode(
          chat({
            messages: [
              { role: "user", content: "hi" },
              { role: "user", content }
            ]
          })
        )
      ).toBe(null)
    }
    expect(asked.length).toBe(0)
    for (const content of [
      [{ type: "text", text: "hi" }, "you"],
      [{ type: "thinking", thinking: "hm" }],
      null,
      undefined
    ]) {
      expect(tokenizer.encode(chat({ messages: [{ role: "user", content }] }))).toBeInstanceOf(Promise)
    }
    expect(asked.length).toBe(4)
  })

  it("tells prompts apart by all that enters them, and only by that", async () => {
    const { asked, tokenizer } = make(async () => ids)
    await tokenizer.encode(chat({}))
    const sampled: Partial<ChatBody> & { readonly temperature: number } = { temperature: 1 }
    await tokenizer.encode(chat(sampled))
    expect(asked.length).toBe(1)
    const changes: ReadonlyArray<Partial<ChatBody>> = [
      { tools: [] },
      { documents: [] },
      { add_generation_prompt: false },
      { continue_final_message: true },
      { add_special_tokens: true },
      { chat_template: "x" },
      { chat_template_kwargs: {} },
      { reasoning_effort: "low" },
      { tool_choice: "none" }
    ]
    for (const change of changes) await tokenizer.encode(chat(change))
    expect(asked.length).toBe(1 + changes.length)
  })

  it("remembers that the engine declined, and asks again after it failed", async () => {
    const declining = make(async () => null)
    expect(await declining.tokenizer.encode(text("a"))).toBe(null)
    expect(declining.tokenizer.encode(text("a"))).toBe(null)
    expect(declining.asked.length).toBe(1)
    const failing = make(() => Promise.reject(new Error("down")))
    expect(await failing.tokenizer.encode(text("a"))).toBe(null)
    expect(await failing.tokenizer.encode(text("a"))).toBe(null)
    expect(failing.asked.length).toBe(2)
  })

  it("has no answer beyond its concurrency, without a worker, after the deadline, or once closed", async () => {
    const { tokenizer } = make(never)
    const waiting = [tokenizer.encode(text("a")), tokenizer.encode(text("b"))]
    expect(tokenizer.encode(text("c"))).toBe(null)
    await tokenizer.close()
    expect(await Promise.all(waiting)).toEqual([null, null])
    expect(tokenizer.encode(text("d"))).toBe(null)
    expect(make(never, { url: () => null }).tokenizer.encode(text("a"))).toBe(null)
    expect(await make(never, { deadlineMs: 1 }).tokenizer.encode(text("a"))).toBe(null)
  })

  it("does not ask about a body that parsing changed", () => {
    const { asked, tokenizer } = make(async () => ids)
    expect(tokenizer.encode(chat({}, true))).toBe(null)
    expect(tokenizer.encode(chat({ tools: [{ b: 1, 7: 2 }] }))).toBe(null)
    const deep: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000))
    expect(tokenizer.encode(chat({ messages: [{ role: "user", content: deep }] }))).toBe(null)
    expect(asked.length).toBe(0)
  })

  it("forgets the oldest answers when its bytes are used up", async () => {
    const { asked, tokenizer } = make(async () => new Uint32Array(1000))
    for (const each of ["a", "b", "c", "a"]) await tokenizer.encode(text(each))
    expect(asked.length).toBe(4)
    expect(tokenizer.encode(text("c"))).toBeInstanceOf(Uint32Array)
  })

  it("gives token ids back as they are", () => {
    expect(make(never).tokenizer.encode({ _tag: "Tokens", ids })).toBe(ids)
  })
})
