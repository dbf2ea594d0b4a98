/**
 * BpeModel: what `tokenizer.json` says, as flat tables and plain data that a thread can be given.
 *
 * Reads byte-level BPE and nothing else. Whatever would not come out exactly as in huggingface/tokenizers is refused
 * with the reason, and the caller falls back to a general library.
 */
import * as BpeMerge from "../../hot/BpeMerge.ts"
import * as Regex from "./Regex.ts"

type Json = Readonly<Record<string, unknown>>

/** One splitting pass: `pattern` compiles with Regex.compile. */
export interface Stage {
  readonly pattern: string
  readonly keepMatches: boolean
  readonly keepGaps: boolean
}

export interface AddedToken {
  readonly id: number
  readonly content: string
  readonly lstrip: boolean
  readonly rstrip: boolean
  /** Looked for in the normalised text, after the others were found in the text as it came. */
  readonly normalized: boolean
}

export interface BpeModel {
  readonly tables: BpeMerge.BpeTables
  readonly forms: ReadonlyArray<"NFC" | "NFD" | "NFKC" | "NFKD">
  readonly stages: ReadonlyArray<Stage>
  readonly added: ReadonlyArray<AddedToken>
  /** Ids around a text when special tokens are asked for: usually BOS before, nothing after. */
  readonly before: ReadonlyArray<number>
  readonly after: ReadonlyArray<number>
}

export type Read =
  | { readonly ok: true; readonly model: BpeModel }
  /** Why this tokenizer is none this reader can encode exactly. */
  | { readonly ok: false; readonly reason: string }

class Refused extends Error {}
const refuse = (reason: string): never => {
  throw new Refused(reason)
}

const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/** Reads a parsed `tokenizer.json` and `tokenizer_config.json`. Never throws. */
export const read = (tokenizer: Json, config: Json): Read => {
  try {
    const model = (tokenizer["model"] ?? {}) as Json
    const tables = readTables(model)
    const added = readAdded(tokenizer, config)
    for (const token of added) if (token.content === "") refuse("an added token is empty")
    return {
      ok: true,
      model: {
        tables,
        forms: readForms(tokenizer["normalizer"] as Json | null),
        stages: readStages(tokenizer["pre_tokenizer"] as Json | null),
        added,
        ...readAround(tokenizer["post_processor"] as Json | null, config, added)
      }
    }
  } catch (cause) {
    if (cause instanceof Refused) return { ok: false, reason: cause.message }
    return { ok: false, reason: `tokenizer.json is not laid out as expected: ${(cause as Error).message}` }
  }
}

/** GPT-2's printable stand-in for each byte, as code points (openai/gpt-2, `bytes_to_unicode`). */
const standIns = (): Uint16Array => {
  const out = new Uint16Array(256)
  let spare = 256
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    out[byte] = printable ? byte : spare++
  }
  return out
}

const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes)
const powerOfTwoOver = (count: number): number => 2 ** Math.max(4, Math.ceil(Math.log2(count + 1)))

