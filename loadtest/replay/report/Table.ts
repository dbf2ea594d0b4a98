/** Table: a row per strategy, for a terminal; and how its figures are made. */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import { compact } from "../../demo/Report.ts"
import type { Document } from "./Json.ts"
import * as Summary from "./Summary.ts"

export const seconds = (ms: number): string => {
  const s = ms / 1000
  return s >= 999.5 ? ">999" : s >= 99.5 ? s.toFixed(0) : s >= 9.95 ? s.toFixed(1) : s.toFixed(2)
}

export const percent = (share: number): string => (share * 100).toFixed(1)

export const times = (ratio: number | null): string =>
  ratio === null ? "–" : ratio >= 99.5 ? ">99×" : `${ratio.toFixed(ratio >= 9.95 ? 1 : 2)}×`

/** What a column shows: for a terminal and for a page alike. */
export const columns: ReadonlyArray<readonly [head: string, show: (row: Summary.Row) => string]> = [
  ["TTFT p50", (row) => seconds(row.ttftMs.p50)],
  ["p90", (row) => seconds(row.ttftMs.p90)],
  ["p99", (row) => seconds(row.ttftMs.p99)],
  ["mean, s", (row) => seconds(row.ttftMs.mean)],
  ["p90 rel.", (row) => times(row.relative)],
  ["E2E, s", (row) => seconds(row.e2eMsMean)],
  ["hits, %", (row) => percent(row.hitRate)],
  ["in time, %", (row) => percent(row.inTime)],
  ["req/s", (row) => row.perSecond.toFixed(1)],
  ["spread", (row) => (row.spread === null ? "–" : row.spread.toFixed(2))]
]

/** What the figures mean, for whoever has only the table. */
export const legend = ({ seeds }: Document): ReadonlyArray<string> => [
  `The first fifth of the time is left out${seeds.length > 1 ? `; medians of ${seeds.length} seeds` : ""}. ` +
    "Rel.: p90 TTFT over the first row's. E2E: to the last token, mean.",
  "Hits: prompt tokens from a cache. In time: TTFT within 1 s + twice the prompt's cold prefill.",
  "Spread: prompt tokens of the busiest worker over the mean."
]

export const unstableNote = "Unstable: the load was too much, times grew with the run and say no more than that."

/** What was replayed, on what: one line. */
export const title = ({ fleet, how, load, trace }: Document): string => {
  const cache = fleet.capacityTokens === null ? "" : `, ${tokens(fleet.capacityTokens)} tokens of cache each`
  const profile = fleet.profile === null ? "" : ` (${fleet.profile})`
  const workers =
    fleet.workers === 0 ? "workers not told" : `${fleet.workers} ${fleet.workers === 1 ? "worker" : "workers"}`
  return `${trace}, ${how}: ${workers}${profile}${cache}; ${load}`
}

const tokens = (count: number): string =>
  count >= 1e6 ? `${(count / 1e6).toFixed(1)} M` : count >= 1e4 ? `${(count / 1e3).toFixed(0)} k` : `${count}`

export const text = (document: Document, colors: Colors): string => {
  const rows = Summary.rows(document)
  const best = Summary.bestRival(rows)
  const table = new Table({
    head: ["", ...columns.map(([head]) => head)].map((head) => colors.bold(head)),
    colAligns: ["left", ...columns.map(() => "right" as const)],
    chars: compact,
    style: { head: [], border: colors.isColorSupported ? ["gray"] : [] }
  })
  for (const row of rows) {
    const tint =
      row.kind === "ours" ? colors.green : row.unstable ? colors.yellow : row.kind === "bound" ? colors.dim : plain
    const marks = `${row === best && rows.length > 2 ? " (best rival)" : ""}${row.unstable ? " unstable" : ""}`
    const failed = row.failed === 0 ? "" : colors.red(` ${row.failed} failed`)
    table.push([tint(`${row.name}${marks}`) + failed, ...columns.map(([, show]) => tint(show(row)))])
  }
  return [
    colors.bold(title(document)),
    table.toString(),
    ...legend(document).map((line) => colors.dim(line)),
    ...(rows.some(({ unstable }) => unstable) ? [colors.yellow(unstableNote)] : [])
  ].join("\n")
}

const plain = (value: string): string => value
