/** Frame: the fleet as text of a given size. Pure: the screen decides where it goes. */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import type { LiveWorker } from "../domain/Live.ts"
import * as Columns from "./Columns.ts"
import * as Seen from "./Seen.ts"

export interface View {
  readonly order: Seen.Order
  /** Rows above the first one shown. */
  readonly above: number
  readonly isPaused: boolean
  /** Why the router is not heard, and for how long; null when it is. */
  readonly lost: { readonly why: string; readonly ms: number } | null
}

export interface Size {
  readonly width: number
  readonly height: number
}

const chars = Object.fromEntries(
  "top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid"
    .split(" ")
    .map((name) => [name, ""])
)

/** Parts with dots between them, on as many lines as it takes. `lengths`: as they look. */
const flowed = (parts: ReadonlyArray<string>, lengths: ReadonlyArray<number>, width: number): Array<string> => {
  const lines: Array<string> = []
  let room = 0
  parts.forEach((part, i) => {
    const needed = lengths[i]! + 3
    if (lines.length > 0 && needed <= room) {
      lines[lines.length - 1] += ` · ${part}`
      room -= needed
    } else {
      lines.push(part)
      room = width - lengths[i]!
    }
  })
  return lines
}

const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`)

const two = (value: number): string => String(value).padStart(2, "0")
const clock = (atMs: number): string => {
  const at = new Date(atMs)
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

const wellFirst = ["ready", "suspect", "halfOpen", "open", "draining", "joining"]

const statesOf = (workers: ReadonlyArray<LiveWorker>): string => {
  const counts = new Map<string, number>()
  for (const { state } of workers) counts.set(state, (counts.get(state) ?? 0) + 1)
  return [...new Set([...wellFirst, ...counts.keys()])]
    .flatMap((state) => (counts.has(state) ? [`${counts.get(state)} ${state}`] : []))
    .join(", ")
}

/** What the whole fleet does. */
const totals = (seen: Seen.Seen, admin: string, width: number, colors: Colors): Array<string> => {
  const { errors, hitRate, inFlight, overMs, requestsPerS, ttftMsP50, ttftMsP90 } = seen.totals
  const workers = [...seen.workers.values()]
  const who = `${workers.length} ${workers.length === 1 ? "worker" : "workers"}`
  const head = [
    `Warmpath at ${Columns.clean(admin)}`,
    workers.length === 0 ? who : `${who}: ${statesOf(workers)}`,
    clock(seen.atMs)
  ]
  const figures: ReadonlyArray<readonly [string, string, string]> = [
    ["", requestsPerS.toFixed(requestsPerS < 9.95 ? 1 : 0), " requests/s"],
    ["hit rate ", Columns.percent(hitRate), ""],
    ["TTFT p50 ", Columns.millis(ttftMsP50), ""],
    ["p90 ", Columns.millis(ttftMsP90), ""],
    ["", String(inFlight), " in flight"],
    ["", String(errors), errors === 1 ? " error" : " errors"],
    ["last ", String(Math.round(overMs / 1_000)), " s"]
  ]
  const shown = figures.map(([before, value, after], i) => {
    const weight = i === 5 && errors > 0 ? colors.red : colors.bold
    return before + weight(value) + after
  })
  return [
    ...flowed(
      head.map((part) => cut(part, width)),
      head.map((part) => Math.min(width, part.length)),
      width
    ),
    ...flowed(
      shown,
      figures.map((parts) => parts.join("").length),
      width
    )
  ]
}

/** Head and rows. */
const table = (workers: ReadonlyArray<LiveWorker>, width: number, colors: Colors): ReadonlyArray<string> => {
  const columns = Columns.fitting(width)
  // The gap is the column's own, so that widths are the library's business.
  const made = new Table({
    chars: { ...chars, middle: " ".repeat(Columns.gap) },
    colWidths: columns.map((column) => column.width),
    colAligns: columns.map(({ left }) => (left ? "left" : "right")),
    style: { head: [], border: [], compact: true, "padding-left": 0, "padding-right": 0 }
  })
  made.push(columns.map(({ head }) => colors.bold(head)))
  for (const worker of workers) {
    made.push(columns.map(({ color, text }) => (color?.(worker, colors) ?? ((same: string) => same))(text(worker))))
  }
  return made
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
}

/** All of it, however long: for a pipe, a file, a log. */
export const whole = (seen: Seen.Seen, admin: string, order: Seen.Order, width: number, colors: Colors): string =>
  [
    ...totals(seen, admin, width, colors),
    "",
    ...(seen.workers.size === 0 ? ["No worker is listed."] : table(Seen.sorted(seen, order), width, colors))
  ].join("\n")

/** At most as large as the terminal. `above` is where the view stands, as far as there are rows; `page`: rows on one. */
export const make = (
  seen: Seen.Seen,
  admin: string,
  view: View,
  { height, width }: Size,
  colors: Colors
): { readonly lines: ReadonlyArray<string>; readonly above: number; readonly page: number } => {
  const head = totals(seen, admin, width, colors)
  if (view.lost !== null) {
    const since = `No word from the router for ${Math.round(view.lost.ms / 1_000)} s, asking again: `
    head.push(colors.red(cut(since + Columns.clean(view.lost.why), width)))
  }
  const workers = Seen.sorted(seen, view.order)
  const keys = ["q quit", `s sort: ${view.order}`, view.isPaused ? "p go on" : "p pause", "↑ ↓ scroll"]
  // A blank line, the table's head, and the last line.
  const page = Math.max(1, height - head.length - 3)
  const above = Math.max(0, Math.min(view.above, workers.length - page))
  const rows = workers.slice(above, above + page)
  const where = rows.length === workers.length ? "" : `${above + 1}–${above + rows.length} of ${workers.length}`
  const foot = cut([view.isPaused ? "PAUSED" : "", where, ...keys].filter((part) => part !== "").join(" · "), width)
  const lines = [
    ...head,
    "",
    ...(workers.length === 0 ? ["No worker is listed."] : table(rows, width, colors)),
    view.isPaused ? colors.yellow(foot) : colors.gray(foot)
  ]
  // On a terminal too low for that, the rows go before the totals do not fit.
  return { lines: lines.slice(0, height), above, page }
}
