/**
 * ChatTemplate: from a chat body to the text the engine tokenises, exact or null.
 *
 * Jinja with Transformers' settings (trim_blocks, lstrip_blocks, its `tojson`, `raise_exception`, `strftime_now`) and
 * vLLM's choice of variables. Null when the template refuses, or when Python would print something else than
 * JavaScript does; the caller then asks the engine. Templates sent by clients are not run: they may loop for ever.
 * Source: huggingface/transformers `utils/chat_template_utils.py`; vllm-project/vllm `build_chat_params`.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja"
import type { ChatBody } from "../../domain/Request.ts"
import * as JsonExact from "../../hot/JsonExact.ts"
import * as ContentFormat from "./ContentFormat.ts"
import * as Messages from "./Messages.ts"

type Json = Readonly<Record<string, unknown>>

export interface ChatTemplate {
  /** The rendered prompt, or null when it cannot be known here. Never throws. */
  readonly render: (body: ChatBody) => string | null
}

export interface Options {
  /** The clock of templates that print the date, in the engine's time zone. */
  readonly now: () => Date
}

/** A message costs up to 7 µs on the event loop whatever its length, so 4 096 of them 30 ms. */
const messagesMax = 4096

interface Compiled {
  readonly program: ReturnType<typeof parse>
  readonly format: Messages.ContentFormat
  /** Names it may look up in vain. */
  readonly names: ReadonlyArray<string>
}

const months = "January February March April May June July August September October November December".split(" ")
const two = (value: number): string => String(value).padStart(2, "0")

/** Python's strftime in the C locale, for what templates use; throws on the rest. */
const strftime = (date: Date, format: string): string =>
  format.replace(/%(.)/gs, (_, letter: string) => {
    switch (letter) {
      case "Y":
        return String(date.getFullYear())
      case "m":
        return two(date.getMonth() + 1)
      case "d":
        return two(date.getDate())
      case "B":
        return months[date.getMonth()]!
      case "b":
        return months[date.getMonth()]!.slice(0, 3)
      case "H":
        return two(date.getHours())
      case "M":
        return two(date.getMinutes())
      case "S":
        return two(date.getSeconds())
      case "%":
        return "%"
      default:
        throw new Error(`strftime_now("${format}"): %${letter} is not supported.`)
    }
  })

const compile = (template: string): Compiled | null => {
  try {
    const program = parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }))
    const builtIn = new Environment()
    const names = [...ContentFormat.namesIn(program)].filter(
      (name) => builtIn.lookupVariable(name).type === "UndefinedValue"
    )
    return { program, format: ContentFormat.detect(program), names }
  } catch {
    return null
  }
}

/** Templates by name; a single one is `default`. `file` is the text of `chat_template.jinja` and wins. */
const templatesOf = (config: Json, file: string | null): ReadonlyMap<string, string> => {
  const given = file ?? config["chat_template"]
  if (typeof given === "string") return new Map([["default", given]])
  if (!Array.isArray(given)) return new Map()
  return new Map(
    (given as ReadonlyArray<Json>)
      .filter((each) => typeof each["name"] === "string" && typeof each["template"] === "string")
      .map((each) => [each["name"] as string, each["template"] as string])
  )
}

const specials = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]

const specialTokens = (config: Json): Json => {
  const out: Record<string, unknown> = {}
  for (const name of specials) {
    const token = config[name]
    const content = typeof token === "string" ? token : (token as Json | null | undefined)?.["content"]
    if (typeof content === "string") out[name] = content
  }
  return out
}

/** Names a request may not set: the engine answers them with an error. */
const reserved = ["chat_template", "tokenize", "messages", "conversation", "tools"]

/** Variables beside the messages and tools; null when the engine would refuse them or print them otherwise. */
const variablesOf = (body: ChatBody): Record<string, unknown> | null => {
  const given = body.chat_template_kwargs ?? {}
  if (reserved.some((name) => name in given) || !JsonExact.isPlain(given)) return null
  const effort = body.reasoning_effort ?? null
  return {
    documents: null,
    ...given,
    add_generation_prompt: body.add_generation_prompt ?? true,
    continue_final_message: body.continue_final_message ?? false,
    ...(body.documents === undefined || body.documents === null ? {} : { documents: body.documents }),
    ...(effort === null ? {} : { reasoning_effort: effort }),
    ...(effort === null || "enable_thinking" in given ? {} : { enable_thinking: effort !== "none" })
  }
}

const tag = "CONTINUE_FINAL_MESSAGE_TAG "

/** Marks where the last message's text ends; false when it has no text to continue. */
const markEnd = (messages: Array<Record<string, unknown>>): boolean => {
  const last = messages.at(-1)
  if (last === undefined) return false
  if (typeof last["content"] === "string") {
    last["content"] += tag
    return true
  }
  const part = (last["content"] as Array<Record<string, string>>).findLast((each) => "text" in each)
  if (part === undefined) return false
  part["text"] += tag
  return true
}

/** Cuts the prompt where the last message's text ended; null when the template left that text out. */
const cutAtEnd = (rendered: string): string | null => {
  const at = rendered.lastIndexOf(tag.trimEnd())
  if (at === -1) return null
  const kept = rendered.slice(0, at)
  return rendered.startsWith(tag, at) ? kept : kept.trimEnd()
}

/** Null when there is no template, or none that this Jinja understands. */
export const make = (config: Json, file: string | null, options: Options): ChatTemplate | null => {
  const templates = new Map([...templatesOf(config, file)].map(([name, text]) => [name, compile(text)]))
  const tokens = specialTokens(config)
  if (![...templates.values()].some((compiled) => compiled !== null)) return null

  const run = (compiled: Compiled, variables: Json): string => {
    const environment = new Environment()
    const known: Json = {
      raise_exception: (message: string) => {
        throw new Error(message)
      },
      strftime_now: (format: string) => strftime(options.now(), format),
      range: (first: number, second?: number, step = 1) => {
        const from = second === undefined ? 0 : first
        const to = second ?? first
        return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step)
      },
      // As in Python, a request's names hide functions, but not constants.
      ...variables,
      ...{ true: true, false: false, none: null, True: true, False: false, None: null }
    }
    for (const [name, value] of Object.entries(known)) environment.set(name, value)
    // For a name nobody set the library throws and catches an error, stack and all: a third of a short prompt's rendering.
    for (const name of compiled.names) if (!(name in known)) environment.set(name, undefined)
    return (new Interpreter(environment).run(compiled.program) as unknown as { readonly value: string }).value
  }

  return {
    render: (body) => {
      if (body.chat_template !== undefined && body.chat_template !== null) return null
      if (body.messages.length > messagesMax) return null
      const tools = Messages.shapeTools(body.tools)
      const variables = variablesOf(body)
      if (tools === undefined || variables === null || !JsonExact.isPlain(body.documents)) return null
      const compiled = (tools !== null ? templates.get("tool_use") : undefined) ?? templates.get("default")
      if (compiled === undefined || compiled === null) return null
      const messages = Messages.shape(body.messages, compiled.format)
      if (messages === null) return null
      const continues = body.continue_final_message === true
      if (continues && (variables["add_generation_prompt"] === true || !markEnd(messages))) return null
      try {
        const rendered = run(compiled, { ...tokens, ...variables, messages, tools })
        return continues ? cutAtEnd(rendered) : rendered
      } catch {
        return null
      }
    }
  }
}
