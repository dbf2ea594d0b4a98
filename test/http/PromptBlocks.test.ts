import { describe, expect, it } from "vitest"
import * as EngineTokenizer from "../../src/adapters/tokenizer/EngineTokenizer.ts"
import type { ChatBody } from "../../src/domain/Request.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import * as PromptBlocks from "../../src/http/PromptBlocks.ts"
import type { Tokenizer } from "../../src/ports/Tokenizer.ts"

const hasher = BlockHash.make(0n)
const space = { model: "m", lora: null, salt: null }

/** An engine that answers `/tokenize` for anything, as vLLM does: one placeholder for every picture. */
const asking = (): Tokenizer =>
  EngineTokenizer.make({
    engine: { tokenize: async () => Uint32Array.from({ length: 64 }, (_, i) => i) },
    model: "m",
    url: () => "http://w",
    deadlineMs: 5_000,
    concurrencyMax: 2,
    cacheBytesMax: 10_000
  })

const hash = async (messages: ChatBody["messages"], tokenizer: Tokenizer | null = asking()) => {
  const hashed = await PromptBlocks.hash(hasher, tokenizer, [{ _tag: "Messages", body: { messages } }], space)
  const { keys } = hashed.keysFor(16)[0]!
  return { ...hashed, keys: Array.from({ length: keys.length >> 1 }, (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`) }
}

const text = (of: string) => ({ type: "text", text: of })
const picture = (base64: string) => ({ type: "image_url", image_url: { url: `data:image/png;base64,${base64}` } })
const sound = (data: string) => ({ type: "input_audio", input_audio: { data, format: "wav" } })
const system = { role: "system", content: "You look at pictures. ".repeat(60) }
const ask = (...content: ReadonlyArray<unknown>) => [system, { role: "user", content }]
const after = "What do you see? ".repeat(200)

describe("A prompt with a picture in it", () => {
  it("is told from one with another picture from that message on, and shares all that came before", async () => {
    for (const part of [picture, sound, (url: string) => ({ type: "image_url", image_url: { url } })]) {
      const [one, other, again] = await Promise.all(
        ["AAAA", "AAAB", "AAAA"].map((data) => hash(ask(part(data), text(after))))
      )
      expect([one!.exact, one!.keys]).toEqual([false, again!.keys])
      const shared = one!.keys.findIndex((key, i) => key !== other!.keys[i])
      // Blocks of the system message, up to the one in which the next message begins.
      const before = Math.floor(JSON.stringify(["null", system]).length / 64)
      expect(Math.abs(shared - before)).toBeLessThanOrEqual(1)
      expect(one!.keys.slice(shared).some((key) => other!.keys.includes(key))).toBe(false)
      expect(one!.keys.length - shared).toBeGreaterThan(after.length / 64)
    }
  })
  it("is not taken for the same prompt without it", async () => {
    const [plain, seen] = await Promise.all([hash(ask(text(after)), null), hash(ask(picture("AAAA"), text(after)))])
    const shared = plain.keys.filter((key) => seen.keys.includes(key)).length
    expect(shared).toBeGreaterThan(0)
    expect(shared).toBeLessThan(plain.keys.length - after.length / 64 + 1)
  })
  it("weighs about what the picture is to the model, not what its bytes are as text", async () => {
    const words = (await hash(ask(text(after)), null)).promptTokens
    const { promptTokens } = await hash(ask(picture("A".repeat(2_000_000)), text(after)))
    expect(promptTokens - words).toBeGreaterThan(500)
    expect(promptTokens - words).toBeLessThan(2_000)
  })
  it("is hashed by its tokens as soon as there is none in it", async () => {
    expect((await hash(ask(text(after)))).exact).toBe(true)
  })
})

describe("A prompt longer than any engine takes", () => {
  const asked: Array<string> = []
  const tokenizer: Tokenizer = {
    encode: (prompt) => {
      asked.push(prompt._tag)
      return Uint32Array.from({ length: 64 }, (_, i) => i)
    },
    close: async () => {}
  }
  const long = "a".repeat(8 * 1024 * 1024)

  it("is matched by its text, and costs the tokenizer nothing", async () => {
    const whole = await PromptBlocks.hash(
      hasher,
      tokenizer,
      [
        { _tag: "Text", text: `${long}b`, addSpecialTokens: false },
        { _tag: "Messages", body: { messages: [system, { role: "user", content: [text(long)] }] } }
      ],
      space
    )
    expect([whole.exact, asked]).toEqual([false, []])
    expect(whole.keysFor(16)[0]!.count).toBeGreaterThan(100_000)
  })

  it("is tokenised up to there", async () => {
    const { exact } = await PromptBlocks.hash(
      hasher,
      tokenizer,
      [{ _tag: "Text", text: long, addSpecialTokens: false }],
      space
    )
    expect([exact, asked]).toEqual([true, ["Text"]])
  })
})
