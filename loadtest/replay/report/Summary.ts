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
/** Requests outstanding in the last fifth of the time over those in the second, when first tokens come late, too. */
const growth = 1.5
const lateMs = 10_000

/**
 * Load above saturation: requests come faster than they end, so ever more are outstanding, fifth by fifth, for as long as
 * it lasts. Waits alone do not tell: a burst makes them long for a while, and caches that fill for the first hour.
 */
export const isUnstable = ({ series, ttftMs }: Pick<Result, "series" | "ttftMs">): boolean => {
  if (ttftMs.p90 > runawayMs) return true
  const steps = series.ttftMsP90.length
  const meanOf = (values: ReadonlyArray<number | null>, fifth: number): number => {
    const some = values.slice((steps * fifth) / 5, (steps * (fifth + 1)) / 5).filter((value) => value !== null)
    return some.length === 0 ? 0 : sum(some) / some.length
  }
  const [second, third, fourth, last] = [1, 2, 3, 4].map((fifth) =>
    sum(series.outstanding.map((ofWorker) => meanOf(ofWorker, fifth)))
  ) as [number, number, number, number]
  const grows = second < third && third < fourth && fourth < last && last > growth * second
  return grows && meanOf(series.ttftMsP90, 4) > lateMs
}

/** The strategy to compare ours with: the rival whose p90 TTFT is least. */
export const bestRival = (of: ReadonlyArray<Row>): Row | null =>
  of
    .filter(({ kind }) => kind === "rival")
    .reduce<Row | null>((best, row) => (best === null || row.ttftMs.p90 < best.ttftMs.p90 ? row : best), null)
