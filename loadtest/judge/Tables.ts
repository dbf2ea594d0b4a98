/** Tables: verdicts, and figures of every strategy by cell, for a terminal and as Markdown. */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import { compact } from "../demo/Report.ts"
import { nameOf } from "./Cell.ts"
import type { Figure, Outcome } from "./Outcome.ts"
import type { InCell, Verdict } from "./Verdict.ts"

export const heads = ["goal", "", "limit", "ours", "verdict", "against", "worst cell"] as const

const limit = ({ goal }: Verdict): string =>
  "atLeast" in goal.limit ? `≥ ${goal.limit.atLeast}` : `≤ ${goal.limit.atMost}`

/** To three digits: limits have up to three, and 0.996 is not 1.00. */
const value = ({ isBelow, value }: InCell): string => `${isBelow ? "< " : ""}${value.toFixed(3)}`

export const row = (verdict: Verdict): ReadonlyArray<string> => [
  verdict.goal.id,
  verdict.goal.what,
  limit(verdict),
  value(verdict.worst),
  verdict.isMet ? "met" : "missed",
  verdict.worst.against,
  `${verdict.worst.cell}${verdict.cells.length > 1 ? ` of ${verdict.cells.length}` : ""}`
]

/** A line for each cell that misses its goal. */
export const misses = (verdicts: ReadonlyArray<Verdict>): ReadonlyArray<string> =>
  verdicts
    .filter(({ isMet }) => !isMet)
    .flatMap((verdict) =>
      verdict.cells
        .filter(({ isMet }) => !isMet)
        .map(
          (cell) =>
            `${verdict.goal.id} ${verdict.goal.what}: ${value(cell)} (${limit(verdict)}) in ${cell.cell}, against ${cell.against}`
        )
    )

export const text = (verdicts: ReadonlyArray<Verdict>, colors: Colors): string => {
  const table = new Table({
    head: heads.map((head) => colors.bold(head)),
    chars: compact,
    style: { head: [], border: colors.isColorSupported ? ["gray"] : [] }
  })
  for (const verdict of verdicts) {
    const tint = verdict.isMet ? colors.green : colors.red
    table.push(row(verdict).map((cell, at) => (at === 3 || at === 4 ? tint(cell) : cell)))
  }
  return table.toString()
}

export const summary = (verdicts: ReadonlyArray<Verdict>): string => {
  const met = verdicts.filter(({ isMet }) => isMet).length
  return `${met} of ${verdicts.length} met.`
}

const markdownRows = (rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n")

const markdownTable = (heads: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  markdownRows([heads, heads.map(() => "---"), ...rows])

export const markdown = (verdicts: ReadonlyArray<Verdict>): string => markdownTable(heads, verdicts.map(row))

/** p90 TTFT in s of each strategy, a column for each cell; prompt tokens found in cache after it, in %. */
export const figures = (outcomes: ReadonlyArray<Outcome>): string => {
  const all = ({ bounds, ours, rivals }: Outcome): ReadonlyArray<Figure> => [ours, ...rivals, ...bounds]
  const names = [...new Set(outcomes.flatMap(all).map(({ name }) => name))]
  const shown = (figure: Figure | undefined): string =>
    figure === undefined ? "" : `${(figure.p90Ms / 1_000).toPrecision(3)} (${(100 * figure.hitRate).toFixed(0)})`
  return markdownTable(
    ["p90 TTFT, s (hits, %)", ...outcomes.map(({ cell }) => nameOf(cell))],
    names.map((name) => [
      name,
      ...outcomes.map((outcome) => shown(all(outcome).find((figure) => figure.name === name)))
    ])
  )
}
