/**
 * EngineTokenizer: asks the engine how it would tokenise a prompt, for models whose files or templates are not here.
 *
 * One answer per prompt is remembered, bounded in bytes; equal prompts in flight share one question. Beyond
 * `concurrencyMax` questions at once, or when the engine is slower than `deadlineMs`, the answer is null: a request is
 * better routed by text than late.
 */
import { hash } from "node:crypto"
import { LRUCache } from "lru-cache"
import type { Prompt } from "../../domain/Request.ts"
import * as JsonExact from "../../hot/JsonExact.ts"
import type { Engine } from "../../ports/Engine.ts"
import type { Tokenizer } from "../../ports/Tokenizer.ts"
import { hasMedia } from "./Messages.ts"

export interface Options {
  readonly engine: Pick<Engine, "tokenize">
  readonly model: string
  /** A worker to ask now, or null when there is none. */
  readonly url: () => string | null
  readonly deadlineMs: number
  readonly concurrencyMax: number
  readonly cacheBytesMax: number
}

const entryBytes = 300

/** Remembered for a prompt the engine answered without ids (a template that refuses). */
const declined = new Uint32Array(0)

/** The engine is asked with the body as parsed here; what parsing changed would come out as another prompt. */
const isChanged = ({ body, lossyNumbers }: Extract<Prompt, { readonly _tag: "Messages" }>): boolean =>
  lossyNumbers === true || !JsonExact.isPlain([body.tools, body.documents, body.chat_template_kwargs])

/** SHA-256 of a value's JSON; null when it is nested too deep to print. */
const digestOf = (value: unknown): string | null => {
  try {
    return hash("sha256", JSON.stringify(value), "base64")
  } catch {
    return null
  }
}

/** What enters the prompt, in a fixed order; the rest of a body changes nothing. */
const digest = (prompt: Exclude<Prompt, { readonly _tag: "Tokens" }>): string | null => {
  if (prompt._tag === "Text") return digestOf([prompt.addSpecialTokens, prompt.text])
  const { body } = prompt
  return digestOf([
    body.messages,
    body.tools,
    body.tool_choice,
    body.documents,
    body.add_generation_prompt,
    body.continue_final_message,
    body.add_special_tokens,
    body.chat_template,
    body.chat_template_kwargs,
    body.reasoning_effort
  ])
}

/** Never throws and never rejects: an engine that fails has no answer. */
export const make = (options: Options): Tokenizer => {
  const cache = new LRUCache<string, Uint32Array>({
    maxSize: options.cacheBytesMax,
    sizeCalculation: (ids) => ids.byteLength + entryBytes
  })
  const inFlight = new Map<string, Promise<Uint32Array | null>>()
  const closing = new AbortController()

  const ask = async (prompt: Prompt, url: string, key: string): Promise<Uint32Array | null> => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(options.deadlineMs)])
    const late = new Promise<never>((_, reject) => signal.addEventListener("abort", reject, { once: true }))
    try {
      const ids = await Promise.race([options.engine.tokenize(url, options.model, prompt, signal), late])
      cache.set(key, ids ?? declined)
      return ids
    } catch {
      return null
    } finally {
      inFlight.delete(key)
    }
  }

  return {
    encode: (prompt) => {
      if (prompt._tag === "Tokens") return prompt.ids
      if (prompt._tag === "Messages" && (isChanged(prompt) || hasMedia(prompt.body.messages))) return null
      const key = digest(prompt)
      if (key === null) return null
      const known = cache.get(key) ?? inFlight.get(key)
      if (known !== undefined) return known === declined ? null : known
      const url = options.url()
      if (url === null || inFlight.size >= options.concurrencyMax || closing.signal.aborted) return null
      const answer = ask(prompt, url, key)
      inFlight.set(key, answer)
      return answer
    },
    close: async () => closing.abort()
  }
}
