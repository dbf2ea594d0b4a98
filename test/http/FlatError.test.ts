import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as FlatError from "../../src/http/FlatError.ts"
import { cut, cuts } from "./Streams.ts"

const flat = { object: "error", message: "Größe: too long", type: "BadRequestError", param: null, code: 400 }
const wrapped = (text: string): string => FlatError.wrapped(Buffer.from(text)).toString()

const collected = (pieces: ReadonlyArray<Buffer>): string => {
  const collect = FlatError.collect()
  const out = pieces.map((piece) => {
    const shared = Buffer.from(piece)
    const passed = Buffer.from(collect(shared, false))
    shared.fill(0)
    return passed
  })
  return Buffer.concat([...out, collect(Buffer.alloc(0), true)]).toString()
}

describe("A flat error of an engine", () => {
  it("is put where OpenAI clients look for it", () => {
    const { object: _, ...error } = flat
    expect(JSON.parse(wrapped(JSON.stringify(flat)))).toEqual({ error })
    expect(JSON.parse(wrapped('{"object":"error","message":"no"}'))).toEqual({
      error: { message: "no", type: null, param: null, code: null }
    })
  })
  it("is recognised by its shape: anything else stays byte for byte", () => {
    for (const text of [
      "",
      "no JSON",
      "7",
      "null",
      '[{"object":"error"}]',
      '{ "error": {"message":"x"} }',
      '{"object":"error","message":"x","error":{}}',
      '{"object":"error","message":7}',
      '{"object":"list","message":"x"}'
    ]) {
      expect(wrapped(text)).toBe(text)
    }
  })
  it("is expected of the engines that send it, in JSON, above 399", () => {
    expect([
      FlatError.isPossible("sglang", 400, "application/json; charset=utf-8"),
      FlatError.isPossible("trtllm", 500, "application/json"),
      FlatError.isPossible("vllm", 400, "application/json"),
      FlatError.isPossible("sglang", 200, "application/json"),
      FlatError.isPossible("sglang", 400, "text/html"),
      FlatError.isPossible("sglang", 400, undefined)
    ]).toEqual([true, true, false, false, false, false])
  })
  it("comes out the same however it is cut", () => {
    const bytes = Buffer.from(JSON.stringify(flat))
    fc.assert(
      fc.property(cuts(bytes.length), (at) => {
        expect(collected(cut(bytes, at))).toBe(FlatError.wrapped(bytes).toString())
      })
    )
  })
  it("passes as it comes when it is too long for an error", () => {
    const long = JSON.stringify({ ...flat, message: "x".repeat(200_000) })
    const bytes = Buffer.from(long)
    const ends = Array.from({ length: 20 }, (_, i) => i * 10_000)
    expect(collected(cut(bytes, ends))).toBe(long)
    expect(collected([bytes])).toBe(long)
  })
})
