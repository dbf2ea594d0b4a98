/**
 * Decisions: every placement of a replay with all that it followed from, a JSON line each, in order. Whoever has the lines
 * can make each decision again (`again`), or see what it would have been under other weights.
 */
import { closeSync, openSync, writeSync } from "node:fs"
import type { Candidate } from "../../src/domain/Placement.ts"
import * as Cost from "../../src/hot/Cost.ts"
import type { Strategy } from "./Strategy.ts"

export interface Decision {
  readonly atMs: number
  readonly promptTokens: number
  /** The worker chosen. */
  readonly slot: number
  /** What went into the terms of all workers: see `Placement`. */
  readonly price: number
  readonly arrivalsPerMs: number
  /** Every worker that could have been. */
  readonly candidates: ReadonlyArray<Candidate>
}

const bufferChars = 1 << 20

/** The same strategy, telling what it decides. */
export const recorded = (strategy: Strategy, tell: (decision: Decision) => void): Strategy => ({
  ...strategy,
  ledger: (setup) => {
    const ledger = strategy.ledger(setup)
    return {
      ...ledger,
      place: (ask, nowMs) => {
        const { arrivalsPerMs, candidates, price } = ledger.explain(ask, nowMs)
        const slot = ledger.place(ask, nowMs)
        tell({ atMs: nowMs, promptTokens: ask.promptTokens, slot, price, arrivalsPerMs, candidates })
        return slot
      }
    }
  }
})

/** Tells a file, until it is closed. */
export const toFile = (file: string): { readonly tell: (decision: Decision) => void; readonly close: () => void } => {
  const to = openSync(file, "w")
  let text = ""
  const flush = () => {
    writeSync(to, text)
    text = ""
  }
  return {
    tell: (decision) => {
      text += `${JSON.stringify(decision)}\n`
      if (text.length > bufferChars) flush()
    },
    close: () => {
      flush()
      closeSync(to)
    }
  }
}

/** The slot that follows from the terms: the least cost, ties to the first slot behind the one chosen `before`. */
export const again = ({ candidates }: Decision, before: number | null): number => {
  const costs = candidates.map((candidate) => ({ slot: candidate.slot, costMs: Cost.total(candidate) }))
  const leastMs = Math.min(...costs.map(({ costMs }) => costMs))
  const cheapest = costs.filter(({ costMs }) => costMs === leastMs).map(({ slot }) => slot)
  return cheapest.find((slot) => slot > (before ?? -1)) ?? cheapest[0] ?? -1
}
