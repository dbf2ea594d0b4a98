import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as LocalTokenizer from "../../../src/adapters/tokenizer/LocalTokenizer.ts"
import * as Verify from "../../../src/adapters/tokenizer/Verify.ts"
import type { Prompt } from "../../../src/domain/Request.ts"
import { dirOf } from "../../support/Tokenizers.ts"

let qwen: LocalTokenizer.LocalTokenizer
beforeAll(async () => {
  qwen = await LocalTokenizer.load(dirOf("qwen3"))
})
afterAll(() => qwen.close())

const verify = (tokenize: (prompt: Prompt) => Promise<Uint32Array | null>) =>
  Verify.verify(
    qwen,
    { tokenize: (_url, _model, prompt) => tokenize(prompt) },
    "http://w",
    "m",
    new AbortController().signal
  )

describe("Verify", () => {
  it("finds an engine with the same files the same, in every probe", async () => {
    expect(await verify(async (prompt) => qwen.encode(prompt))).toEqual({ _tag: "Same", probes: 6 })
  })

  it("names the first probe and the first token that differ", async () => {
    const verdict = await verify(async (prompt) => {
      const ids = Uint32Array.from((await qwen.encode(prompt)) ?? [])
      if (prompt._tag === "Messages" && prompt.body.tools) ids[10] = 1
      return ids
    })
    expect(verdict).toMatchObject({ _tag: "Different", probe: "tools", at: 10 })
    const shorter = await verify(async (prompt) => (await qwen.encode(prompt))!.slice(0, -1))
    expect(shorter).toMatchObject({ _tag: "Different", probe: "plain" })
  })

  it("knows nothing when the engine answers nothing", async () => {
    expect(await verify(async () => null)).toEqual({ _tag: "Unknown" })
    expect(await verify(() => Promise.reject(new Error("down")))).toEqual({ _tag: "Unknown" })
  })
})
