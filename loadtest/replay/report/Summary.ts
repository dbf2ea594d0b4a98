/** Summary: one row per strategy, from its results under all seeds. What tables and pictures show. */
import { percentile, spread, sum } from "../../client/Stats.ts"
import type { Result, Spread } from "../Result.ts"
import type { Strategy } from "../Strategy.ts"
import type { Document } from "./Json.ts"

/** Each figure is the median over seeds. */
export interface Row {
  readonly name: string
  readonly about: string
  readonly kind: Strategy["kind"]
  readonly requests: number
  readonly failed: number
  readonly ttftMs: Spread
  readonly e2eMsMean: number
  readonly hitRate: number
  readonly inTime: number
  readonly perSecond: number
  /** Of prompt tokens over workers, largest over mean: 1 is even. */
  readonly spread: number | null
  /** p90 TTFT over that of the first row, seed by seed; null when that is 0. */
  readonly relative: number | null
  /** Under most seeds, times grew with the run: they say no more than that the load was too much. */
  readonly unstable: boolean
  /** Pointwise. */
  readonly cdf: ReadonlyArray<number>
  /** The run whose p90 TTFT is the median one: what is shown over time is one run, not a blend. */
  readonly typical: Result
}

/** In the document's order. A strategy without a result has no row. */
export const rows = ({ results, strategies }: Pick<Document, "results" | "strategies">): ReadonlyArray<Row> => {
  const runsOf = (name: string) => results.filter(({ strategy }) => strategy === name)
  const first = strategies.map(({ name }) => runsOf(name)).find((runs) => runs.length > 0) ?? []
  const base = new Map(first.map(({ seed, ttftMs }) => [seed, ttftMs.p90]))
  return strategies.flatMap(({ about, kind, name }) => {
    const runs = runsOf(name)
    if (runs.length === 0) return []
    const of = (pick: (run: Result) => number) => percentile(runs.map(pick), 0.5)!
    const some = (pick: (run: Result) => number | null) =>
      percentile(
        runs.map(pick).filter((value) => value !== null),
        0.5
      )
    const p90 = of((run) => run.ttftMs.p90)
    return [
      {
        name,
        about,
        kind,
        requests: of((run) => run.requests),
        failed: of((run) => run.failed),
        ttftMs: {
          mean: of((run) => run.ttftMs.mean),
          p50: of((run) => run.ttftMs.p50),
          p90,
          p99: of((run) => run.ttftMs.p99)
        },
        e2eMsMean: of((run) => run.e2eMs.mean),
        hitRate: of((run) => run.hitRate),
        inTime: of((run) => run.inTime),
        perSecond: of((run) => run.perSecond),
        spread: some((run) => spread(run.byWorker.map((worker) => worker.promptTokens))),
        relative: some(({ seed, ttftMs }) => ((base.get(seed) ?? 0) === 0 ? null : ttftMs.p90 / base.get(seed)!)),
        unstable: runs.filter(isUnstable).length * 2 > runs.length,
        cdf: runs[0]!.cdf.map((_, percent) => of((run) => run.cdf[percent]!)),
        typical: runs.find((run) => run.ttftMs.p90 === p90)!
      }
    ]
  })
}

/** Nobody waits so long: a queue has run away. */
const runawayMs = 100_000
/** A queue that grows evenly is three times as long in the last fifth of the time as in the second. A burst is neither. */
const growth = 2
const grownMs = 10_000

/** Load above saturation: requests come faster than they end, so waits grow, fifth by fifth, for as long as it lasts. */
export const isUnstable = ({ series, ttftMs }: Pick<Result, "series" | "ttftMs">): boolean => {
  if (ttftMs.p90 > runawayMs) return true
  const steps = series.ttftMsP90
  const mean = (from: number, to: number): number => {
    const some = steps.slice(Math.floor(steps.length * from), Math.floor(steps.length * to)).filter((ms) => ms !== null)
    return some.length === 0 ? 0 : sum(some) / some.length
  }
  const [second, third, fourth, fifth] = [mean(0.2, 0.4), mean(0.4, 0.6), mean(0.6, 0.8), mean(0.8, 1)]
  return fifth > grownMs && fifth > growth * second && second < third && third < fourth && fourth < fifth
}

/** The strategy to compare ours with: the rival whose p90 TTFT is least. */
export const bestRival = (of: ReadonlyArray<Row>): Row | null =>
  of
    .filter(({ kind }) => kind === "rival")
    .reduce<Row | null>((best, row) => (best === null || row.ttftMs.p90 < best.ttftMs.p90 ? row : best), null)
