/** Cell: one trace on one fleet under one load. What goals are said about, and what is run. */
import type { CacheSize } from "../replay/Profiles.ts"

export type TraceName = "conv" | "tool" | "syn" | "agent"

export interface Cell {
  readonly trace: TraceName
  readonly workers: number
  readonly cache: CacheSize
  /** Arrivals: share of what the fleet could serve at most. Sessions: alive at once per worker. */
  readonly load: number
}

/** The same for the same cell; for people, too. */
export const nameOf = ({ cache, load, trace, workers }: Cell): string =>
  `${trace} N ${workers} ${cache} ${trace === "agent" ? `${load} sessions` : `U ${load}`}`

/** Caches of a fleet that size: all three where runs are short, else the middle one; goals about others name them. */
const cachesOf = (workers: number): ReadonlyArray<CacheSize> =>
  workers === 8 ? ["tight", "medium", "ample"] : ["medium"]

/** Cells of these; caches as there are, unless named. */
export const cells = (
  traces: ReadonlyArray<TraceName>,
  workers: ReadonlyArray<number>,
  loads: ReadonlyArray<number>,
  caches?: ReadonlyArray<CacheSize>
): ReadonlyArray<Cell> =>
  traces.flatMap((trace) =>
    workers.flatMap((each) =>
      loads.flatMap((load) => (caches ?? cachesOf(each)).map((cache) => ({ trace, workers: each, cache, load })))
    )
  )

/** Where all rivals meet first: those far behind there are not run in the other cells of that trace and load. */
export const screenOf = (cell: Cell): Cell => ({ ...cell, workers: 8, cache: "medium" })

/**
 * Seeds to run a cell under. Where queues stay short chance moves a p90 by 2 to 3 %: one will do there, but for sixteen
 * workers, of which most is asked.
 */
export const seedsOf = ({ load, workers }: Cell, seeds: number): number => (load > 0.8 || workers === 16 ? seeds : 1)
