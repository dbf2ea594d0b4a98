/** Judge: runs what goals need, on all cores, and says what came of it. */
import { type Cell, nameOf } from "./Cell.ts"
import type { Goal } from "./Goals.ts"
import type { Job } from "./Job.ts"
import type * as Kept from "./Kept.ts"
import type { Outcome } from "./Outcome.ts"
import * as Plan from "./Plan.ts"
import * as Pool from "./Pool.ts"
import * as Verdict from "./Verdict.ts"

export interface Options extends Plan.Options {
  /** Of the traces; null makes tiny ones up. */
  readonly folder: string | null
  /** A stage begins: what it is, and how much it is of the whole. */
  readonly onStage: (what: string) => void
  readonly kept: Kept.Kept
  /** How far the stage is, 0 to 1. */
  readonly onShare: (share: number) => void
}

export interface Judged {
  readonly verdicts: ReadonlyArray<Verdict.Verdict>
  readonly outcomes: ReadonlyArray<Outcome>
}

/** Shares of tasks as one. */
const weighted = (weights: ReadonlyArray<number>, onShare: (share: number) => void) => {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const shares = new Float64Array(weights.length)
  return (task: number, share: number): void => {
    shares[task] = share
    onShare(weights.reduce((sum, weight, at) => sum + weight * shares[at]!, 0) / total)
  }
}

const runJobs = async (
  pool: Pool.Pool,
  jobs: ReadonlyArray<Job>,
  options: Options
): Promise<ReadonlyArray<Outcome>> => {
  // The longest first, so that no core is left with it at the end.
  const { kept } = options
  const left = jobs.filter((job) => kept.of(job) === undefined).sort((a, b) => Plan.weight(b) - Plan.weight(a))
  const said = await pool.run(
    left.map((job) => ({ _tag: "Run", job })),
    weighted(left.map(Plan.weight), options.onShare),
    (at, each) => {
      if (each._tag === "Ran") kept.add(left[at]!, each.outcome)
    }
  )
  return [
    ...jobs.flatMap((job) => kept.of(job) ?? []),
    ...said.flatMap((each) => (each._tag === "Ran" ? [each.outcome] : []))
  ]
}

/** Of each fleet once, whatever the load. */
const saturate = async (
  pool: Pool.Pool,
  cells: ReadonlyArray<Cell>,
  { onShare, onStage }: Options
): Promise<Plan.Saturations> => {
  const key = (cell: Cell) => nameOf({ ...cell, load: 1 })
  const fleets = [...new Map(cells.filter(({ trace }) => trace !== "agent").map((cell) => [key(cell), cell])).values()]
  fleets.sort((a, b) => b.workers - a.workers)
  onStage(`the most each of ${fleets.length} fleets could serve`)
  const said = await pool.run(
    fleets.map((cell) => ({ _tag: "Saturate", cell })),
    weighted(
      fleets.map(({ workers }) => workers),
      onShare
    )
  )
  const found = new Map(said.map((each, at) => [key(fleets[at]!), each._tag === "Saturated" ? each.perSecond : null]))
  return (cell) => found.get(key(cell)) ?? null
}

export const run = async (goals: ReadonlyArray<Goal>, options: Options): Promise<Judged> => {
  const { all, onStage } = options
  const wanted = Plan.wanted(goals)
  const pool = Pool.make({ folder: options.folder })
  try {
    const cells = [...wanted.map(({ cell }) => cell), ...Plan.screens(wanted, () => null).map(({ cell }) => cell)]
    const saturations = await saturate(pool, cells, options)
    const screens = all ? [] : Plan.screens(wanted, saturations)
    if (screens.length > 0) onStage(`${screens.length} cells where all ${Plan.rivals.length} rival settings meet`)
    const screened = await runJobs(pool, screens, options)
    const firsts = Plan.firsts(wanted, saturations, screened)
    if (firsts.length > 0) onStage(`${firsts.length} cells under the first seed`)
    const done = [...screened, ...(await runJobs(pool, firsts, options))]
    const repeats = Plan.repeats(wanted, saturations, done, options)
    if (repeats.length > 0) onStage(`${repeats.length} cells under other seeds`)
    const outcomes = [...done, ...(await runJobs(pool, repeats, options))]
    return { verdicts: goals.map((goal) => Verdict.of(goal, outcomes)), outcomes }
  } finally {
    await pool.close()
  }
}

/** Every strategy in these cells under one seed, none giving up: what a table of figures is made of. */
export const table = async (cells: ReadonlyArray<Cell>, options: Options): Promise<ReadonlyArray<Outcome>> => {
  const pool = Pool.make({ folder: options.folder })
  try {
    const saturations = await saturate(pool, cells, options)
    options.onStage(`all strategies in ${cells.length} cells`)
    const jobs = cells.map(
      (cell): Job => ({
        cell,
        seed: 1,
        perSecond: saturations(cell),
        bounds: ["pooled-cache", "greedy-ttft"],
        disturbances: [],
        rivals: Plan.rivals,
        margin: null,
        keepsDefaults: false
      })
    )
    return await runJobs(pool, jobs, options)
  } finally {
    await pool.close()
  }
}
