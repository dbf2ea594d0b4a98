/**
 * Regex: a tokenizer's pattern, written for Oniguruma, as a JavaScript `RegExp` that matches the same text.
 *
 * What differs is rewritten: `\s` has U+0085 and lacks U+FEFF there, `\d` is any decimal digit, `.` excludes `\n` only,
 * and punctuation may be escaped. What cannot be matched exactly is refused with null: `\w` and `\b` (another set of
 * word characters), `^` and `$` (always per line), possessive and atomic groups, nested classes and class arithmetic.
 * Source: oniguruma `doc/RE`, as huggingface/tokenizers uses it.
 */

const syntax = /[\^$\\.*+?()[\]{}|/]/
const scripts = new Set(["Han", "Hiragana", "Katakana", "Hangul", "Latin", "Cyrillic", "Arabic", "Thai", "Greek"])
const controls: Readonly<Record<string, string>> = { r: "\\r", n: "\\n", t: "\\t", f: "\\f", v: "\\v", "0": "\\0" }

/** The escape at `at` (a backslash) and where it ends; null when it has no equal. */
const rewrite = (pattern: string, at: number, inClass: boolean): readonly [string, number] | null => {
  const letter = pattern[at + 1]
  if (letter === undefined) return null
  if (letter === "s") return ["\\p{White_Space}", at + 2]
  if (letter === "S") return ["\\P{White_Space}", at + 2]
  if (letter === "d") return ["\\p{Nd}", at + 2]
  if (letter === "D") return ["\\P{Nd}", at + 2]
  if (letter === "p" || letter === "P") {
    const name = /^\{([A-Za-z_]+)\}/.exec(pattern.slice(at + 2))
    if (name === null) return null
    const property = scripts.has(name[1]!) ? `Script=${name[1]}` : name[1]!
    return [`\\${letter}{${property}}`, at + 2 + name[0].length]
  }
  if (letter === "x" || letter === "u") {
    const code = /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{4}))/.exec(pattern.slice(at + 2))
    if (code === null || (letter === "x" && code[1] === undefined)) return null
    return [`\\u{${code[1] ?? code[2]}}`, at + 2 + code[0].length]
  }
  if (letter in controls) return [controls[letter]!, at + 2]
  if (/[A-Za-z0-9]/.test(letter)) return null
  return [syntax.test(letter) || (inClass && letter === "-") ? `\\${letter}` : letter, at + 2]
}

/** Oniguruma's pattern in JavaScript's words, for the flags `u` with modifiers; null when it has no equal. */
const translate = (pattern: string): string | null => {
  let out = ""
  let inClass = false
  let repeated = false
  for (let at = 0; at < pattern.length; ) {
    const char = pattern[at]!
    const again = repeated
    repeated = !inClass && /[?*+{]/.test(char)
    if (char === "\\") {
      const escaped = rewrite(pattern, at, inClass)
      if (escaped === null) return null
      out += escaped[0]
      at = escaped[1]
      continue
    }
    const rest = pattern.slice(at)
    if (inClass) {
      if (char === "[" || rest.startsWith("&&")) return null
      if (char === "]") inClass = false
    } else if (char === "[") {
      // A bracket right after the opening one is a literal there and the end of the class here.
      if (/^\[\^?\]/.test(rest)) return null
      inClass = true
    } else if (char === "^" || char === "$") return null
    else if (char === ".") {
      out += "[^\\n]"
      at++
      continue
    } else if (char === "(") {
      const opening = /^\((?:\?(?:[:=!]|<[=!]|i:))?/.exec(rest)![0]
      if (opening === "(" && rest.startsWith("(?")) return null
      out += opening
      at += opening.length
      continue
    } else if (char === "{") {
      const count = /^\{\d+(?:,\d*)?\}/.exec(rest)
      if (count === null) return null
      out += count[0]
      at += count[0].length
      continue
    } else if (char === "+" && again) return null
    out += char
    at++
  }
  return out
}

/** A global regular expression for an Oniguruma pattern, or null when none matches the same text. */
export const compile = (pattern: string): RegExp | null => {
  const translated = translate(pattern)
  if (translated === null) return null
  try {
    return new RegExp(translated, "gu")
  } catch {
    return null
  }
}

/** A pattern that matches exactly this text. */
export const literal = (text: string): string => text.replace(/[\^$\\.*+?()[\]{}|/]/g, "\\$&")
