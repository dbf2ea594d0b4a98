/** Receipts of a replay: what a router that placed so would have written, without what only a live one knows. */
import * as Decisions from "../../loadtest/replay/Decisions.ts"
import * as Generated from "../../loadtest/replay/Generated.ts"
import * as Replay from "../../loadtest/replay/Replay.ts"
import * as Strategies from "../../loadtest/replay/Strategies.ts"
import * as Decision from "../../src/hot/Decision.ts"
import { fleet } from "./SmallFleet.ts"

const receiptOf = (told: Decisions.Told, number: number) => {
  const { slot, terms: _, ...decision } = told
  const { candidates, policy } = Decision.again(decision)
  const predictedTokens = told.cachedTokens[slot]!
  return {
    version: 1,
    id: `request-${number}`,
    at: new Date(Date.UTC(2026, 0, 1) + told.atMs).toISOString(),
    tries: [
      {
        worker: `10.0.0.${slot}:8000`,
        slot,
        policy,
        candidates: candidates.map((each) => ({ ...each, worker: `10.0.0.${each.slot}:8000` })),
        others: 0,
        predictedTokens,
        bestTokens: Math.max(...told.cachedTokens),
        decision
      }
    ],
    regret: { choiceTokens: 0, pictureTokens: number % 3 === 0 ? null : 0 }
  }
}

export type Made = ReturnType<typeof receiptOf>

/** Two busy minutes of four workers. */
export const made = (): ReadonlyArray<Made> => {
  const all: Array<Made> = []
  const tell = (told: Decisions.Told) => void all.push(receiptOf(told, all.length + 1))
  const trace = Generated.arrivals(1, 120_000, 4)
  Replay.run(trace, Decisions.recorded(Strategies.ours, tell), fleet, { seed: 1, live: 16, durationMs: 120_000 })
  return all
}

export const linesOf = (receipts: ReadonlyArray<unknown>): string =>
  receipts.map((receipt) => `${JSON.stringify(receipt)}\n`).join("")
