import { describe, expect, it } from "vitest"
import * as AddedTokens from "../../../src/adapters/tokenizer/AddedTokens.ts"
import * as Bpe from "../../../src/adapters/tokenizer/Bpe.ts"
import * as BpeModel from "../../../src/adapters/tokenizer/BpeModel.ts"
import { configOf, names, oracleOf, random, randomText, tokenizerOf } from "../../support/Tokenizers.ts"

const corpus: ReadonlyArray<readonly [string, string]> = [
  ["nothing", ""],
  ["prose", "The quick brown fox, born in 1984, can't (won't!) jump over 12,345.67 lazy dogs — isn't THAT'S odd?"],
  [
    "code",
    "export const f = <A>(x: A) => {\n\tif (x !== null) {\n    return `x\\n`\n  }\n}\n\n\n// end\r\n#include <a.h>\r\n"
  ],
  [
    "a tool list",
    '<tools>\n{"type": "function", "function": {"name": "f", "description": null, "parameters": {}}}\n</tools>'
  ],
  [
    "a Qwen chat",
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
  ],
  ["a Llama chat", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"],
  [
    "a DeepSeek chat",
    "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi<｜Assistant｜>Hello<｜end▁of▁sentence｜><｜tool▁calls▁begin｜>"
  ],
  ["special tokens inside words", "a<|im_end|>b<|im_end|><|im_end|> <|im_end <|eot_id|>|> <｜User｜｜>"],
  ["CJK", "東京都の天気は？私はガラスを食べられます。 我能吞下玻璃而不伤身体。1234年"],
  ["emoji", "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ☎️ 1️⃣"],
  ["combining marks", "e\u0301 a\u0323\u0302 \u0301x n\u0303 \u1e9b\u0323 각 ﬁ Å"],
  ["right to left", "שלום עולם مرحبا بالعالم ١٢٣"],
  ["Indic and Thai", "हिन्दी में नमस्ते สวัสดีครับ தமிழ்"],
  ["line and paragraph separators", "\u2028 \u2029 a\u2028b\u2029\u2028c !\u2028d \u2028\u2028e 1\u20282 \u2028"],
  ["other white space", "a\u0085b \u0085\u00a0c\ufeffd \ufeff\u200be\u3000\u3000f\v\f\u001c g"],
  ["white space runs", "a  b   c\t\td \n e \n\n\n f    \n    g\r\n\r\n  h     "],
  ["contractions", "I'M he'LL 'tis don't' 's 'S 'ſ 'Re're' ''d"],
  ["NUL and controls", "\0\0a\x01\x1b[31m\x7f"],
  ["lone surrogates", "\ud800a \udc00 b\ud83d c"],
  ["numbers", "1 12 123 1234 12345 1.5e-10 0x1F ½ Ⅷ ① ٣"],
  ["punctuation", "!?.,;:'\"()[]{}<>/\\|@#$%^&*_-+=~` …—“”«»¿"]
]

/** One word each: what a quadratic encoder would choke on. */
const long: ReadonlyArray<readonly [string, string]> = [
  ["one letter", "a".repeat(100_000)],
  ["spaces", " ".repeat(100_000)],
  ["spaces before a letter", `${" ".repeat(100_000)}x`],
  ["line ends", "\n".repeat(100_000)],
  ["ideographs", "语言模型".repeat(25_000)],
  ["emoji", "😀".repeat(25_000)],
  ["punctuation", "!?".repeat(50_000)],
  [
    "no repetition",
    Array.from({ length: 100_000 }, (_, i) => String.fromCharCode(97 + ((i * i + (i >> 3)) % 26))).join("")
  ]
]

describe.each(names)("Bpe of %s", (name) => {
  const read = BpeModel.read(tokenizerOf(name), configOf(name))
  if (!read.ok) throw new Error(read.reason)
  const split = AddedTokens.make(read.model)
  const bpe = Bpe.make(read.model)
  const oracle = oracleOf(name)
  const encode = (text: string): Array<number> =>
    split(text).flatMap((part) => (typeof part === "number" ? [part] : [...bpe.encode(part)]))

  it.each(corpus)("encodes %s as the reference library does", async (_, text) => {
    expect(encode(text)).toEqual((await oracle([text], false))[0])
  })

  it.each(long)("encodes a word of 100 000 chars, %s, as the reference library does", async (_, text) => {
    expect(encode(text)).toEqual((await oracle([text], false))[0])
  })

  it("encodes 3 000 random texts as the reference library does", async () => {
    const next = random(20_261_121)
    const texts = Array.from({ length: 3000 }, () => randomText(next, 24))
    const expected = await oracle(texts, false)
    for (const [i, text] of texts.entries()) {
      // Joined first: comparing arrays element by element costs more than encoding them.
      if (encode(text).join() !== expected[i]!.join()) expect(encode(text), JSON.stringify(text)).toEqual(expected[i])
    }
  })

  it("puts the special tokens of a whole text where the engine puts them", async () => {
    const around = [...read.model.before, ...encode("hi"), ...read.model.after]
    // Transformers builds DeepSeek's from the config (add_bos_token), so tokenizer.json alone does not know it.
    expect(around).toEqual(name === "deepseek_v3" ? [0, ...encode("hi")] : (await oracle(["hi"], true))[0])
  })
})
