/**
 * Messages: a chat body's messages and tools in the shape vLLM gives to a chat template.
 *
 * Null when this shape cannot be made exactly here: media, parts of unknown kinds, numbers JavaScript changes.
 * Source: vllm-project/vllm `entrypoints/chat_utils.py` (parse_chat_messages, _postprocess_messages) and
 * `entrypoints/openai/chat_completion/protocol.py` (ChatCompletionToolsParam).
 */
import * as JsonExact from "../../hot/JsonExact.ts"

type Json = Record<string, unknown>

/** How a template wants content: one string, or a list of parts it walks through. */
export type ContentFormat = "string" | "parts"

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** Python and JavaScript disagree on whether these are white space, and templates trim. */
const trimsApart = /[\x1c-\x1f\x85\ufeff]/

/** Which field of a text part holds the text. */
const textFields: Readonly<Record<string, string>> = {
  text: "text",
  input_text: "text",
  output_text: "text",
  refusal: "refusal",
  thinking: "thinking"
}

/** Some part of some message is not text: the ids of such a prompt do not tell one picture from another. */
export const hasMedia = (messages: ReadonlyArray<Readonly<Json>>): boolean =>
  messages.some(({ content }) => Array.isArray(content) && content.some((part) => isObject(part) && !isText(part)))

const isText = (part: Json): boolean => typeof part["type"] === "string" && part["type"] in textFields

/** Texts of a message's content in order, or null when one of the parts is not text. */
const textsOf = (content: unknown): Array<string> | null => {
  if (content === undefined || content === null) return []
  if (typeof content === "string") return trimsApart.test(content) ? null : [content]
  if (!Array.isArray(content)) return null
  const texts: Array<string> = []
  for (const part of content as ReadonlyArray<unknown>) {
    let text: unknown = part
    if (isObject(part)) {
      const field = typeof part["type"] === "string" ? textFields[part["type"]] : undefined
      if (field === undefined || (part["uuid"] !== undefined && part["uuid"] !== null)) return null
      text = part[field]
      if ((text === null || text === undefined) && (field === "text" || field === "refusal")) continue
    }
    if (typeof text !== "string" || trimsApart.test(text)) return null
    texts.push(text)
  }
  return texts
}

/** Arguments come as JSON text; templates get the value. Text that is no JSON becomes an empty object. */
const argumentsOf = (value: unknown): { readonly value: unknown } | null => {
  if (typeof value === "string") {
    if (/\b(?:NaN|Infinity)\b/.test(value)) return null
    try {
      const parsed: unknown = JSON.parse(value)
      return !JsonExact.isLossy(value, 0) && JsonExact.isPlain(parsed) ? { value: parsed } : null
    } catch {
      return { value: {} }
    }
  }
  if (typeof value !== "object" || value === null) return { value: {} }
  return JsonExact.isPlain(value) ? { value } : null
}

const toolCallsOf = (calls: unknown): ReadonlyArray<Json> | null => {
  if (!Array.isArray(calls)) return null
  const shaped: Array<Json> = []
  for (const call of calls as ReadonlyArray<unknown>) {
    const named = isObject(call) ? call["function"] : undefined
    if (!isObject(call) || !isObject(named)) return null
    const args = argumentsOf(named["arguments"])
    if (args === null) return null
    shaped.push({ ...call, function: { ...named, arguments: args.value } })
  }
  return shaped
}

const shapeOne = (message: Readonly<Json>, format: ContentFormat): Json | null => {
  const role = message["role"]
  const texts = textsOf(message["content"])
  if (texts === null) return null
  const joined = (): string => texts.filter((text) => text !== "").join("\n")
  const shaped: Json = { role, content: format === "string" ? joined() : texts.map((text) => ({ type: "text", text })) }
  if (role === "assistant") {
    const calls = message["tool_calls"]
    if (calls !== undefined && calls !== null) {
      const toolCalls = toolCallsOf(calls)
      if (toolCalls === null) return null
      if (toolCalls.length > 0) shaped["tool_calls"] = toolCalls
    }
    const reasoning = message["reasoning"] ?? message["reasoning_content"]
    if (reasoning !== undefined && reasoning !== null) {
      if (typeof reasoning !== "string" || trimsApart.test(reasoning)) return null
      shaped["reasoning"] = reasoning
      shaped["reasoning_content"] = reasoning
    }
  } else if (role === "tool") {
    if (message["tool_call_id"] !== undefined) shaped["tool_call_id"] = message["tool_call_id"]
    if (format === "parts") shaped["content"] = texts.join("\n")
  }
  if (typeof message["name"] === "string") shaped["name"] = message["name"]
  if (typeof message["task"] === "string") shaped["task"] = message["task"]
  if (role === "developer") shaped["tools"] = message["tools"] ?? null
  return JsonExact.isPlain(shaped["tools"]) ? shaped : null
}

/** The messages as a template gets them, or null. */
export const shape = (messages: ReadonlyArray<Readonly<Json>>, format: ContentFormat): Array<Json> | null => {
  const shaped: Array<Json> = []
  for (const message of messages) {
    const one = isObject(message) ? shapeOne(message, format) : null
    if (one === null) return null
    shaped.push(one)
  }
  return shaped
}

/** Tools with their fields in declared order, absent ones null, undeclared ones gone; `undefined` when impossible. */
export const shapeTools = (tools: ReadonlyArray<unknown> | null | undefined): Array<Json> | null | undefined => {
  if (tools === undefined || tools === null) return null
  const shaped: Array<Json> = []
  for (const tool of tools) {
    const declared = isObject(tool) ? tool["function"] : undefined
    if (!isObject(tool) || !isObject(declared) || !JsonExact.isPlain(declared)) return undefined
    if ((tool["type"] ?? "function") !== "function" || typeof declared["name"] !== "string") return undefined
    const { defer_loading: later = null } = tool
    const { description = null, parameters = null, strict = null } = declared
    const hidden = declared["defer_loading"] ?? later
    shaped.push({
      type: "function",
      function: {
        name: declared["name"],
        description,
        parameters,
        ...(strict === null ? {} : { strict }),
        ...(hidden === null ? {} : { defer_loading: hidden })
      },
      ...(later === null ? {} : { defer_loading: later })
    })
  }
  return shaped
}
