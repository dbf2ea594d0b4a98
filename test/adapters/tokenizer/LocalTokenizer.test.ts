import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { brotliCompressSync, constants } from "node:zlib"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as LocalTokenizer from "../../../src/adapters/tokenizer/LocalTokenizer.ts"
import type { ChatBody, Prompt } from "../../../src/domain/Request.ts"
import { tinyTokenizer } from "../../support/TinyTokenizer.ts"
import { dirOf, names, oracleOf, random, randomText } from "../../support/Tokenizers.ts"

const root = mkdtempSync(join(tmpdir(), "warmpath-tokenizer-"))
const opened: Array<LocalTokenizer.LocalTokenizer> = []
afterAll(async () => {
  await Promise.all(opened.map((each) => each.close()))
  rmSync(root, { recursive: true })
})

const open = async (dir: string, options: Partial<LocalTokenizer.Options> = {}) => {
  const tokenizer = await LocalTokenizer.load(dir, options)
  opened.push(tokenizer)
  return tokenizer
}

/** A folder with these files; values that are no text or bytes are written as JSON. */
const folder = (name: string, files: Record<string, unknown>): string => {
  const dir = join(root, name)
  mkdirSync(dir)
  for (const [file, content] of Object.entries(files)) {
    const raw = typeof content === "string" || Buffer.isBuffer(content)
    writeFileSync(join(dir, file), raw ? content : JSON.stringify(content))
  }
  return dir
}

const chat = (body: ChatBody): Prompt => ({ _tag: "Messages", body })
const user = (content: string) => ({ role: "user", content })

describe.each(names)("LocalTokenizer of %s", (name) => {
  let cached: LocalTokenizer.LocalTokenizer
  beforeAll(async () => {
    cached = await open(dirOf(name), { inlineCharsMax: 200, cacheBytesMax: 200_000 })
  })

  it("gives the same ids from the cache, in part or in whole, as without one", async () => {
    const oracle = oracleOf(name)
    const next = random(7)
    const texts: Array<string> = []
    // Texts that grow at the end and restart now and then: what conversations do to the cache.
    for (let text = "", i = 0; i < 250; i++) {
      text = next() < 0.1 ? "" : text
      text += randomText(next, 30)
      texts.push(text)
    }
    const expected = await oracle(texts, false)
    let later = 0
    for (const [i, text] of texts.entries()) {
      const answer = cached.encodeText(text, false)
      if (answer instanceof Promise) later++
      const ids = await answer
      if (ids?.join() !== expected[i]!.join()) expect([...(ids ?? [])], JSON.stringify(text)).toEqual(expected[i])
      expect(cached.stats().cacheBytes).toBeLessThanOrEqual(200_000)
    }
    // Both ways were taken: at once on the event loop, and by the thread.
    expect(later).toBeGreaterThan(10)
    expect(later).toBeLessThan(240)
  })
})

