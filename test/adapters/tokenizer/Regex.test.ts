import { describe, expect, it } from "vitest"
import * as Regex from "../../../src/adapters/tokenizer/Regex.ts"

const matches = (pattern: string, text: string): ReadonlyArray<string> => text.match(Regex.compile(pattern)!) ?? []

describe("Regex", () => {
  it("knows the white space of Unicode, not JavaScript's", () => {
    expect(matches("\\s", " \u0085\ufeff\u2028")).toEqual([" ", "\u0085", "\u2028"])
    expect(matches("[^\\s]", " \u0085\ufeffx")).toEqual(["\ufeff", "x"])
    expect(matches("\\S", "\u0085\ufeff")).toEqual(["\ufeff"])
  })

  it("counts every decimal digit as a digit and lets a dot match all but a line feed", () => {
    expect(matches("\\d", "1٣½")).toEqual(["1", "٣"])
    expect(matches(".", "a\r\u2028\n")).toEqual(["a", "\r", "\u2028"])
  })

  it("reads escapes, scripts, counts and local case folding", () => {
    expect(matches("[\\-\\.\\'\\#]", "-.'#a")).toEqual(["-", ".", "'", "#"])
    expect(matches("\\p{Han}+|\\x{41}|\\u0042", "漢字AB")).toEqual(["漢字", "A", "B"])
    expect(matches("\\p{N}{1,3}", "12345")).toEqual(["123", "45"])
    expect(matches("(?i:'s|'ll)|S", "'S 'll S s")).toEqual(["'S", "'ll", "S"])
    expect(matches("a+?b?|\\++", "aab+++")).toEqual(["a", "ab", "+++"])
  })

  it("refuses what JavaScript matches differently", () => {
    const refused = [
      "\\w",
      "\\b",
      "^a",
      "a$",
      "a++",
      "a*+",
      "a?+",
      "a{2}+",
      "(?>a)",
      "(?i)a",
      "(?<n>a)",
      "[a[b]]",
      "[a&&b]",
      "[]a]",
      "a{,2}",
      "\\h",
      "\\p{^L}",
      "\\R",
      "a\\"
    ]
    for (const pattern of refused) expect(Regex.compile(pattern), pattern).toBe(null)
    expect(Regex.compile("(")).toBe(null)
  })

  it("matches a text literally", () => {
    for (const text of ["<|a|>", "a.b*c", "[x]{2}(y)^$/\\"]) expect(text.match(Regex.literal(text))?.[0]).toBe(text)
  })
})
