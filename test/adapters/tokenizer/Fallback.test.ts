import { describe, expect, it } from "vitest"
import * as Fallback from "../../../src/adapters/tokenizer/Fallback.ts"
import type { Prompt } from "../../../src/domain/Request.ts"
import type { Tokenizer } from "../../../src/ports/Tokenizer.ts"

const prompt: Prompt = { _tag: "Text", text: "x", addSpecialTokens: false }
const closed: Array<string> = []
const source = (name: string, answer: ReturnType<Tokenizer["encode"]>): Tokenizer => ({
  encode: () => answer,
  close: async () => void closed.push(name)
})
const ids = Uint32Array.of(7)

describe("Fallback", () => {
  it("takes the first answer there is, at once when it can", async () => {
    expect(Fallback.make([source("a", null), source("b", ids), source("c", null)]).encode(prompt)).toBe(ids)
    expect(await Fallback.make([source("a", Promise.resolve(null)), source("b", ids)]).encode(prompt)).toBe(ids)
    const later = Fallback.make([
      source("a", null),
      source("b", Promise.resolve(null)),
      source("c", Promise.resolve(ids))
    ])
    expect(await later.encode(prompt)).toBe(ids)
  })

  it("answers null when nobody knows", async () => {
    expect(Fallback.make([]).encode(prompt)).toBe(null)
    expect(await Fallback.make([source("a", Promise.resolve(null)), source("b", null)]).encode(prompt)).toBe(null)
  })

  it("closes every source", async () => {
    await Fallback.make([source("first", null), source("second", null)]).close()
    expect(closed).toEqual(["first", "second"])
  })
})
