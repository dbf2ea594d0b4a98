/** Choice: strategies by the names given on the command line. */
import { Schema } from "effect"
import { strategies } from "./Strategies.ts"
import type { Strategy } from "./Strategy.ts"

export class UnknownPolicy extends Schema.TaggedError<UnknownPolicy>()("UnknownPolicy", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  readonly blame = "client"
  readonly retry = "never"
  override get message() {
    return `There is no policy "${this.name}". There are: ${this.known.join(", ")}. \`warmpath replay --list\` says what each does.`
  }
}

/** One of each kind: ours, the usual, the rivals that do best where they do well, and what nobody can beat by much. */
export const usual: ReadonlyArray<string> = [
  "warmpath",
  "round-robin",
  "dynamo-4",
  "llm-d-precise",
  "smg-events",
  "pooled-cache"
]

export const byName = (name: string): Strategy => {
  const found = strategies.find((strategy) => strategy.name === name)
  if (found === undefined) throw new UnknownPolicy({ name, known: strategies.map((strategy) => strategy.name) })
  return found
}

/** In the order given, once each. None: the usual ones; `all`: every one there is. */
export const of = (names: ReadonlyArray<string>): ReadonlyArray<Strategy> => [
  ...new Set((names.length === 0 ? usual : names).flatMap((name) => (name === "all" ? strategies : [byName(name)])))
]

/** A line for each: what it is called, and what it does. */
export const list = (): string => {
  const wide = Math.max(...strategies.map(({ name }) => name.length))
  return strategies.map(({ about, name }) => `${name.padEnd(wide)}  ${about}`).join("\n")
}
