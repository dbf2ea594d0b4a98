/** Plan: from goals to jobs. All rivals meet once per trace and load; elsewhere only those that were not far behind run. */
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

/** Run first, as they are likely the best: the sooner a good one is known, the sooner the others give up. */
const likely = ["dynamo-16", "dynamo-4", "llm-d-precise-tokens", "gie-unlimited", "llm-d-precise", "gie", "dynamo"]
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

/** Requests per second at saturation, by `Traffic.sameFleet`. */
export type Saturations = (cell: Cell) => number | null

const jobOf = (
  { cell, disturbances, needs }: Wanted,
  seed: number,
  saturations: Saturations,
  more: Pick<Job, "rivals" | "margin" | "keepsDefaults">
): Job => ({
  cell,
  seed,
  perSecond: saturations(cell),
  bounds: needs.pooled ? [Bounds.pooled.name] : [],
  disturbances: [...disturbances],
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
      { rivals, margin: farBehind, keepsDefaults: true }
    )
    found.set(name, job)
  }
  return [...found.values()]
}

/** All the rest. */
export const others = (
  wanted: ReadonlyArray<Wanted>,
  saturations: Saturations,
  screened: ReadonlyArray<Outcome.Outcome>,
  { all, seeds }: Options
): ReadonlyArray<Job> => {
  const byScreen = new Map(screened.map((outcome) => [nameOf(outcome.cell), outcome]))
  return wanted.flatMap((each) => {
    const screen = byScreen.get(nameOf(screenOf(each.cell)))
    const left = all || screen === undefined ? rivals : Outcome.contenders(screen.rivals, farBehind)
    const more = { rivals: hasRivals(each) ? left : [], margin: 1, keepsDefaults: each.needs.defaults }
    const isDone = (seed: number) => seed === 1 && byScreen.has(nameOf(each.cell))
    return Array.from({ length: seedsOf(each.cell, seeds) }, (_, i) => i + 1)
      .filter((seed) => !isDone(seed))
      .map((seed) => jobOf(each, seed, saturations, more))
  })
}

/** Time a job takes, beside others: requests by strategies. Who gives up has done about half. */
export const weight = ({ bounds, cell, disturbances, rivals }: Job): number => {
  const requests = cell.trace === "agent" ? 5 : cell.workers * cell.load * { conv: 1, tool: 1.8, syn: 0.4 }[cell.trace]
  return requests * (1 + 2 * bounds.length + disturbances.length + rivals.length * 0.6)
}