const readTables = (model: Json): BpeMerge.BpeTables => {
  if (model["type"] !== "BPE" && !(model["type"] === undefined && Array.isArray(model["merges"])))
    refuse(`its model is ${String(model["type"])}, not BPE`)
  if (model["dropout"]) refuse("it drops merges at random")
  if (model["continuing_subword_prefix"] || model["end_of_word_suffix"]) refuse("it marks where words begin or end")
  if (model["byte_fallback"] === true) refuse("it falls back to byte tokens (SentencePiece)")
  const vocabulary = new Map(Object.entries(model["vocab"] as Record<string, number>))
  const chars = standIns()
  const byteOf = new Int16Array(0x200).fill(-1)
  const byteIds = new Int32Array(shared(1024))
  for (let byte = 0; byte < 256; byte++) {
    byteOf[chars[byte]!] = byte
    byteIds[byte] = vocabulary.get(String.fromCharCode(chars[byte]!)) ?? refuse(`it has no token for byte ${byte}`)
  }

  let last = 0
  let size = 0
  for (const [text, id] of vocabulary) {
    last = Math.max(last, id)
    size += text.length
  }
  const texts = new Array<string>(last + 1).fill("")
  for (const [text, id] of vocabulary) texts[id] = text
  const bytes = new Uint8Array(shared(size))
  const starts = new Uint32Array(shared((last + 2) * 4))
  let at = 0
  for (let id = 0; id <= last; id++) {
    starts[id] = at
    const text = texts[id]!
    for (let i = 0; i < text.length; i++) {
      const byte = text.charCodeAt(i) < 0x200 ? byteOf[text.charCodeAt(i)]! : -1
      if (byte === -1) {
        // No byte-level token, so no piece ever equals it: it holds no bytes here.
        at = starts[id]!
        break
      }
      bytes[at++] = byte
    }
  }
  starts[last + 1] = at

  const wholes = model["ignore_merges"] === true ? new Int32Array(shared(powerOfTwoOver(last * 2) * 4)).fill(-1) : null
  const tables = { byteIds, merges: readMerges(model, vocabulary), bytes, starts, wholes: wholes ?? new Int32Array(0) }
  if (wholes !== null)
    for (let id = 0; id <= last; id++) if (starts[id + 1]! > starts[id]!) BpeMerge.addWhole(tables, id)
  return tables
}

const readMerges = (model: Json, vocabulary: ReadonlyMap<string, number>): Int32Array => {
  const merges = model["merges"] as ReadonlyArray<string | readonly [string, string]>
  if (merges.length >= BpeMerge.ranksMax) refuse(`it has ${merges.length} merges, more than ${BpeMerge.ranksMax}`)
  const table = new Int32Array(shared(powerOfTwoOver(merges.length * 1.5) * 16)).fill(-1)
  for (let rank = 0; rank < merges.length; rank++) {
    const merge = merges[rank]!
    const space = typeof merge === "string" ? merge.indexOf(" ") : 0
    const left = typeof merge === "string" ? merge.slice(0, space) : merge[0]
    const right = typeof merge === "string" ? merge.slice(space + 1) : merge[1]
    const a = vocabulary.get(left)
    const b = vocabulary.get(right)
    const merged = vocabulary.get(left + right)
    if (a === undefined || b === undefined || merged === undefined) return refuse(`merge ${rank} names no known token`)
    BpeMerge.addMerge(table, a, b, rank, merged)
  }
  return table
}

const flatten = (part: Json | null, list: string): ReadonlyArray<Json> =>
  part === null || part === undefined
    ? []
    : part["type"] === "Sequence"
      ? (part[list] as ReadonlyArray<Json>).flatMap((each) => flatten(each, list))
      : [part]

const readForms = (normalizer: Json | null): BpeModel["forms"] =>
  flatten(normalizer, "normalizers").map((part) => {
    const form = part["type"]
    if (form === "NFC" || form === "NFD" || form === "NFKC" || form === "NFKD") return form
    return refuse(`its normalizer ${String(form)} is none of the Unicode forms`)
  })

const stageOf = (pattern: string, keepMatches: boolean, keepGaps: boolean): Stage => {
  if (Regex.compile(pattern) === null) refuse(`its pattern ${pattern} has no exact equal in JavaScript`)
  return { pattern, keepMatches, keepGaps }
}

