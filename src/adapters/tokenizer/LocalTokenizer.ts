/**
 * LocalTokenizer: the engine's tokenisation, done here from the model's own files.
 *
 * Byte-level BPE is encoded in this process, segment by segment, from a cache bounded in bytes: synchronously while
 * at most `inlineCharsMax` are new (16 Ki chars cost about 1.5 ms of CPU), else on a thread whose results feed the
 * same cache. Other kinds go to a general library on that thread, whole prompts at a time. Code points that Unicode
 * assigned after the engine's tokenizer was built may be cut differently.
 */
import type { ChatBody, Prompt } from "../../domain/Request.ts"
import type { Tokenizer } from "../../ports/Tokenizer.ts"
import * as AddedTokens from "./AddedTokens.ts"
import * as Bpe from "./Bpe.ts"
import * as ChatTemplate from "./ChatTemplate.ts"
import * as Helper from "./Helper.ts"
import * as SegmentCache from "./SegmentCache.ts"

export interface Options extends Helper.Options, ChatTemplate.Options {
  /** Bytes of segments and their ids kept. 64 MiB hold about 15 million tokens of long messages. */
  readonly cacheBytesMax: number
  /** Most new chars encoded on the event loop. */
  readonly inlineCharsMax: number
}

const defaults: Options = {
  cacheBytesMax: 64 * 2 ** 20,
  inlineCharsMax: 16_384,
  // About a second and a half of the thread's time; whoever would wait longer is better routed by text.
  queueCharsMax: 16 * 2 ** 20,
  deadlineMs: 30_000,
  now: () => new Date()
}

type Encoded = Uint32Array | null

export interface Stats extends Helper.HelperStats {
  readonly cacheBytes: number
  readonly cacheEntries: number
}

export interface LocalTokenizer extends Tokenizer {
  /** Null when byte-level BPE is encoded here; else why the general library is used. */
  readonly libraryBecause: string | null
  readonly render: (body: ChatBody) => string | null
  readonly encodeText: (text: string, addSpecialTokens: boolean) => Encoded | Promise<Encoded>
  readonly stats: () => Stats
}

/** Parts of a prompt in order; null where a text is still to come. */
type Pieces = Array<number | Uint32Array | null>

const join = (before: ReadonlyArray<number>, pieces: Pieces, after: ReadonlyArray<number>): Encoded => {
  let length = before.length + after.length
  for (const piece of pieces) {
    if (piece === null) return null
    length += typeof piece === "number" ? 1 : piece.length
  }
  const ids = new Uint32Array(length)
  ids.set(before)
  let at = before.length
  for (const piece of pieces) {
    if (typeof piece === "number") ids[at++] = piece
    else if (piece !== null) {
      ids.set(piece, at)
      at += piece.length
    }
  }
  ids.set(after, at)
  return ids
}

/** Loads the tokenizer of a folder. Rejects, saying what is wrong with the files. */
export const load = async (dir: string, given: Partial<Options> = {}): Promise<LocalTokenizer> => {
  const options = { ...defaults, ...given }
  const { helper, loaded } = await Helper.start(dir, options)
  const { model } = loaded
  const template = ChatTemplate.make(loaded.config, loaded.template, options)
  const cache = SegmentCache.make(options.cacheBytesMax)
  const inFlight = new Map<string, Promise<Encoded>>()
  const split = model === null ? null : AddedTokens.make(model)
  const bpe = model === null ? null : Bpe.make(model)
  const before = model?.before ?? []
  const after = model?.after ?? []

  /** Sends segments nobody is encoding yet to the thread, and has every one of `keys` on its way. */
  const sendMissing = (keys: ReadonlyArray<string>, texts: ReadonlyArray<string>, special: boolean): void => {
    const fresh = new Map<string, string>()
    for (const [i, key] of keys.entries()) if (!inFlight.has(key)) fresh.set(key, texts[i]!)
    if (fresh.size === 0) return
    const job = helper.encode([...fresh.values()], special)
    for (const [i, key] of [...fresh.keys()].entries()) {
      const answer = job.then((ids) => {
        inFlight.delete(key)
        const found = ids?.[i] ?? null
        if (found !== null) cache.set(key, found)
        return found
      })
      inFlight.set(key, answer)
    }
  }

  const encodeText = (text: string, addSpecialTokens: boolean): Encoded | Promise<Encoded> => {
    const parts = split === null ? [text.toWellFormed()] : split(text)
    const pieces: Pieces = new Array(parts.length)
    const missing: Array<number> = []
    const keys: Array<string> = []
    const texts: Array<string> = []
    let missingChars = 0
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!
      if (typeof part === "number") {
        pieces[i] = part
        continue
      }
      // The library adds special tokens itself, so the same text has two answers.
      const key = (model === null && addSpecialTokens ? "\udc00" : "") + cache.key(part)
      const ids = cache.get(key)
      pieces[i] = ids ?? null
      if (ids === undefined) {
        missing.push(i)
        keys.push(key)
        texts.push(part)
        missingChars += part.length
      }
    }
    const ends = addSpecialTokens ? { before, after } : { before: [], after: [] }
    if (missing.length === 0) return join(ends.before, pieces, ends.after)
    if (bpe !== null && missingChars <= options.inlineCharsMax) {
      for (let i = 0; i < missing.length; i++) {
        const ids = bpe.encode(texts[i]!)
        cache.set(keys[i]!, ids)
        pieces[missing[i]!] = ids
      }
      return join(ends.before, pieces, ends.after)
    }
    sendMissing(keys, texts, addSpecialTokens)
    return Promise.all(keys.map((key) => inFlight.get(key)!)).then((answers) => {
      for (const [i, ids] of answers.entries()) pieces[missing[i]!] = ids
      return join(ends.before, pieces, ends.after)
    })
  }

  const render = (body: ChatBody): string | null => template?.render(body) ?? null

  return {
    libraryBecause: loaded.reason,
    render,
    encodeText,
    encode: (prompt: Prompt) => {
      if (prompt._tag === "Tokens") return prompt.ids
      if (prompt._tag === "Text") return encodeText(prompt.text, prompt.addSpecialTokens)
      if (prompt.lossyNumbers === true) return null
      const rendered = render(prompt.body)
      return rendered === null ? null : encodeText(rendered, prompt.body.add_special_tokens === true)
    },
    stats: () => ({
      ...helper.stats(),
      cacheBytes: cache.bytes(),
      cacheEntries: cache.entries()
    }),
    close: helper.close
  }
}
