/**
 * The text side of a simulated engine: a real tokenizer, through the public JavaScript library, and its chat template.
 *
 * `load` reads each folder once a process. Encoding is synchronous, about 1.5 MB/s, so segments between special tokens
 * are cached: special tokens split a text before anything else looks at it, so the ids of the whole are the ids of the
 * pieces, and a growing conversation costs only its new tail. Tokenizers whose special tokens strip or normalise their
 * surroundings, or that treat the start of a text differently, are encoded whole (and cached whole).
 */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { brotliDecompress } from "node:zlib"
import { Tokenizer } from "@huggingface/tokenizers"
import { LRUCache } from "lru-cache"
import * as ChatPrompt from "./ChatPrompt.ts"

export type Json = ChatPrompt.Json

export interface Model {
  /** Where it was loaded from. */
  readonly folder: string
  /** Ids of a text. `special` adds what the tokenizer puts around a text by itself (a BOS, for some). */
  readonly encode: (text: string, special: boolean) => ReadonlyArray<number>
  readonly decode: (ids: ReadonlyArray<number>) => string
  /** One id as the vocabulary spells it; undefined when there is no such id. */
  readonly piece: (id: number) => string | undefined
  readonly render: ChatPrompt.ChatPrompt
  /** What stands for a picture, and the id of it that is repeated; null when the vocabulary has none. */
  readonly picture: { readonly text: string; readonly id: number } | null
  /** Token that ends an answer; null when the configuration names none. */
  readonly eosId: number | null
}

/** Characters of text and ids kept by the segment cache, summed. 4 bytes and less each. */
const cachedUnitsMax = 32_000_000

const builtIn = fileURLToPath(new URL("./model", import.meta.url))
const loaded = new Map<string, Promise<Model>>()

/** The model in a folder; null for the built-in one. Rejects with what is missing. */
export const load = (folder: string | null): Promise<Model> => {
  const path = folder ?? builtIn
  let model = loaded.get(path)
  if (model === undefined) {
    model = read(path)
    model.catch(() => loaded.delete(path))
    loaded.set(path, model)
  }
  return model
}

const read = async (folder: string): Promise<Model> => {
  const [tokenizer, config] = await Promise.all([
    readJson(join(folder, "tokenizer.json")),
    readJson(join(folder, "tokenizer_config.json"))
  ])
  return make(
    folder,
    tokenizer,
    config,
    await readFile(join(folder, "chat_template.jinja"), "utf8").catch(() => undefined)
  )
}

/** A JSON file, or the same compressed with brotli beside it. */
const readJson = async (file: string): Promise<Json> => {
  const plain = await readFile(file).catch(() => undefined)
  const bytes =
    plain ??
    (await readFile(`${file}.br`).then(promisify(brotliDecompress), () => {
      throw new Error(`There is neither ${file} nor ${file}.br. Give --tokenizer a folder that holds one of them.`)
    }))
  return JSON.parse(bytes.toString("utf8")) as Json
}

/** The part of the tokenizer that is used; the library's own types do not resolve under Node's rules. */
interface HfTokenizer {
  readonly encode: (text: string, options: { readonly add_special_tokens: boolean }) => { readonly ids: Array<number> }
  readonly decode: (ids: Array<number>, options: { readonly skip_special_tokens: boolean }) => string
  readonly id_to_token: (id: number) => string | undefined
  readonly token_to_id: (token: string) => number | undefined
}

interface AddedToken {
  readonly content: string
  readonly lstrip?: boolean
  readonly rstrip?: boolean
  readonly single_word?: boolean
  readonly normalized?: boolean
}

/** From the parsed files. `template` wins over the one in the configuration. */
export const make = (folder: string, files: Json, config: Json, template?: string): Model => {
  const tokenizer: HfTokenizer = new Tokenizer(files, config)
  const added = (files["added_tokens"] ?? []) as ReadonlyArray<AddedToken>
  const splitter = segmentable(files, added) ? splitterOf(added) : undefined
  const segments = new LRUCache<string, ReadonlyArray<number>>({
    maxSize: cachedUnitsMax,
    sizeCalculation: (ids, text) => text.length + ids.length + 16
  })
  const encodePiece = (text: string): ReadonlyArray<number> => {
    const cached = segments.get(text)
    if (cached !== undefined) return cached
    const { ids } = tokenizer.encode(text, { add_special_tokens: false })
    segments.set(text, ids)
    return ids
  }
  const around = specialsAround(tokenizer)
  const encode = (text: string, special: boolean): ReadonlyArray<number> => {
    const ids: Array<number> = special ? [...around.before] : []
    const pieces = splitter === undefined ? [text] : text.split(splitter)
    for (const piece of pieces) if (piece !== "") for (const id of encodePiece(piece)) ids.push(id)
    if (special) ids.push(...around.after)
    return ids
  }
  const source = template ?? templateOf(config)
  const eos = ChatPrompt.tokenText(config["eos_token"])
  return {
    folder,
    encode,
    decode: (ids) => (ids.length === 0 ? "" : tokenizer.decode([...ids], { skip_special_tokens: true })),
    piece: (id) => tokenizer.id_to_token(id),
    render:
      source === undefined
        ? () => {
            throw new Error("This model has no chat template. Use /v1/completions.")
          }
        : ChatPrompt.make(source, config),
    picture: pictureOf(tokenizer),
    eosId: eos === undefined ? null : (tokenizer.token_to_id(eos) ?? null)
  }
}

/** Qwen's: a start, a pad for each of its tokens, an end. */
const pictureOf = (tokenizer: HfTokenizer): Model["picture"] => {
  const id = tokenizer.token_to_id("<|image_pad|>")
  return id === undefined ? null : { text: "<|vision_start|><|image_pad|><|vision_end|>", id }
}

/** True when special tokens cut a text cleanly, wherever they stand. */
const segmentable = (files: Json, added: ReadonlyArray<AddedToken>): boolean =>
  JSON.stringify([files["pre_tokenizer"], files["decoder"]]).includes('"ByteLevel"') &&
  !JSON.stringify(files["pre_tokenizer"]).includes('"add_prefix_space":true') &&
  added.every((token) => !token.lstrip && !token.rstrip && !token.single_word && !token.normalized)

/** Cuts before and after each added token, the longest first where several start at one place. */
const splitterOf = (added: ReadonlyArray<AddedToken>): RegExp | undefined => {
  if (added.length === 0) return undefined
  const contents = added.map((token) => token.content).sort((a, b) => b.length - a.length)
  return new RegExp(`(${contents.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|")})`)
}

/** What the tokenizer adds before and after any text: seen by encoding one letter both ways. */
const specialsAround = (tokenizer: HfTokenizer) => {
  const bare = tokenizer.encode("a", { add_special_tokens: false }).ids
  const full = tokenizer.encode("a", { add_special_tokens: true }).ids
  const at = full.findIndex((_, i) => bare.every((id, j) => full[i + j] === id))
  return { before: full.slice(0, Math.max(at, 0)), after: full.slice(Math.max(at, 0) + bare.length) }
}

const templateOf = (config: Json): string | undefined => {
  const template = config["chat_template"]
  if (typeof template === "string") return template
  if (!Array.isArray(template)) return undefined
  const named = template as ReadonlyArray<{ readonly name: string; readonly template: string }>
  return (named.find(({ name }) => name === "default") ?? named[0])?.template
}
