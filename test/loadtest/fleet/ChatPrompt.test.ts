import { readFileSync } from "node:fs"
import { afterEach, describe, expect, it, vi } from "vitest"
import * as ChatPrompt from "../../../loadtest/fleet/ChatPrompt.ts"
import { configOf, names } from "../../support/Tokenizers.ts"

interface Golden {
  readonly template: string
  readonly title: string
  readonly body: ChatPrompt.Json
  readonly expected: string
}

const folder = new URL("../../support/templates/", import.meta.url)
const text = (name: string): string => readFileSync(new URL(name, folder), "utf8")
const golden = JSON.parse(text("golden.json")) as ReadonlyArray<Golden>

const prompts = new Map([
  ...names.map(
    (name) => [name as string, ChatPrompt.make(configOf(name)["chat_template"] as string, configOf(name))] as const
  ),
  ["parts", ChatPrompt.make(text("parts.jinja"), { bos_token: "<s>", eos_token: { content: "</s>" } })] as const,
  ["dated", ChatPrompt.make(text("dated.jinja"), {})] as const
])

const user = { role: "user", content: "hi" }

describe("ChatPrompt", () => {
  afterEach(() => vi.useRealTimers())

  it.each(golden.map((each) => [each.template, each.title, each] as const))(
    "renders %s, %s, as vLLM does",
    (_name, _title, { body, expected, template }) => {
      vi.useFakeTimers({ now: new Date(2026, 2, 7, 9, 5, 4) })
      expect(prompts.get(template)!(body)).toBe(expected)
    }
  )

  it("refuses what vLLM refuses: media, a template from outside, a final message continued and followed", () => {
    const render = prompts.get("qwen3")!
    const image = { type: "image_url", image_url: { url: "x" } }
    expect(() => render({ messages: [{ role: "user", content: [image] }] })).toThrow(/text only.*image_url/)
    expect(() => render({ messages: [user], chat_template: "{{ 1 }}" })).toThrow("chat_template")
    expect(() => render({ messages: [user], chat_template_kwargs: { messages: [] } })).toThrow("messages")
    expect(() => render({ messages: [user], continue_final_message: true })).toThrow("add_generation_prompt")
  })

  it("puts a picture's text before the words of its message, or where it stands when a template walks through parts", () => {
    const image = { type: "image_url", image_url: { url: "x" } }
    const content = [{ type: "text", text: "one" }, image, { type: "text", text: "two" }]
    const body = { messages: [{ role: "user", content }] }
    expect(prompts.get("qwen3")!(body, "<image>")).toContain("<image>\none\ntwo")
    const walked = prompts.get("parts")!(body, "<image>")
    expect(walked.indexOf("one")).toBeLessThan(walked.indexOf("<image>"))
    expect(walked.indexOf("<image>")).toBeLessThan(walked.indexOf("two"))
  })

  it("takes arguments that are no JSON for an empty object", () => {
    const call = { id: "1", type: "function", function: { name: "f", arguments: "{" } }
    const prompt = prompts.get("qwen3")!({ messages: [user, { role: "assistant", content: null, tool_calls: [call] }] })
    expect(prompt).toContain('{"name": "f", "arguments": {}}')
  })
})
