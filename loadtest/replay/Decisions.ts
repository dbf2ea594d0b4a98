/**
 * Decisions: every placement of a replay with all that it followed from, a JSON line each, in order. `Recompute.ts` makes
 * each again from its line alone.
 *
 * A line is `hot/Decision.ts`, the worker chosen, and the terms of its cost, which anyone can add up: of the eligible workers, in
 * the order of slots.
 */
import { closeSync, openSync, writeFileSync } from "node:fs"
import { gzipSync } from "node:zlib"
import type { Placement } from "../../src/domain/Placement.ts"
import type * as Decision from "../../src/hot/Decision.ts"
import type { Strategy } from "./Strategy.ts"

export const terms = ["waitMs", "ownMs", "othersMs", "decodeMs", "recentMs"] as const
export type Term = (typeof terms)[number]
export type Terms = Readonly<Record<Term, ReadonlyArray<number>>>

export interface Told extends Decision.Decision {
  /** The worker chosen. */
  readonly slot: number
  readonly terms: Terms
}

export const termsOf = ({ candidates }: Placement): Terms =>
  Object.fromEntries(terms.map((term) => [term, candidates.map((each) => each[term])])) as Record<Term, Array<number>>

/** The same strategy, telling what it decides. */
export const recorded = (strategy: Strategy, tell: (told: Told) => void): Strategy => ({
  ...strategy,
  ledger: (setup) => {
    const ledger = strategy.ledger(setup)
    return {
      ...ledger,
      place: (ask, nowMs) => {
        const decision = ledger.decision(ask, nowMs)
        const explained = ledger.explain(ask, nowMs)
        const slot = ledger.place(ask, nowMs)
        tell({ ...decision, slot, terms: termsOf(explained) })
        return slot
      }
    }
  }
})

const bufferChars = 1 << 20

/** Tells a file, gzip when it is called .gz, until it is closed. */
export const toFile = (file: string): { readonly tell: (told: Told) => void; readonly close: () => void } => {
  const to = openSync(file, "w")
  const packed = file.endsWith(".gz")
  let text = ""
  const flush = () => {
    // A gzip file may have many members, one after the other.
    writeFileSync(to, packed ? gzipSync(text) : text)
    text = ""
  }
  return {
    tell: (told) => {
      text += `${JSON.stringify(told)}\n`
      if (text.length > bufferChars) flush()
    },
    close: () => {
      flush()
      closeSync(to)
    }
  }
}
