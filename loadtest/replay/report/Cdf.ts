/** Cdf: share of requests whose first token came within a time, a curve per strategy; time on a log scale. */
import * as Chart from "./Chart.ts"
import * as Labels from "./Labels.ts"
import type { Row } from "./Summary.ts"
import { seconds } from "./Table.ts"

const { plot } = Chart
/** Shown of those that are unstable: up to so many times what the others need at most. */
const beyond = 3
const legendLine = 15

export const chart = (rows: ReadonlyArray<Row>): string => {
  const lines = Chart.lines(rows)
  const domain = domainOf(rows)
  const x = Chart.log(domain, [plot.left, plot.right])
  const y = Chart.linear([0, 100], [plot.bottom, plot.top])
  const curves = lines.map(({ row, style }) => ({
    name: row.name,
    style,
    points: row.cdf.flatMap((ms, percent) => (ms > domain[1] ? [] : [[x(ms), y(percent)] as const]))
  }))
  const key = legend(lines)
  const named = curves.filter(({ style }) => style !== "rest").reverse()
  return Chart.svg(
    "cdf",
    "Time to first token of all strategies",
    describe(rows),
    [
      Chart.axes(
        { scale: x, ticks: Chart.logTicks(domain), text: Chart.secondsTick, name: "time to first token" },
        { scale: y, ticks: [0, 25, 50, 75, 90, 100], text: (value) => `${value} %`, name: "requests answered within" }
      ),
      ...curves.map(({ points, style }) => `<path class="line ${style}" d="${Chart.path(points)}"/>`),
      ...curves.map(({ points, style }) => (points.length > 90 ? dot(points[90]!, style) : "")),
      Labels.beside(named, curves, Labels.far),
      ...key.texts
    ].join("\n"),
    { width: Chart.width, height: Chart.height + key.height }
  )
}

/** Below the chart, in two columns, by p90: the fastest first. */
const legend = (lines: ReadonlyArray<Chart.Line>) => {
  const named = lines.filter(({ style }) => style !== "rest").sort((a, b) => a.row.ttftMs.p90 - b.row.ttftMs.p90)
  const entries = named.map(({ row, style }) => [style, `${row.name}, p90 ${seconds(row.ttftMs.p90)} s`])
  const rest = lines.length - named.length
  if (rest > 0) entries.push(["rest", `${rest} more`])
  const deep = Math.ceil(entries.length / 2)
  const wide = (plot.right - plot.left) / 2
  const texts = entries.map(([style, text], i) => {
    const x = plot.left + Math.floor(i / deep) * wide
    const y = Chart.height + 8 + (i % deep) * legendLine
    return `<path class="line ${style}" d="M${x} ${y - 4}h20"/><text x="${x + 27}" y="${y}">${Chart.escaped(text!)}</text>`
  })
  return { texts, height: deep * legendLine + 8 }
}

const dot = ([x, y]: readonly [number, number], style: string): string =>
  `<circle class="dot ${style}" cx="${Chart.number(x)}" cy="${Chart.number(y)}" r="3"/>`

/** Runaway queues leave on the right: shown in full, they would squeeze all others together. */
const domainOf = (rows: ReadonlyArray<Row>): readonly [number, number] => {
  const least = Math.max(1, Math.min(...rows.map(({ cdf }) => cdf[2]!)))
  const most = (some: ReadonlyArray<Row>) => Math.max(0, ...some.map(({ cdf }) => cdf[99]!))
  const stable = most(rows.filter(({ unstable }) => !unstable))
  return [least, Math.max(least * 10, stable === 0 ? most(rows) : Math.min(most(rows), stable * beyond))]
}

const describe = (rows: ReadonlyArray<Row>): string =>
  `A cumulative distribution for each strategy. Within which time half, and nine tenths, of the requests had their first token: ${rows
    .map(({ name, ttftMs }) => `${name} ${seconds(ttftMs.p50)} and ${seconds(ttftMs.p90)} s`)
    .join("; ")}.`
