/**
 * The `hash` phase: from the prompts of a request to block keys.
 *
 * With a tokenizer the keys are exact, the ones the worker's own events lead to. Without one, and for prompts with
 * pictures and sounds in them, they are keys of text blocks, which only the router's own placements are compared with.
 */
import { hash as digest } from "node:crypto"
import type { KeyLanes } from "../domain/Block.ts"
import type { Prompt } from "../domain/Request.ts"
import type { Hasher } from "../hot/BlockHash.ts"
import type { Tokenizer } from "../ports/Tokenizer.ts"

/** What keeps equal prompts apart, whatever the block size. */
export interface Space {
  /** Canonical name of the base model. */
  readonly model: string
  readonly lora: string | null
  /** The request's `cache_salt`, or null. */
  readonly salt: string | null
}

/** One prompt in tokens, or in UTF-8 bytes where it could not be tokenised. */
type Content =
  | { readonly tokens: Uint32Array; readonly text: null }
  | { readonly tokens: null; readonly text: Uint8Array }

/** A prompt's keys for one block size. */
export interface PromptKeys {
  readonly keys: KeyLanes
  /** Full blocks, and so keys. */
  readonly count: number
  /** Tokens, the last partial block included; estimated for text. */
  readonly tokens: number
}

/** The prompts of one request, ready to be keyed for whatever block sizes the candidates use. */
export interface Hashed {
  readonly prompts: number
  /** Prompt tokens, all prompts together; estimated where a prompt could not be tokenised. */
  readonly promptTokens: number
  /** Every prompt was tokenised: its keys are those the workers' events lead to. */
  readonly exact: boolean
  readonly keysFor: (blockSize: number) => ReadonlyArray<PromptKeys>
}

/** UTF-8 bytes taken for one token where there is no tokenizer. About right for English text and code. */
const bytesPerToken = 4

const utf8 = new TextEncoder()

/** What a picture of a megapixel costs most models; a sound or a film is anyone's guess. */
const mediaTokens = 1024

/**
 * A picture or a sound stands as its digest, repeated to about the size it has as tokens: printed, a megabyte of it would
 * pass for the longest prompt there is.
 */
const mediaOf = (part: unknown): unknown => {
  if (typeof part !== "object" || part === null || "text" in part || "refusal" in part || "thinking" in part)
    return part
  const once = digest("sha256", JSON.stringify(part), "base64")
  return once.repeat(Math.ceil((mediaTokens * bytesPerToken) / once.length))
}

const withoutMedia = (message: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const content = message["content"]
  return Array.isArray(content) ? { ...message, content: content.map(mediaOf) } : message
}

/** Text that starts alike for prompts that start alike: tools come before messages in every chat template. */
const textOf = (prompt: Prompt): Uint8Array => {
  switch (prompt._tag) {
    case "Messages":
      try {
        return utf8.encode(
          JSON.stringify(prompt.body.tools ?? null) + JSON.stringify(prompt.body.messages.map(withoutMedia))
        )
      } catch {
        // Nested too deep to print: no engine takes it either, and what refuses it is theirs to say.
        return new Uint8Array(0)
      }
    case "Text":
      return utf8.encode(prompt.text)
    case "Tokens":
      return new Uint8Array(prompt.ids.buffer, prompt.ids.byteOffset, prompt.ids.byteLength)
  }
}

const tokensOf = (content: Content): number => content.tokens?.length ?? Math.ceil(content.text!.length / bytesPerToken)

/**
 * Longest prompt that is tokenised, in characters: a context of a million tokens, and some more. Of a longer one, which no engine
 * takes, tokenising could keep the tokenizer, and the loop, for a minute.
 */
const charactersMax = 8 * 1024 * 1024

/** Whether there are more characters in its strings than `max`. */
const isLonger = (value: unknown, max: number): boolean => {
  let left = max
  const take = (each: unknown): void => {
    if (left < 0) return
    if (typeof each === "string") left -= each.length
    else if (Array.isArray(each)) for (const part of each) take(part)
    else if (typeof each === "object" && each !== null) for (const part of Object.values(each)) take(part)
  }
  try {
    take(value)
  } catch {
    // Nested too deep to walk, and so to render.
    return true
  }
  return left < 0
}

const isTokenised = (prompt: Prompt): boolean => {
  switch (prompt._tag) {
    case "Messages":
      return !isLonger(prompt.body, charactersMax)
    case "Text":
      return prompt.text.length <= charactersMax
    case "Tokens":
      return true
  }
}

/** The port promises neither to throw nor to reject; one that does must not cost the request, let alone the process. */
const encode = (tokenizer: Tokenizer, prompt: Prompt): ReturnType<Tokenizer["encode"]> => {
  try {
    const ids = tokenizer.encode(prompt)
    return ids instanceof Promise ? ids.catch(() => null) : ids
  } catch {
    return null
  }
}

/** Tokenises what it can. A promise only when a tokenizer left the event loop. */
export const hash = (
  hasher: Hasher,
  tokenizer: Tokenizer | null,
  prompts: ReadonlyArray<Prompt>,
  space: Space
): Hashed | Promise<Hashed> => {
  const ids = prompts.map((prompt) =>
    prompt._tag === "Tokens"
      ? prompt.ids
      : tokenizer === null || !isTokenised(prompt)
        ? null
        : encode(tokenizer, prompt)
  )
  return ids.some((each) => each instanceof Promise)
    ? Promise.all(ids).then((done) => hashed(hasher, prompts, space, done))
    : hashed(hasher, prompts, space, ids as ReadonlyArray<Uint32Array | null>)
}

const hashed = (
  hasher: Hasher,
  prompts: ReadonlyArray<Prompt>,
  space: Space,
  ids: ReadonlyArray<Uint32Array | null>
): Hashed =>
  keyed(
    hasher,
    space,
    ids.map((tokens, i) => (tokens === null ? { tokens, text: textOf(prompts[i]!) } : { tokens, text: null }))
  )

/** Apart from where the prompts are at hand, so that the answer does not keep them. */
const keyed = (hasher: Hasher, { lora, model, salt }: Space, contents: ReadonlyArray<Content>): Hashed => {
  const sizes = new Map<number, ReadonlyArray<PromptKeys>>()
  const root = (blockSize: number, text: boolean): KeyLanes =>
    hasher.root({ model: text ? `text:${model}` : model, lora, salt, blockSize })
  const keysOf = (content: Content, blockSize: number): PromptKeys => {
    const keys =
      content.tokens === null
        ? hasher.textBlocks(content.text, blockSize * bytesPerToken, root(blockSize, true))
        : hasher.chain(content.tokens, blockSize, root(blockSize, false))
    return { keys, count: keys.length >> 1, tokens: tokensOf(content) }
  }
  return {
    prompts: contents.length,
    promptTokens: contents.reduce((sum, each) => sum + tokensOf(each), 0),
    exact: contents.every((each) => each.tokens !== null),
    keysFor: (blockSize) => {
      let keys = sizes.get(blockSize)
      if (keys === undefined) {
        keys = contents.map((each) => keysOf(each, blockSize))
        sizes.set(blockSize, keys)
      }
      return keys
    }
  }
}
