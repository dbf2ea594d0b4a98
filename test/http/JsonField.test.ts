import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { replaceString } from "../../src/http/JsonField.ts"

const replace = (text: string, field = "model", value = "real"): string =>
  replaceString(Buffer.from(text), field, value).toString()

describe("JsonField.replaceString", () => {
  it("changes the value and no other byte", () => {
    expect(replace('{ "temperature" : 1.0,\n "model"\t: "alias" , "n": 1e20}')).toBe(
      '{ "temperature" : 1.0,\n "model"\t: "real" , "n": 1e20}'
    )
  })
  it("leaves the same words alone inside strings, arrays and nested objects", () => {
    const rest = '"messages":[{"model":"x","content":"\\"model\\": \\"y\\" \\\\"}],"o":{"model":"z"}'
    expect(replace(`{${rest},"model":"alias"}`)).toBe(`{${rest},"model":"real"}`)
  })
  it("finds a key written with escapes and replaces every repetition", () => {
    expect(replace('{"mod\\u0065l":"a","model":"b"}')).toBe('{"mod\\u0065l":"real","model":"real"}')
  })
  it("skips a repetition that is no string", () => {
    expect(replace('{"model":5,"model":"b"}')).toBe('{"model":5,"model":"real"}')
  })
  it("agrees with parsing, changing and printing on any object", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), fc.string(), (object, was, value) => {
        const full = { ...object, model: was }
        const text = JSON.stringify(full)
        expect(JSON.parse(replace(text, "model", value))).toEqual(JSON.parse(JSON.stringify({ ...full, model: value })))
      })
    )
  })
})
