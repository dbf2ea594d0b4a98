import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as JsonField from "../../src/http/JsonField.ts"

const replace = (text: string, field = "model", value = "real"): string =>
  JsonField.replaceString(Buffer.from(text), field, value).toString()
const set = (text: string, field: string, json: string): string =>
  JsonField.set(Buffer.from(text), field, json).toString()
const insert = (text: string, field: string, json: string): string =>
  JsonField.insert(Buffer.from(text), field, json).toString()

/** JSON of an object with white space wherever it may stand, and any key twice. */
const spaced = (object: Record<string, unknown>, space: string, twice: string | null): string => {
  const pair = (key: string) =>
    `${space}${JSON.stringify(key)}${space}:${space}${JSON.stringify(object[key], null, space)}${space}`
  const keys = Object.keys(object)
  return `${space}{${[...keys, ...(twice !== null && Object.hasOwn(object, twice) ? [twice] : [])].map(pair).join(",") || space}}${space}`
}
const anySpace = fc.constantFrom("", " ", "\n", " \r\n\t ")

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

describe("JsonField.set", () => {
  it("adds a field in front, also to an empty object, and keeps every other byte", () => {
    expect(set('\n{ "a" : 1.0 }\n', "b", "[2]")).toBe('\n{"b":[2], "a" : 1.0 }\n')
    expect([set("{}", "b", "2"), set("{ \n}", "b", "2")]).toEqual(['{"b":2}', '{"b":2 \n}'])
  })
  it("replaces a value of any kind", () => {
    for (const was of ["null", "-1.5e9", "true", '"x,}"', "[1,[2,{}]]", '{"a":{"b":"}"}}', "{}", "[]"]) {
      expect(set(`{"a":${was}}`, "a", "7")).toBe('{"a":7}')
      expect(set(`{"z":${was} , "a" : ${was}\n,"y":0}`, "a", "7")).toBe(`{"z":${was} , "a" : 7\n,"y":0}`)
    }
  })
  it("replaces every repetition, however its key is written", () => {
    expect(set('{"a":1,"\\u0061":{"a":2},"b":{"a":3}}', "a", "7")).toBe('{"a":7,"\\u0061":7,"b":{"a":3}}')
  })
  it("agrees with parsing, changing and printing on any object, however spaced", () => {
    const values = fc.dictionary(fc.oneof(fc.constantFrom("a", "b"), fc.string()), fc.jsonValue(), { maxKeys: 6 })
    fc.assert(
      fc.property(values, anySpace, fc.jsonValue(), fc.boolean(), (object, space, value, twice) => {
        const text = spaced(object, space, twice ? "a" : null)
        const json = JSON.stringify(value)
        expect(JSON.parse(set(text, "a", json))).toEqual({ ...JSON.parse(text), a: JSON.parse(json) })
        if (Object.hasOwn(object, "a")) return
        expect(insert(text, "a", json)).toBe(set(text, "a", json))
        // Nothing but the new field came in.
        expect(set(text, "a", json).replace(/"a":.*/s, "")).toBe(text.slice(0, text.indexOf("{") + 1))
      }),
      { numRuns: 500 }
    )
  })
})
