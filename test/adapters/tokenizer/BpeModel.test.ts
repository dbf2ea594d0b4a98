import { describe, expect, it } from "vitest"
import * as AddedTokens from "../../../src/adapters/tokenizer/AddedTokens.ts"
import * as Bpe from "../../../src/adapters/tokenizer/Bpe.ts"
import * as BpeModel from "../../../src/adapters/tokenizer/BpeModel.ts"
import { tinyTokenizer } from "../../support/TinyTokenizer.ts"

const tokenizer = tinyTokenizer()
const reasonOf = (changes: Record<string, unknown>, config: Record<string, unknown> = {}): string | null => {
  const read = BpeModel.read({ ...tokenizer, ...changes }, config)
  return read.ok ? null : read.reason
}
const modelOf = (changes: Record<string, unknown>, config: Record<string, unknown> = {}): BpeModel.BpeModel => {
  const read = BpeModel.read({ ...tokenizer, ...changes }, config)
  if (!read.ok) throw new Error(read.reason)
  return read.model
}
const encode = (model: BpeModel.BpeModel, text: string): Array<number> => {
  const bpe = Bpe.make(model)
  return AddedTokens.make(model)(text).flatMap((part) => (typeof part === "number" ? [part] : [...bpe.encode(part)]))
}
const added = (content: string, more: Record<string, unknown> = {}) => ({
  id: 300,
  content,
  normalized: false,
  ...more
})
const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false }

describe("BpeModel", () => {
  it("reads byte-level BPE with merges as texts or as pairs", () => {
    expect(encode(modelOf({}), "abc ab")).toEqual([257, 32, 256])
    const pairs = { ...tokenizer.model, merges: tokenizer.model.merges.map((merge) => merge.split(" ")) }
    expect(encode(modelOf({ model: pairs }), "abc ab")).toEqual([257, 32, 256])
  })

  it("takes a whole piece from the vocabulary only when told to ignore merges", () => {
    const model = { ...tokenizer.model, merges: [] }
    expect(encode(modelOf({ model }), "abc")).toEqual([97, 98, 99])
    expect(encode(modelOf({ model: { ...model, ignore_merges: true } }), "abc")).toEqual([257])
  })

  it("refuses what it would not encode exactly, and says what it met", () => {
    const model = tokenizer.model
    expect(reasonOf({ model: { type: "Unigram", vocab: [] } })).toBe("its model is Unigram, not BPE")
    expect(reasonOf({ model: { ...model, byte_fallback: true } })).toContain("byte tokens")
    expect(reasonOf({ model: { ...model, dropout: 0.1 } })).toContain("at random")
    expect(reasonOf({ model: { ...model, end_of_word_suffix: "</w>" } })).toContain("where words begin or end")
    expect(reasonOf({ model: { ...model, merges: ["a zzz"] } })).toBe("merge 0 names no known token")
    expect(reasonOf({ model: { ...model, vocab: { a: 0 } } })).toBe("it has no token for byte 0")
    expect(reasonOf({ normalizer: { type: "Lowercase" } })).toContain("Lowercase")
    expect(reasonOf({ pre_tokenizer: { type: "Metaspace" } })).toBe("it does not work on bytes")
    expect(reasonOf({ pre_tokenizer: { ...byteLevel, add_prefix_space: true } })).toContain("space before a text")
    const splitting = (part: Record<string, unknown>) => ({
      type: "Sequence",
      pretokenizers: [{ type: "Split", ...part }, byteLevel]
    })
    expect(reasonOf({ pre_tokenizer: splitting({ pattern: { Regex: "\\w+" }, behavior: "Isolated" }) })).toContain(
      "\\w+"
    )
    expect(reasonOf({ pre_tokenizer: splitting({ pattern: { Regex: "a" }, behavior: "MergedWithNext" }) })).toContain(
      "MergedWithNext"
    )
    expect(reasonOf({ post_processor: { type: "RobertaProcessing" } })).toContain("RobertaProcessing")
    expect(reasonOf({ added_tokens: [added("<x>", { single_word: true })] })).toContain("<x>")
    expect(reasonOf({ added_tokens: null, model: null })).not.toBe(null)
  })

  it("splits by every pattern in turn, each seeing only what the one before left", () => {
    const stages = [
      { type: "Split", pattern: { Regex: "\\d" }, behavior: "Isolated", invert: false },
      { type: "Split", pattern: { String: "." }, behavior: "Removed", invert: false },
      { type: "Split", pattern: { Regex: "[ab]+" }, behavior: "Removed", invert: true },
      byteLevel
    ]
    const model = modelOf({ pre_tokenizer: { type: "Sequence", pretokenizers: stages } })
    expect(encode(model, "ab1ab.cab")).toEqual([256, 256, 256])
  })

  it("finds the longest added token first, and lets it take white space only where it may", () => {
    const tokens = [
      added("<x>"),
      { ...added("<x>y"), id: 301 },
      { ...added("<l>", { lstrip: true }), id: 302 },
      { ...added("<r>", { rstrip: true }), id: 303 }
    ]
    const model = modelOf({ added_tokens: tokens })
    expect(encode(model, "a<x>y<x>a")).toEqual([97, 301, 300, 97])
    expect(encode(model, "a \n<l> a<r>\t \u0085a <x> a")).toEqual([97, 302, 32, 97, 303, 97, 32, 300, 32, 97])
  })

  it("looks for normalised tokens after the others, in normalised text", () => {
    const tokens = [added("e\u0301", { normalized: true }), { ...added("<x>"), id: 301 }]
    const model = modelOf({ added_tokens: tokens, normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }] } })
    expect(encode(model, "\u00e9a<x>e\u0301")).toEqual([300, 97, 301, 300])
  })

  it("adds the tokens that only the config knows", () => {
    const config = {
      added_tokens_decoder: { 400: { content: "<new>", lstrip: false, rstrip: false, normalized: false } }
    }
    expect(encode(modelOf({}, config), "a<new>")).toEqual([97, 400])
  })

  it("puts BOS and EOS around a text as the template or the config says", () => {
    const tokens = [added("<s>"), { ...added("</s>"), id: 301 }]
    const post_processor = {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "<s>", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "</s>", type_id: 0 } }
      ],
      special_tokens: { "<s>": { id: "<s>", ids: [300] }, "</s>": { id: "</s>", ids: [301] } }
    }
    expect(modelOf({ added_tokens: tokens, post_processor })).toMatchObject({ before: [300], after: [301] })
    const config = { tokenizer_class: "LlamaTokenizerFast", bos_token: { content: "<s>" }, eos_token: "</s>" }
    expect(modelOf({ added_tokens: tokens, post_processor }, { ...config, add_bos_token: false })).toMatchObject({
      before: [],
      after: []
    })
    expect(modelOf({ added_tokens: tokens }, { ...config, add_bos_token: true, add_eos_token: true })).toMatchObject({
      before: [300],
      after: [301]
    })
  })
})
