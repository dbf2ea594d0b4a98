/** Verdict: a goal against outcomes. Of a cell the median of its seeds counts, of a goal its worst cell. */
import { median } from "../micro/Measure.ts"
import { nameOf } from "./Cell.ts"
import type { Goal } from "./Goals.ts"
import type { Measured } from "./Measure.ts"
import type { Outcome } from "./Outcome.ts"

export interface InCell extends Measured {
  readonly cell: string
  readonly isMet: boolean
}

export interface Verdict {
  readonly goal: Goal
  readonly isMet: boolean
  /** The worst. */
  readonly worst: InCell
  /** Of all cells, the worst first. */
  readonly cells: ReadonlyArray<InCell>
}

/** Throws when a cell of the goal has no outcome. */
export const of = (goal: Goal, outcomes: ReadonlyArray<Outcome>): Verdict => {
  const { limit } = goal
  const least = "atLeast" in limit
  const isMet = (value: number) => (least ? value >= limit.atLeast : value <= limit.atMost)
  const cells = goal.cells.map((cell): InCell => {
    const name = nameOf(cell)
    const measured = outcomes
      .filter((outcome) => nameOf(outcome.cell) === name)
      .map(goal.measure.of)
      .filter((each) => each !== null)
    if (measured.length === 0) throw new Error(`${goal.id}, ${goal.what}: nothing was run in ${name}.`)
    const value = median(measured.map((each) => each.value))
    // Of an even number the median lies between two: the nearer tells what it is compared with.
    const nearest = measured.reduce((a, b) => (Math.abs(b.value - value) < Math.abs(a.value - value) ? b : a))
    return { ...nearest, value, cell: name, isMet: isMet(value) }
  })
  cells.sort((a, b) => (least ? a.value - b.value : b.value - a.value))
  return { goal, worst: cells[0]!, cells, isMet: cells.every((each) => each.isMet) }
}