describe("LocalTokenizer", () => {
  let qwen: LocalTokenizer.LocalTokenizer
  beforeAll(async () => {
    qwen = await open(dirOf("qwen3"))
  })

  it("renders and encodes chats, completions and token ids", async () => {
    const oracle = oracleOf("qwen3")
    const rendered = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    expect([...(await qwen.encode(chat({ messages: [user("Hi")] })))!]).toEqual((await oracle([rendered], false))[0])
    const text = await qwen.encode({ _tag: "Text", text: "Hi there", addSpecialTokens: true })
    expect([...text!]).toEqual((await oracle(["Hi there"], true))[0])
    const ids = Uint32Array.of(1, 2, 3)
    expect(qwen.encode({ _tag: "Tokens", ids })).toBe(ids)
  })

  it("has no answer for media, or for numbers that parsing changed", () => {
    const image = { type: "image_url", image_url: { url: "data:," } }
    expect(qwen.encode(chat({ messages: [{ role: "user", content: [image] }] }))).toBe(null)
    expect(qwen.encode({ _tag: "Messages", body: { messages: [user("Hi")] }, lossyNumbers: true })).toBe(null)
  })

  it("puts BOS before a completion, and before a chat only when asked", async () => {
    const llama = await open(dirOf("llama3_1"))
    const completion = await llama.encode({ _tag: "Text", text: "Hi", addSpecialTokens: true })
    expect(completion?.[0]).toBe(128_000)
    const body = { messages: [user("Hi")] }
    const plain = (await llama.encode(chat(body)))!
    const added = (await llama.encode(chat({ ...body, add_special_tokens: true })))!
    expect([...added]).toEqual([128_000, ...plain])
  })

  it("answers at once while little is new, and later when much is", async () => {
    const long = "lorem ipsum ".repeat(5_000)
    const body = { messages: [user(long), { role: "assistant", content: "ok" }, user("next")] }
    const first = qwen.encode(chat(body))
    expect(first).toBeInstanceOf(Promise)
    const again = qwen.encode(chat(body))
    const ids = await first
    expect(await again).toEqual(ids)
    const grown = qwen.encode(
      chat({ messages: [...body.messages, { role: "assistant", content: "ok" }, user("more")] })
    )
    expect(grown).toBeInstanceOf(Uint32Array)
    expect(qwen.encode(chat(body))).toEqual(ids)
  })

  it("encodes a prompt once when many ask for it at the same time", async () => {
    const before = qwen.stats().cacheEntries
    const text = "siblings share this ".repeat(4_000)
    const answers = await Promise.all(Array.from({ length: 20 }, () => qwen.encodeText(text, false)))
    for (const ids of answers) expect(ids).toEqual(answers[0])
    expect(qwen.stats().cacheEntries).toBe(before + 1)
    expect(qwen.stats().waitingChars).toBe(0)
  })

  it("reads a Brotli-compressed tokenizer and a template file", async () => {
    const compressed = brotliCompressSync(Buffer.from(JSON.stringify(tinyTokenizer())), {
      params: { [constants.BROTLI_PARAM_QUALITY]: 4 }
    })
    const dir = folder("brotli", {
      "tokenizer.json.br": compressed,
      "chat_template.jinja": "{{ messages[0].content }}"
    })
    const tokenizer = await open(dir)
    expect(await tokenizer.encode(chat({ messages: [user("abc ab")] }))).toEqual(Uint32Array.of(257, 32, 256))
    expect(tokenizer.libraryBecause).toBe(null)
  })

  it("gives other kinds of tokenizers to the general library", async () => {
    const vocab = [
      ["<unk>", 0],
      ["▁a", -1],
      ["b", -2],
      ["▁", -3]
    ]
    const unigram = {
      ...tinyTokenizer(),
      pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
      decoder: null,
      model: { type: "Unigram", unk_id: 0, vocab }
    }
    const tokenizer = await open(folder("unigram", { "tokenizer.json": unigram }))
    expect(tokenizer.libraryBecause).toBe("its model is Unigram, not BPE")
    expect(tokenizer.render({ messages: [user("ab")] })).toBe(null)
    const first = tokenizer.encodeText("ab a", false)
    expect(first).toBeInstanceOf(Promise)
    expect(await first).toEqual(Uint32Array.of(1, 2, 1))
    expect(tokenizer.encodeText("ab a", false)).toEqual(Uint32Array.of(1, 2, 1))
  })

  it("says what is wrong with a folder", async () => {
    await expect(LocalTokenizer.load(folder("empty", {}))).rejects.toThrow(/holds no tokenizer\.json\. Give the folder/)
    await expect(LocalTokenizer.load(folder("broken", { "tokenizer.json": "{" }))).rejects.toThrow(
      /tokenizer\.json is no JSON/
    )
  })

  it("refuses what its queue has no room for, and goes on", async () => {
    const tokenizer = await open(folder("queue", { "tokenizer.json": tinyTokenizer() }), { queueCharsMax: 50_000 })
    const long = "x ".repeat(20_000)
    const taken = tokenizer.encodeText(long, false)
    expect(await tokenizer.encodeText(`y${long}`, false)).toBe(null)
    expect((await taken)?.length).toBe(40_000)
    expect(tokenizer.stats()).toMatchObject({ refused: 1, waitingChars: 0 })
    expect((await tokenizer.encodeText(`y${long}`, false))?.length).toBe(40_001)
  })

  it("answers null when the thread dies, and starts another", async () => {
    const dir = folder("crash", { "tokenizer.json": tinyTokenizer() })
    const tokenizer = await open(dir, { deadlineMs: 0 })
    // Far more work than fits into the millisecond that a timer of 0 takes.
    const text = "z".repeat(8_000_000)
    expect(await tokenizer.encodeText(text, false)).toBe(null)
    expect(tokenizer.stats()).toMatchObject({ crashes: 1, waitingChars: 0 })
    expect(await tokenizer.encodeText(text, false)).toBe(null)
    expect(tokenizer.stats().crashes).toBe(2)
    expect(tokenizer.encodeText("abc", false)).toEqual(Uint32Array.of(257))
  })

  it("answers null once closed, also to those who wait", async () => {
    const dir = folder("closed", {})
    for (const file of ["tokenizer.json", "tokenizer_config.json"])
      copyFileSync(join(dirOf("qwen3"), file), join(dir, file))
    expect(readFileSync(join(dir, "tokenizer_config.json")).length).toBeGreaterThan(100)
    const tokenizer = await LocalTokenizer.load(dir)
    const waiting = tokenizer.encodeText("q".repeat(1_000_000), false)
    await tokenizer.close()
    expect(await waiting).toBe(null)
    expect(await tokenizer.encodeText("r".repeat(100_000), false)).toBe(null)
  })
})
