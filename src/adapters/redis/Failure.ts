/** Failure: what Redis and its client say when something failed, as errors of the port. */
import { ErrorReply } from "redis"
import { StoreError } from "../../ports/StateStore.ts"
import { Late } from "./Deadline.ts"
import { otherLife } from "./NamesScript.ts"

/** What waiting does not heal, with a code for scripts and what to do. */
export class Unusable extends Error {
  readonly code: string
  readonly fix: string

  constructor(code: string, why: string, fix: string) {
    super(why)
    this.code = code
    this.fix = fix
  }
}

/** The store is not as it was when its user last asked. */
export class OtherLife extends Error {}

/** First word of an error that Redis answered with; empty for others. */
export const wordOf = (error: unknown): string =>
  error instanceof ErrorReply ? (/^[A-Z]+/.exec(error.message)?.[0] ?? "") : ""

/** What a user may not do, itself or in a script. */
export const isForbidden = (error: unknown): boolean =>
  error instanceof ErrorReply && /^NOPERM|user executing the script can't/.test(error.message)
export const isUnknownFunction = (error: unknown): boolean =>
  error instanceof ErrorReply && /function not found/i.test(error.message)
export const isUnknownCommand = (error: unknown): boolean =>
  error instanceof ErrorReply && /unknown (sub)?command/i.test(error.message)

/** Those that pass by themselves: a server that loads its data, a failover that is under way. */
const passing = new Set(["LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "READONLY", "NOREPLICAS", "MOVED", "ASK"])

const advice: Readonly<Record<string, string>> = {
  OOM: "its memory is full: raise maxmemory, or let it drop what is old with maxmemory-policy volatile-lru",
  NOPERM: "the user lacks a permission; see the adapter's README for those it needs",
  NOAUTH: "it wants a user or password",
  WRONGPASS: "the user or password is wrong",
  MISCONF: "it does not write because it cannot persist; see its log",
  BUSY: "a script of someone else blocks it"
}

export const wordsOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const known = advice[wordOf(error)]
  // What node says of a host with several addresses.
  const first = error instanceof AggregateError ? error.errors[0] : undefined
  const said = error.message !== "" ? error.message : first instanceof Error ? first.message : error.name
  return known === undefined ? said : `${known} (${said})`
}

export const away = (what: string, detail: string): StoreError => new StoreError({ what, reason: "away", detail })

export const refused = (what: string, detail: string): StoreError => new StoreError({ what, reason: "refused", detail })

export const storeError = (what: string, error: unknown): StoreError => {
  if (error instanceof StoreError) return error
  if (error instanceof Late) return new StoreError({ what, reason: "late", detail: error.message })
  if (error instanceof Error && error.message === "The queue is full")
    return new StoreError({ what, reason: "late", detail: "too many commands wait for an answer" })
  if (error instanceof Unusable) return refused(what, `${error.message}. ${error.fix}`)
  const word = wordOf(error)
  if (word === otherLife || error instanceof OtherLife)
    return refused(what, "the store began another life, and what was written before is gone")
  const isAnswer = error instanceof ErrorReply && !passing.has(word)
  return new StoreError({ what, reason: isAnswer ? "refused" : "away", detail: wordsOf(error) })
}