const readStages = (preTokenizer: Json | null): ReadonlyArray<Stage> => {
  const parts = flatten(preTokenizer, "pretokenizers")
  if (parts.at(-1)?.["type"] !== "ByteLevel") refuse("it does not work on bytes")
  return parts.flatMap((part, i) => {
    switch (part["type"]) {
      case "ByteLevel":
        if (i !== parts.length - 1) refuse("it splits again after mapping to bytes")
        if (part["add_prefix_space"] !== false) refuse("it puts a space before a text")
        return part["use_regex"] === false ? [] : [stageOf(gpt2, true, true)]
      case "Digits":
        return [stageOf(part["individual_digits"] === true ? "\\p{N}" : "\\p{N}+", true, true)]
      case "Split": {
        const { Regex: regex, String: text } = part["pattern"] as { Regex?: string; String?: string }
        const pattern = regex ?? Regex.literal(text ?? refuse("it splits by neither a pattern nor a text"))
        if (part["behavior"] === "Isolated") return [stageOf(pattern, true, true)]
        if (part["behavior"] !== "Removed") return refuse(`it splits ${String(part["behavior"])}`)
        return [stageOf(pattern, part["invert"] === true, part["invert"] !== true)]
      }
      default:
        return refuse(`its pre-tokenizer ${String(part["type"])} is not supported`)
    }
  })
}

/** Tokens of `tokenizer.json`, then those only `tokenizer_config.json` adds, as Transformers loads them. */
const readAdded = (tokenizer: Json, config: Json): ReadonlyArray<AddedToken> => {
  const byContent = new Map<string, AddedToken>()
  const take = (token: Json, id: number): void => {
    const content = token["content"] as string
    if (token["single_word"] === true) refuse(`its token ${content} is found as a whole word only`)
    const edges = { lstrip: token["lstrip"] === true, rstrip: token["rstrip"] === true }
    const normalized = byContent.get(content)?.normalized ?? token["normalized"] === true
    byContent.set(content, { id: byContent.get(content)?.id ?? id, content, ...edges, normalized })
  }
  for (const token of (tokenizer["added_tokens"] ?? []) as ReadonlyArray<Json>) take(token, token["id"] as number)
  const decoder = (config["added_tokens_decoder"] ?? {}) as Readonly<Record<string, Json>>
  for (const [id, token] of Object.entries(decoder)) take(token, Number(id))
  const added = [...byContent.values()]
  if (added.some((token) => token.rstrip) && added.some((token) => /^\s/.test(token.content)))
    refuse("a token takes the white space that another begins with")
  return added
}

const contentOf = (token: unknown): string | null =>
  typeof token === "string" ? token : (((token as Json | null)?.["content"] as string | undefined) ?? null)

/** Classes that build their own post-processor from the config (Transformers, `update_post_processor`). */
const configured = /^(?:Llama|CodeLlama|Gemma|Cohere)Tokenizer(?:Fast)?$/

const readAround = (
  postProcessor: Json | null,
  config: Json,
  added: ReadonlyArray<AddedToken>
): Pick<BpeModel, "before" | "after"> => {
  const idOf = (token: unknown): ReadonlyArray<number> => {
    const content = contentOf(token)
    const found = added.find((each) => each.content === content)
    return found === undefined ? refuse(`its special token ${content} has no id`) : [found.id]
  }
  if (configured.test(String(config["tokenizer_class"])) && typeof config["add_bos_token"] === "boolean") {
    return {
      before: config["add_bos_token"] ? idOf(config["bos_token"]) : [],
      after: config["add_eos_token"] === true ? idOf(config["eos_token"]) : []
    }
  }
  const before: Array<number> = []
  const after: Array<number> = []
  for (const part of flatten(postProcessor, "processors")) {
    if (part["type"] === "ByteLevel") continue
    if (part["type"] !== "TemplateProcessing") refuse(`its post-processor ${String(part["type"])} is not supported`)
    const special = part["special_tokens"] as Readonly<Record<string, { readonly ids: ReadonlyArray<number> }>>
    let side = before
    for (const item of part["single"] as ReadonlyArray<Readonly<Record<string, { readonly id: string }>>>) {
      if (item["Sequence"] !== undefined) side = after
      else side.push(...(special[item["SpecialToken"]!.id]?.ids ?? refuse("its template names an unknown token")))
    }
  }
  return { before, after }
}
