/**
 * Tokenising a growing conversation (Qwen3, tools, real source text): a turn more, with and without the segment cache,
 * beside the general libraries on the same text. CPU milliseconds of the whole process, medians of the repeats.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Tokenizer as Library } from "@huggingface/tokenizers"
import { Tokenizer as Reference } from "tokenizers"
import * as AddedTokens from "../../src/adapters/tokenizer/AddedTokens.ts"
import * as Bpe from "../../src/adapters/tokenizer/Bpe.ts"
import * as BpeModel from "../../src/adapters/tokenizer/BpeModel.ts"
import * as Files from "../../src/adapters/tokenizer/Files.ts"
import * as LocalTokenizer from "../../src/adapters/tokenizer/LocalTokenizer.ts"
import type { ChatBody } from "../../src/domain/Request.ts"
import type { Result } from "./Benches.ts"
import { type Case, median, type Options } from "./Measure.ts"

const model = fileURLToPath(new URL("../fleet/model", import.meta.url))
const sources = new URL(".", import.meta.resolve("effect/package.json"))
const turnChars = 4_000
/** New turns before their text comes again, under another number. */
const turnsNew = 1_500

/** Source text of a dependency, enough for `chars`. */
const corpus = (chars: number): string => {
  let text = ""
  const folder = new URL("src/", sources)
  for (const name of readdirSync(folder).sort()) {
    if (text.length >= chars) break
    if (name.endsWith(".ts")) text += readFileSync(new URL(name, folder), "utf8")
  }
  if (text.length < chars) throw new Error(`${folder.pathname} holds ${text.length} chars, fewer than ${chars}.`)
  return text
}

const tools = Array.from({ length: 20 }, (_, i) => ({
  type: "function",
  function: {
    name: `tool_${i}`,
    description: `Tool number ${i} reads, writes or searches files of the project.`,
    parameters: {
      type: "object",
      properties: { path: { type: "string" }, line: { type: "integer" } },
      required: ["path"]
    }
  }
}))

/** A conversation of about `chars`, in turns; `extra` turns more than that. */
const conversation = (text: string, chars: number, extra: number): ChatBody => {
  const turns = Math.floor(chars / turnChars) + extra
  const messages = Array.from({ length: turns }, (_, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content: text.slice(i * turnChars, (i + 1) * turnChars)
  }))
  return { messages, tools }
}

/** CPU milliseconds of the process, as often as `cellMs` takes, per call. */
const cpuPerCall = async (cellMs: number, work: () => unknown): Promise<number> => {
  const before = process.cpuUsage()
  for (let calls = 1; ; calls++) {
    await work()
    const { system, user } = process.cpuUsage(before)
    const ms = (user + system) / 1_000
    if (ms >= cellMs) return ms / calls
  }
}

export const run = async ({ cellMs, repeats }: Pick<Options, "cellMs" | "repeats">): Promise<Result> => {
  const isTiny = cellMs < 100
  const sizes = isTiny ? [32_000] : [32_000, 128_000, 512_000]
  const files = await Files.read(model)
  const read = BpeModel.read(files.tokenizer, files.config)
  if (!read.ok) throw new Error(read.reason)
  const local = await LocalTokenizer.load(model, { inlineCharsMax: Number.MAX_SAFE_INTEGER })
  const reference = Reference.fromString(JSON.stringify(files.tokenizer))
  const library = new Library(files.tokenizer, files.config)
  const split = AddedTokens.make(read.model)
  const warm = Bpe.make(read.model)
  const text = corpus(sizes.at(-1)! + turnChars * turnsNew)
  const cases: Array<Case> = []
  const add = async (name: string, measure: () => Promise<number>): Promise<void> => {
    const values: Array<number> = []
    for (let i = 0; i < repeats; i++) values.push(await measure())
    cases.push({ name, value: median(values), unit: "ms" })
  }
  let agree = true
  let compared = 0
  const full = (bpe: Bpe.Bpe, rendered: string): Array<number> =>
    split(rendered).flatMap((part) => (typeof part === "number" ? [part] : Array.from(bpe.encode(part))))

  for (const size of sizes) {
    const label = `${size / 1000}k chars`
    const body = conversation(text, size, 0)
    const rendered = local.render(body)!
    const expected = (await reference.encode(rendered, null, { addSpecialTokens: false })).getIds().join()
    const ours = await local.encodeText(rendered, false)
    const theirs = library.encode(rendered, { add_special_tokens: false }).ids
    for (const ids of [ours?.join(), full(warm, rendered).join(), theirs.join()]) agree = agree && ids === expected
    compared += 3
    let turn = 0
    // Every call is the conversation with one turn it has not had yet.
    const grown = (): string => local.render({ ...body, messages: [...body.messages, ...nextTurn()] })!
    const nextTurn = () => {
      const from = size + (turn++ % turnsNew) * turnChars
      return [{ role: "user", content: `${turn} ${text.slice(from, from + turnChars)}` }]
    }
    await add(`render, ${label}`, () => cpuPerCall(cellMs, grown))
    await add(`a turn more, cached, ${label}`, () => cpuPerCall(cellMs, () => local.encodeText(grown(), false)))
    await add(`all again, pieces known, ${label}`, () =>
      cpuPerCall(cellMs, () => {
        for (const part of split(rendered)) if (typeof part === "string") warm.encode(part)
      })
    )
    await add(`all at first sight, ${label}`, () =>
      cpuPerCall(cellMs, () => {
        const cold = Bpe.make(read.model)
        for (const part of split(rendered)) if (typeof part === "string") cold.encode(part)
      })
    )
    await add(`tokenizers (Rust), ${label}`, () =>
      cpuPerCall(cellMs, async () => (await reference.encode(rendered, null, { addSpecialTokens: false })).getIds())
    )
    await add(`@huggingface/tokenizers, ${label}`, () =>
      cpuPerCall(cellMs, () => library.encode(rendered, { add_special_tokens: false }).ids)
    )
  }
  await local.close()
  return { cases, agree, compared }
}
