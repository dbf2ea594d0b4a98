/**
 * Verify: whether local tokenisation gives what a worker's engine gives, by asking both a few short prompts.
 *
 * Run when a worker joins. A difference (another template, another tokenizer version, another shape of tools) means
 * that prompts of this model are to be tokenised by the engine.
 */
import type { Prompt } from "../../domain/Request.ts"
import type { Engine } from "../../ports/Engine.ts"
import type { Tokenizer } from "../../ports/Tokenizer.ts"

export interface Probe {
  readonly name: string
  readonly prompt: Prompt
}

export type Verdict =
  | { readonly _tag: "Same"; readonly probes: number }
  | {
      readonly _tag: "Different"
      readonly probe: string
      /** Index of the first token that differs. */
      readonly at: number
      readonly local: ReadonlyArray<number>
      readonly engine: ReadonlyArray<number>
    }
  /** The engine answered none of the probes, so nothing is known. */
  | { readonly _tag: "Unknown" }

const system = { role: "system", content: "You are a careful assistant.\n\nAnswer briefly." }
const user = { role: "user", content: "Wie ist das Wetter in 東京 today? 🌦️  12345" }
const parameters = {
  type: "object",
  properties: { city: { type: "string", description: "Where" }, days: { type: "integer", minimum: 1 } },
  required: ["city"]
}
// One tool has no description: engines differ in whether templates see null or nothing.
const tools = [
  { type: "function", function: { name: "weather", description: "Looks up the weather.", parameters } },
  { type: "function", function: { name: "now", parameters: { type: "object", properties: {} } } }
]
const call = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city": "東京", "days": 2}' } }
const turns = [
  { role: "assistant", content: null, tool_calls: [call] },
  { role: "tool", tool_call_id: "call_1", content: '{"sky": "clear"}' }
]
const chat = (name: string, body: Extract<Prompt, { readonly _tag: "Messages" }>["body"]): Probe => ({
  name,
  prompt: { _tag: "Messages", body }
})

export const probes: ReadonlyArray<Probe> = [
  chat("plain", { messages: [user] }),
  chat("system", { messages: [system, user] }),
  chat("tools", { messages: [system, user], tools }),
  chat("tool call", { messages: [system, user, ...turns], tools }),
  chat("turns", { messages: [user, { role: "assistant", content: "Clear." }, { role: "user", content: "And now?" }] }),
  { name: "text", prompt: { _tag: "Text", text: "Once upon a time,\n\tthere  was", addSpecialTokens: true } }
]

const firstDifference = (local: Uint32Array, engine: Uint32Array): number => {
  const length = Math.min(local.length, engine.length)
  for (let i = 0; i < length; i++) if (local[i] !== engine[i]) return i
  return local.length === engine.length ? -1 : length
}

/** Compares every probe both can answer; the first difference ends it. Never rejects. */
export const verify = async (
  local: Tokenizer,
  engine: Pick<Engine, "tokenize">,
  url: string,
  model: string,
  signal: AbortSignal
): Promise<Verdict> => {
  let compared = 0
  for (const { name, prompt } of probes) {
    const ours = await local.encode(prompt)
    if (ours === null) continue
    const theirs = await engine.tokenize(url, model, prompt, signal).catch(() => null)
    if (theirs === null) continue
    compared++
    const at = firstDifference(ours, theirs)
    if (at === -1) continue
    const near = (ids: Uint32Array): ReadonlyArray<number> => [...ids.subarray(Math.max(0, at - 2), at + 3)]
    return { _tag: "Different", probe: name, at, local: near(ours), engine: near(theirs) }
  }
  return compared === 0 ? { _tag: "Unknown" } : { _tag: "Same", probes: compared }
}
