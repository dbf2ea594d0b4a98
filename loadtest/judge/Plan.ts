/**
 * Plan: from goals to jobs. All rivals meet once per trace and load; in other cells only those that were not far behind
 * there are run, and under other seeds only those not behind under the first.
 */
import * as Bounds from "../replay/Bounds.ts"
import * as Strategies from "../replay/Strategies.ts"
import { type Cell, nameOf, screenOf, seedsOf } from "./Cell.ts"
import type { Goal } from "./Goals.ts"
import type { Job } from "./Job.ts"
import * as Outcome from "./Outcome.ts"

/** What has to be run in a cell beside ours. */
export interface Wanted {
  readonly cell: Cell
  readonly needs: { rivals: boolean; defaults: boolean; pooled: boolean }
  readonly disturbances: Set<string>
}

export interface Options {
  readonly seeds: number
  /** Every rival in every cell. */
  readonly all: boolean
}

/** Far behind: above so many times the best where all meet. */
export const farBehind = 1.5
/** Behind: above so many times the best of a cell under the first seed. Other seeds move a p90 by a tenth at most. */
export const behind = 1.25

/** Run first, as they are likely the best: the sooner a good one is known, the sooner the others give up. */
const likely = ["dynamo-4", "llm-d-precise", "gie", "dynamo"]
const rank = (name: string): number => (likely.includes(name) ? likely.indexOf(name) : likely.length)
export const rivals: ReadonlyArray<string> = Strategies.settings
  .map(({ name }) => name)
  .sort((a, b) => rank(a) - rank(b))

export const wanted = (goals: ReadonlyArray<Goal>): ReadonlyArray<Wanted> => {
  const found = new Map<string, Wanted>()
  for (const { cells, measure } of goals) {
    for (const cell of cells) {
      const name = nameOf(cell)
      const each = found.get(name) ?? {
        cell,
        needs: { rivals: false, defaults: false, pooled: false },
        disturbances: new Set<string>()
      }
      found.set(name, each)
      if (typeof measure.needs === "object") each.disturbances.add(measure.needs.disturbance)
      else if (measure.needs !== "nothing") each.needs[measure.needs] = true
    }
  }
  return [...found.values()]
}

/** Requests per second at saturation of a cell's fleet; null for sessions. */
export type Saturations = (cell: Cell) => number | null

const jobOf = (
  { cell, disturbances, needs }: Wanted,
  seed: number,
  saturations: Saturations,
  more: Pick<Job, "rivals" | "margin">
): Job => ({
  cell,
  seed,
  perSecond: saturations(cell),
  bounds: needs.pooled ? [Bounds.pooled.name] : [],
  disturbances: [...disturbances],
  keepsDefaults: needs.defaults,
  ...more
})

const hasRivals = ({ needs }: Wanted): boolean => needs.rivals || needs.defaults

/** Where all rivals meet, under the first seed. */
export const screens = (wanted: ReadonlyArray<Wanted>, saturations: Saturations): ReadonlyArray<Job> => {
  const found = new Map<string, Job>()
  for (const { cell } of wanted.filter(hasRivals)) {
    const screen = screenOf(cell)
    const name = nameOf(screen)
    if (found.has(name)) continue
    const own = wanted.find((each) => nameOf(each.cell) === name)
    const job = jobOf(
      own ?? { cell: screen, needs: { rivals: true, defaults: false, pooled: false }, disturbances: new Set() },
      1,
      saturations,
      { rivals, margin: farBehind }
    )
    // Some other cell of that trace and load may ask for defaults.
    found.set(name, { ...job, keepsDefaults: true })
  }
  return [...found.values()]
}

/** Every cell under the first seed, but where all have met. */
export const firsts = (
  wanted: ReadonlyArray<Wanted>,
  saturations: Saturations,
  screened: ReadonlyArray<Outcome.Outcome>
): ReadonlyArray<Job> => {
  const byCell = byName(screened)
  return wanted
    .filter(({ cell }) => !byCell.has(nameOf(cell)))
    .map((each) => {
      const screen = byCell.get(nameOf(screenOf(each.cell)))
      const left = screen === undefined ? rivals : Outcome.contenders(screen.rivals, farBehind)
      return jobOf(each, 1, saturations, { rivals: hasRivals(each) ? left : [], margin: behind })
    })
}

/** The other seeds, with those not behind under the first. */
export const repeats = (
  wanted: ReadonlyArray<Wanted>,
  saturations: Saturations,
  done: ReadonlyArray<Outcome.Outcome>,
  { all, seeds }: Options
): ReadonlyArray<Job> => {
  const byCell = byName(done)
  return wanted.flatMap((each) => {
    const first = byCell.get(nameOf(each.cell))
    const left = all || first === undefined ? rivals : Outcome.contenders(first.rivals, behind)
    return Array.from({ length: seedsOf(each.cell, seeds) - 1 }, (_, i) =>
      jobOf(each, i + 2, saturations, { rivals: hasRivals(each) ? left : [], margin: behind })
    )
  })
}

const byName = (outcomes: ReadonlyArray<Outcome.Outcome>): ReadonlyMap<string, Outcome.Outcome> =>
  new Map(outcomes.map((outcome) => [nameOf(outcome.cell), outcome]))

/** Time a job takes, beside others: requests by strategies. Who gives up has done about half. */
export const weight = ({ bounds, cell, disturbances, rivals }: Job): number => {
  const requests = cell.trace === "agent" ? 5 : cell.workers * cell.load * { conv: 1, tool: 1.8, syn: 0.4 }[cell.trace]
  return requests * (1 + 2 * bounds.length + disturbances.length + rivals.length * 0.6)
}
