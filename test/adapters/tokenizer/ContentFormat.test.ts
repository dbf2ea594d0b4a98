import { parse, tokenize } from "@huggingface/jinja"
import { describe, expect, it } from "vitest"
import * as ContentFormat from "../../../src/adapters/tokenizer/ContentFormat.ts"

const detect = (template: string) =>
  ContentFormat.detect(parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true })))
const loop = (list: string, content: string) =>
  `{% for message in ${list} %}{% for part in ${content} %}{{ part.text }}{% endfor %}{% endfor %}`

describe("ContentFormat", () => {
  it("sees a loop over the content of a message", () => {
    for (const content of ["message.content", "message['content']", "message.content | list", "message['content'][1:]"])
      expect(detect(loop("messages", content)), content).toBe("parts")
    expect(
      detect(
        "{% for m in messages %}{% if m.content is not string %}{% for c in m.content if c.text %}x{% endfor %}{% endif %}{% endfor %}"
      )
    ).toBe("parts")
  })

  it("follows the messages through assignments, slices and filters", () => {
    for (const list of ["messages[1:]", "messages | reverse", "rest"])
      expect(detect(`{% set rest = messages[1:] %}${loop(list, "message.content")}`), list).toBe("parts")
    expect(detect(`{% set a = messages %}{% set b = a[::2] %}${loop("b", "message.content")}`)).toBe("parts")
  })

  it("takes every other template to print strings, as vLLM does", () => {
    for (const template of [
      "{% for message in messages %}{{ message.content }}{% endfor %}",
      loop("messages", "message.tool_calls"),
      loop("documents", "message.content"),
      loop("messages", "message[key]"),
      "{% macro show(content) %}{% for part in content %}{{ part }}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(m.content) }}{% endfor %}",
      "{% for message in messages %}{% set content = message.content %}{% for part in content %}x{% endfor %}{% endfor %}",
      "{% for a, b in messages %}{% for part in a.content %}x{% endfor %}{% endfor %}",
      `{% set ns = namespace(m=[]) %}{% set ns.m = messages %}${loop("messages", "message.content")}`
    ])
      expect(detect(template), template).toBe("string")
  })
})
