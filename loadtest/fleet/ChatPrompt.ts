/**
 * The prompt of a chat body, as text: vLLM's preparation of the body, then the model's own template.
 *
 * Source: vllm-project/vllm `entrypoints/chat_utils.py`, `renderers/hf.py` and the request models in `protocol.py`;
 * huggingface/transformers `utils/chat_template_utils.py`. Written apart from the router's on purpose, so that tests
 * compare two implementations. It is shorter: a body that cannot be rendered is an error here, as it is for vLLM.
 */
import { Template } from "@huggingface/jinja"

export type Json = Record<string, unknown>

/**
 * From a chat body to its prompt. Throws what the template throws, and what vLLM refuses. `picture` is the text that
 * stands for a picture; without it pictures are refused. Where content is one string, pictures come before its text.
 */
export type ChatPrompt = (body: Json, picture?: string) => string

/** The text of a special token, given as a string or as an object around one. */
export const tokenText = (token: unknown): string | undefined =>
  typeof token === "string" ? token : (token as { readonly content?: string } | null | undefined)?.content

const specials = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
/** Variables a client may not set. */
const reserved = ["chat_template", "tokenize", "messages", "conversation", "tools"]
/** Templates that walk through `message.content` get a list of parts, the others one string. */
const walks = /for\s+\w+\s+in\s+\w+(?:\.content|\[(['"])content\1\])/

/** `config`: the parsed `tokenizer_config.json`. */
export const make = (source: string, config: Json): ChatPrompt => {
  const template = new Template(source)
  const asParts = walks.test(source)
  const tokens = specials.flatMap((name) => {
    const text = tokenText(config[name])
    return text === undefined ? [] : [[name, text] as const]
  })
  return (body, picture) => {
    const given = (body["chat_template_kwargs"] ?? {}) as Json
    const refused = body["chat_template"] == null ? reserved.find((name) => name in given) : "chat_template"
    if (refused !== undefined) throw new Error(`A request may not set ${refused}.`)
    const effort = body["reasoning_effort"] ?? undefined
    const addsPrompt = body["add_generation_prompt"] ?? true
    const continues = body["continue_final_message"] === true
    if (continues && addsPrompt === true) {
      throw new Error("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    }
    const messages = (body["messages"] as ReadonlyArray<Json>).map((message) => messageOf(message, asParts, picture))
    if (continues) markEnd(messages)
    const rendered = template.render({
      ...Object.fromEntries(tokens),
      ...(effort === undefined ? {} : { enable_thinking: effort !== "none" }),
      ...given,
      ...(effort === undefined ? {} : { reasoning_effort: effort }),
      documents: body["documents"] ?? given["documents"] ?? null,
      messages,
      tools: Array.isArray(body["tools"]) ? body["tools"].map((tool) => toolOf(tool as Json)) : null,
      add_generation_prompt: addsPrompt,
      continue_final_message: continues
    })
    return continues ? cutAtEnd(rendered) : rendered
  }
}

/** Declared fields in their order, null where the client left one out; `strict` only where it was given. */
const toolOf = ({ function: called, type = "function" }: Json): Json => {
  const { description = null, name, parameters = null, strict = null } = called as Json
  return { type, function: { name, description, parameters, ...(strict === null ? {} : { strict }) } }
}

const messageOf = (message: Json, asParts: boolean, picture: string | undefined): Json => {
  const { name, role, tool_call_id: id, tool_calls: calls } = message
  const inOrder = textsOf(message["content"], picture)
  const texts = asParts ? inOrder : [...inOrder.filter((t) => t === picture), ...inOrder.filter((t) => t !== picture)]
  const joined = (asParts ? texts : texts.filter((text) => text !== "")).join("\n")
  const reasoning = role === "assistant" ? (message["reasoning"] ?? message["reasoning_content"]) : undefined
  return {
    role,
    content: asParts && role !== "tool" ? texts.map((text) => ({ type: "text", text })) : joined,
    ...(role === "assistant" && Array.isArray(calls) && calls.length > 0 ? { tool_calls: calls.map(callOf) } : {}),
    ...(reasoning == null ? {} : { reasoning, reasoning_content: reasoning }),
    ...(role === "tool" && id !== undefined ? { tool_call_id: id } : {}),
    ...(typeof name === "string" ? { name } : {}),
    ...(role === "developer" ? { tools: message["tools"] ?? null } : {})
  }
}

const textsOf = (content: unknown, picture: string | undefined): ReadonlyArray<string> => {
  if (content === undefined || content === null) return []
  if (!Array.isArray(content)) return [String(content)]
  return content.flatMap((part) => {
    if (typeof part === "string") return [part]
    const { refusal, text, thinking, type } = part as Json
    if (type === "image_url" && picture !== undefined) return [picture]
    const said = text ?? refusal ?? thinking
    if (typeof said === "string") return [said]
    if (said == null && ["text", "input_text", "output_text", "refusal"].includes(type as string)) return []
    throw new Error(`This model takes text only; a message part of type "${String(type)}" was given.`)
  })
}

/** Arguments come as JSON text and go as the value; what is no JSON is an empty object. */
const callOf = (call: Json): Json => {
  const called = call["function"] as Json | undefined
  if (called === undefined) return call
  const given = called["arguments"]
  return { ...call, function: { ...called, arguments: typeof given === "string" ? parsed(given) : (given ?? {}) } }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

const endMark = "CONTINUE_FINAL_MESSAGE_TAG "

/** Marks where the last message's text ends, so that the prompt can be cut there and generation goes on from it. */
const markEnd = (messages: ReadonlyArray<Json>): void => {
  const last = messages.at(-1)
  const part = Array.isArray(last?.["content"]) ? (last["content"] as Array<Json>).at(-1) : undefined
  if (part !== undefined) part["text"] = `${String(part["text"])}${endMark}`
  else if (typeof last?.["content"] === "string") last["content"] += endMark
  else throw new Error("continue_final_message is set but the last message has no text to continue.")
}

const cutAtEnd = (rendered: string): string => {
  const at = rendered.lastIndexOf(endMark.trimEnd())
  if (at === -1) throw new Error("continue_final_message is set but the template does not print the last message.")
  // A template that trimmed the mark's space has trimmed the text before it too.
  return rendered.startsWith(endMark, at) ? rendered.slice(0, at) : rendered.slice(0, at).trimEnd()
}
