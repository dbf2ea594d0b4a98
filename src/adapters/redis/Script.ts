/**
 * Script: what runs inside Redis, as a library of Functions (Redis 7) and, where those are not to be had, as scripts for
 * EVALSHA: the same text.
 */
import { createHash } from "node:crypto"
import { merge } from "./MergeScript.ts"
import { names } from "./NamesScript.ts"

const bodies = { write: merge, begin: names, enter: names, settle: names, leave: names } as const
export type Call = keyof typeof bodies
const calls = Object.keys(bodies) as ReadonlyArray<Call>

const digest = (text: string): string => createHash("sha1").update(text).digest("hex")

/** Another text is another name, so that routers of several releases may share a server. */
export const libraryName = `warmpath_${digest(merge + names).slice(0, 8)}`
export const functionName = (call: Call): string => `${libraryName}_${call}`

export const library = [
  `#!lua name=${libraryName}`,
  merge,
  names,
  ...calls.map((call) => `redis.register_function('${functionName(call)}', ${call})`)
].join("\n")

interface Eval {
  readonly text: string
  readonly sha: string
}

const evalOf = (call: Call): Eval => {
  const text = `${bodies[call]}\nreturn ${call}(KEYS, ARGV)`
  return { text, sha: digest(text) }
}

export const evals = Object.fromEntries(calls.map((call) => [call, evalOf(call)])) as Readonly<Record<Call, Eval>>
