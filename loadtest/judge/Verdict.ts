/** Verdict: a goal against outcomes. Of a goal its worst cell counts. */
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
    const measured = goal.measure.of(outcomes.filter((outcome) => nameOf(outcome.cell) === name))
    if (measured === null) throw new Error(`${goal.id}, ${goal.what}: nothing was run in ${name}.`)
    return { ...measured, cell: name, isMet: isMet(measured.value) }
  })
  cells.sort((a, b) => (least ? a.value - b.value : b.value - a.value))
  return { goal, worst: cells[0]!, cells, isMet: cells.every((each) => each.isMet) }
}
