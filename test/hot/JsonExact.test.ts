import { describe, expect, it } from "vitest"
import * as JsonExact from "../../src/hot/JsonExact.ts"

describe("JsonExact", () => {
  it("finds numbers that JavaScript gives back otherwise than Python", () => {
    for (const number of [
      "1.0",
      "-0.0",
      "1e5",
      "1E+2",
      "1e20",
      "1.5e300",
      "9007199254740993",
      "-9007199254740993",
      "0.00001",
      "1e-7"
    ])
      for (const text of [number, `[${number}]`, `{"a": [1, ${number}]}`])
        expect(JsonExact.isLossy(text, 0), text).toBe(true)
  })

  it("lets the others pass, and what only looks like a number", () => {
    for (const text of [
      "0",
      "-1",
      "9007199254740991",
      "0.5",
      "-1.25e0",
      "123.456",
      "0.0001",
      '"1.0"',
      '"\\"1.0"',
      '"\\\\"',
      '{"1.0": "1e5"}',
      "[true, null]"
    ])
      expect(JsonExact.isLossy(text, 0), text).toBe(false)
  })

  it("leaves numbers that are not nested deep enough alone", () => {
    const body = '{"temperature": 1.0, "messages": [{"role": "user", "content": "1.0"}], "tools": [{"minimum": 0}]}'
    expect(JsonExact.isLossy(body, 2)).toBe(false)
    expect(JsonExact.isLossy(body.replace('"minimum": 0', '"minimum": 0.0'), 2)).toBe(true)
    expect(JsonExact.isLossy(body, 1)).toBe(true)
  })

  it("does not vouch for what is nested without end, and does not fail on it", () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000)
    expect(JsonExact.isPlain(JSON.parse(deep))).toBe(false)
    expect(JsonExact.isLossy(deep, 0)).toBe(false)
  })

  it("judges parsed values, with the order of their keys", () => {
    for (const value of [
      1,
      -5,
      0.5,
      "x",
      null,
      true,
      [],
      {},
      { a: 1, "01": 2, "-1": 3 },
      { 7: "alone" },
      [[{ b: [0.25] }]]
    ])
      expect(JsonExact.isPlain(value), JSON.stringify(value)).toBe(true)
    for (const value of [2 ** 53, 1e300, 1e-5, { a: 1, 2: 3 }, [[{ b: [2 ** 60] }]]])
      expect(JsonExact.isPlain(value), JSON.stringify(value)).toBe(false)
  })
})
