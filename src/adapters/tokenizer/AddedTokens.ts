/**
 * AddedTokens: cuts a text at the tokens that are found before any other step, leftmost and longest first.
 *
 * Ids of the whole text are the ids of the parts in order, which is what makes caching by part exact
 * (huggingface/tokenizers, `AddedVocabulary::extract_and_normalize`).
 */
import type { AddedToken, BpeModel } from "./BpeModel.ts"
import * as Regex from "./Regex.ts"

/** Parts in order: a text to encode, or the id of an added token. */
export type Parts = Array<string | number>
export type Split = (text: string) => Parts

const isSpace = (text: string, at: number): boolean => /\p{White_Space}/u.test(text.charAt(at))

const pass = (tokens: ReadonlyArray<AddedToken>): ((text: string, out: Parts) => void) | null => {
  if (tokens.length === 0) return null
  const byContent = new Map(tokens.map((token) => [token.content, token]))
  // Alternatives are tried in order, so longest first finds the longest of those that begin at the same place.
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length)
  const pattern = new RegExp(longestFirst.map(Regex.literal).join("|"), "g")
  return (text, out) => {
    pattern.lastIndex = 0
    let from = 0
    for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
      const token = byContent.get(match[0])!
      let start = match.index
      let end = pattern.lastIndex
      while (token.lstrip && start > from && isSpace(text, start - 1)) start--
      while (token.rstrip && isSpace(text, end)) end++
      if (start > from) out.push(text.slice(from, start))
      out.push(token.id)
      from = end
    }
    if (from < text.length) out.push(from === 0 ? text : text.slice(from))
  }
}

/** Applies the Unicode forms in order. */
export const normalize = (forms: BpeModel["forms"], text: string): string => {
  let out = text
  for (const form of forms) out = out.normalize(form)
  return out
}

/** The splitter of a model. A text it returns may still need normalising; doing so twice changes nothing. */
export const make = ({ added, forms }: Pick<BpeModel, "added" | "forms">): Split => {
  const raw = pass(added.filter((token) => !token.normalized))
  const normalized = pass(
    added.filter((token) => token.normalized).map((token) => ({ ...token, content: normalize(forms, token.content) }))
  )
  return (input) => {
    // A lone surrogate has no UTF-8; every encoder of it writes U+FFFD.
    const text = input.isWellFormed() ? input : input.toWellFormed()
    const parts: Parts = []
    if (raw !== null) raw(text, parts)
    else if (text !== "") parts.push(text)
    if (normalized === null) return parts
    const finer: Parts = []
    for (const part of parts) {
      if (typeof part === "number") finer.push(part)
      else normalized(normalize(forms, part), finer)
    }
    return finer
  }
}
