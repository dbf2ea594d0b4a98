/** Fields of a line, or of an object within it. A field may have several names: the first that is there counts. */
import { type Fields, isThere, type Line } from "./Line.ts"

const said = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** A number of 0 or more; null when the field is not there. */
export const optional = (line: Line, of: Fields, ...names: ReadonlyArray<string>): number | null => {
  const name = names.find((each) => isThere(of[each]))
  if (name === undefined) return null
  const value = of[name]
  return typeof value === "number" && value >= 0 ? value : line.fail(`${name} is ${said(value)}`, "a number, 0 or more")
}

export const number = (line: Line, of: Fields, ...names: ReadonlyArray<string>): number =>
  optional(line, of, ...names) ?? line.fail(`${names.join(" or ")} is missing`, "a number, 0 or more")

/** A length in tokens. */
const tokens = (line: Line, of: Fields, ...names: ReadonlyArray<string>): number => {
  const value = number(line, of, ...names)
  return Number.isInteger(value) ? value : line.fail(`${names[0]} is ${value}`, "whole tokens")
}

/** An engine computes one token at least, or there would be nothing to answer. */
export const promptTokens = (line: Line, of: Fields, ...names: ReadonlyArray<string>): number =>
  Math.max(1, tokens(line, of, ...names))

/** An engine answers with one token at least. */
export const outputTokens = (line: Line, of: Fields, ...names: ReadonlyArray<string>): number =>
  Math.max(1, tokens(line, of, ...names))

/** Whatever names something: a number or a string. */
export const label = (line: Line, of: Fields, name: string): number | string => {
  const value = of[name]
  return typeof value === "number" || typeof value === "string"
    ? value
    : line.fail(isThere(value) ? `${name} is ${said(value)}` : `${name} is missing`, "a number or a string")
}

export const list = (line: Line, of: Fields, name: string): ReadonlyArray<unknown> => {
  const value = of[name]
  return Array.isArray(value)
    ? value
    : line.fail(isThere(value) ? `${name} is ${said(value)}` : `${name} is missing`, "a list")
}

/** The ids of a prompt's blocks, the last of which may be left out or not be full. */
export const blockIds = (
  line: Line,
  of: Fields,
  name: string,
  promptTokens: number,
  blockSize: number
): ReadonlyArray<number> => {
  const ids = list(line, of, name)
  for (const id of ids) if (typeof id !== "number") return line.fail(`${name} holds ${said(id)}`, "numbers")
  checkCount(line, name, ids.length, promptTokens, blockSize)
  return ids as ReadonlyArray<number>
}

/** Too few or too many ids most likely mean that they stand for other blocks than believed. */
export const checkCount = (line: Line, name: string, count: number, promptTokens: number, blockSize: number): void => {
  const least = Math.floor(promptTokens / blockSize)
  const most = Math.ceil(promptTokens / blockSize)
  if (count >= least && count <= most) return
  line.fail(
    `${count} ${name} for a prompt of ${promptTokens} tokens`,
    `${least === most ? least : `${least} or ${most}`}, as the ids stand for ${blockSize} tokens each; if they do not, say so with --block-size`
  )
}
