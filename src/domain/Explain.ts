/** Schema failures in words: where, the value found, and what is allowed there. One line each. */
import { type Schema, SchemaIssue } from "effect"

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const at = (input: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>(
    (value, key) =>
      typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    input
  )

/** A key is a secret even where it is wrong. */
const secret = "apiKey"

/** In addresses, of each host: what lies between a user's name and the last `@` before the path. */
const passwords = /((?:\/\/|,)[^\s:@/?,"]*):[^\s/?,"]*@/g

const show = (value: unknown, key: PropertyKey | undefined): string => {
  const hide = (name: string, inner: unknown) => (name === secret ? "<redacted>" : inner)
  const whole = key === secret ? "<redacted>" : (JSON.stringify(value, hide) ?? "nothing")
  const text = whole.replace(passwords, "$1:<redacted>@")
  return text.length > 120 ? `${text.slice(0, 117)}…` : text
}

const pathOf = (path: ReadonlyArray<PropertyKey>): string =>
  path
    .map((key, index) => (typeof key === "number" ? `[${key}]` : index === 0 ? String(key) : `.${String(key)}`))
    .join("")

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

/** `prefix`: where `input` lies in what the person wrote, for example `["workers", 3]`. */
export const explain = (
  error: Schema.SchemaError,
  input: unknown,
  prefix: ReadonlyArray<PropertyKey> = []
): ReadonlyArray<string> =>
  format(error.issue).issues.map(({ message, path = [] }) => {
    const keys = path.map((part) => (typeof part === "object" ? part.key : part))
    const where = pathOf([...prefix, ...keys])
    if (message === "Missing key") return `${where} is missing`
    if (message === "Expected no excess property") return `${where} is not known`
    return `${where === "" ? "it" : where} is ${show(at(input, keys), keys.at(-1))}: ${lower(message)}`
  })

/** The nearest of `names`, when one is close enough to be what was meant. */
export const nearest = (name: string, names: ReadonlyArray<string>): string | undefined => {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(name.length / 4)) + 1
  for (const other of names) {
    const distance = edits(name.toLowerCase(), other.toLowerCase())
    if (distance < bestDistance) {
      best = other
      bestDistance = distance
    }
  }
  return best
}

/** Levenshtein distance. */
const edits = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const above = row
    row = [i]
    for (let j = 1; j <= b.length; j++) {
      row.push(Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
  }
  return row[b.length]!
}
