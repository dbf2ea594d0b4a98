import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import * as ChatTemplate from "../../../src/adapters/tokenizer/ChatTemplate.ts"
import type { ChatBody } from "../../../src/domain/Request.ts"
import { configOf, names } from "../../support/Tokenizers.ts"

interface Golden {
  readonly template: string
  readonly title: string
  readonly body: ChatBody
  readonly expected: string
}

const folder = new URL("../../support/templates/", import.meta.url)
const text = (name: string): string => readFileSync(new URL(name, folder), "utf8")
const golden = JSON.parse(text("golden.json")) as ReadonlyArray<Golden>

const now = () => new Date(2026, 2, 7, 9, 5, 4)
const make = (config: Record<string, unknown>, file: string | null = null) => ChatTemplate.make(config, file, { now })!

const templates = new Map<string, ChatTemplate.ChatTemplate>([
  ...names.map((name) => [name, make(configOf(name))] as const),
  ["parts", make({ bos_token: "<s>", eos_token: "</s>" }, text("parts.jinja"))] as const,
  ["dated", make({}, text("dated.jinja"))] as const
])

const user = { role: "user", content: "hi" }
const echo = make({ chat_template: "{{ messages | tojson }}{{ tools | tojson }}" })
const called = (args: unknown): ChatBody => ({
  messages: [
    user,
    { role: "assistant", content: null, tool_calls: [{ id: "1", function: { name: "f", arguments: args } }] }
  ]
})
const withTool = (parameters: unknown): ChatBody => ({
  messages: [user],
  tools: [{ type: "function", function: { name: "f", parameters } }]
})

describe("ChatTemplate", () => {
  it.each(golden.map((each) => [each.template, each.title, each] as const))(
    "renders %s, %s, as Transformers does",
    (_name, _title, { body, expected, template }) => {
      expect(templates.get(template)!.render(body)).toBe(expected)
    }
  )

  it("has at least fifteen golden conversations for every template", () => {
    for (const name of templates.keys())
      expect(golden.filter((each) => each.template === name).length).toBeGreaterThan(14)
  })

  it("declines media, unknown parts and messages that are no objects", () => {
    for (const part of [
      { type: "image_url", image_url: { url: "x" } },
      { type: "input_audio" },
      { type: "text", text: 1 },
      7
    ])
      expect(echo.render({ messages: [{ role: "user", content: [part] }] })).toBe(null)
    expect(echo.render({ messages: [{ role: "user", content: { a: 1 } }] })).toBe(null)
    expect(echo.render({ messages: [7 as unknown as Record<string, unknown>] })).toBe(null)
  })

  it("declines numbers and keys that JavaScript would print otherwise", () => {
    for (const args of [
      '{"x": 1.0}',
      '{"x": 9007199254740993}',
      '{"x": 1e20}',
      '{"x": 1e-7}',
      '{"b": 1, "1": 2}',
      '{"x": NaN}'
    ])
      expect(echo.render(called(args)), args).toBe(null)
    for (const parameters of [{ x: 2 ** 60 }, { x: 0.00001 }, JSON.parse('{"b": 1, "404": 2}')])
      expect(echo.render(withTool(parameters))).toBe(null)
    expect(echo.render(called('{"x": [1, -2, 0.5, 1.25e2], "s": "1.0"}'))).toBe(null)
    expect(echo.render(called('{"x": [1, -2, 0.5, 1.25e0], "s": "1.0"}'))).toContain(
      '{"x": [1, -2, 0.5, 1.25], "s": "1.0"}'
    )
    expect(echo.render(withTool({ 404: "one key keeps its place" }))).toContain('{"404": "one key')
  })

  it("declines text that Python trims and JavaScript does not, and the other way round", () => {
    for (const odd of ["\ufeffhi", "hi\x85", "\x1chi"])
      expect(echo.render({ messages: [{ role: "user", content: odd }] })).toBe(null)
  })

  it("takes arguments that are no JSON for an empty object, as the engine does", () => {
    for (const args of ["", "{", null, 7]) expect(echo.render(called(args))).toContain('"arguments": {}')
  })

  it("does not run a template that a client sends, and sets no reserved name", () => {
    expect(echo.render({ messages: [user], chat_template: "{{ 1 }}" })).toBe(null)
    expect(echo.render({ messages: [user], chat_template_kwargs: { messages: [] } })).toBe(null)
    expect(echo.render({ messages: [user], chat_template: null })).not.toBe(null)
  })

  it("declines what would hold the event loop: messages without number, values nested without end", () => {
    const many = (count: number) => ({ messages: Array.from({ length: count }, () => user) })
    expect(echo.render(many(4096))).not.toBe(null)
    expect(echo.render(many(4097))).toBe(null)
    const deep: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000))
    expect(echo.render(withTool(deep))).toBe(null)
    expect(echo.render(called(JSON.stringify([1]).replace("1", "[".repeat(50_000) + "]".repeat(50_000))))).toBe(null)
    expect(echo.render({ messages: [{ role: "user", content: "hi", name: "n" }], documents: [deep] })).toBe(null)
    const call = { id: deep, function: { name: "f", arguments: "{}" } }
    expect(echo.render({ messages: [{ role: "assistant", tool_calls: [call] }] })).toBe(null)
  })

  it("answers null when the template refuses", () => {
    const picky = make({ chat_template: "{{ raise_exception('no') }}" })
    expect(picky.render({ messages: [user] })).toBe(null)
    const clock = make({ chat_template: "{{ strftime_now('%j') }}" })
    expect(clock.render({ messages: [user] })).toBe(null)
  })

  it("picks the tool template among named ones, and a file over the config", () => {
    const named = [
      { name: "default", template: "plain" },
      { name: "tool_use", template: "tools" }
    ]
    const template = make({ chat_template: named })
    expect(template.render({ messages: [user] })).toBe("plain")
    expect(template.render(withTool({}))).toBe("tools")
    expect(make({ chat_template: named }, "file").render(withTool({}))).toBe("file")
  })

  it("does not exist without a template, or with one that cannot be parsed", () => {
    expect(ChatTemplate.make({}, null, { now })).toBe(null)
    expect(ChatTemplate.make({}, "{% if %}", { now })).toBe(null)
  })
})
