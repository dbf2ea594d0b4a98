/** OverTime: one figure of every strategy as the replay went on, the warm-up included. */

import type { Result } from "../Result.ts"
import * as Chart from "./Chart.ts"
import * as Labels from "./Labels.ts"
import type { Row } from "./Summary.ts"
import { percent, seconds } from "./Table.ts"

const { plot } = Chart
/** Steps either side that a point is the mean of: single ones have too few requests to be read. */
const reach = 2

export const hitRate = (rows: ReadonlyArray<Row>): string => {
  const seen = rows.flatMap(({ typical }) => smooth(typical.series.hitRate)).map(([, value]) => value)
  const most = Math.min(1, Math.ceil(Math.max(0.1, ...seen) * 10) / 10)
  return chart(rows, {
    id: "hits",
    title: "Hit rate over time",
    description: `Share of prompt tokens taken from a cache, step by step; over the whole time: ${rows
      .map((row) => `${row.name} ${percent(row.hitRate)} %`)
      .join(", ")}.`,
    pick: (series) => series.hitRate,
    y: {
      scale: Chart.linear([0, most], [plot.bottom, plot.top]),
      ticks: Chart.linearTicks(most),
      text: (value) => `${Math.round(value * 100)} %`,
      name: "prompt tokens from a cache"
    }
  })
}

export const ttft = (rows: ReadonlyArray<Row>): string => {
  const seen = rows.flatMap(({ typical }) => smooth(typical.series.ttftMsP90)).map(([, value]) => value)
  // Where every request failed there is none to see.
  const least = seen.length === 0 ? 1 : Math.max(1, Math.min(...seen))
  const domain = [least, Math.max(least * 10, ...seen)] as const
  return chart(rows, {
    id: "ttft",
    title: "p90 of time to first token over time",
    description: `Nine tenths of the requests sent in a step had their first token within it; over the whole time: ${rows
      .map((row) => `${row.name} ${seconds(row.ttftMs.p90)} s${row.unstable ? ", growing" : ""}`)
      .join(", ")}.`,
    pick: (series) => series.ttftMsP90,
    y: {
      scale: Chart.log(domain, [plot.bottom, plot.top]),
      ticks: Chart.logTicks(domain),
      text: Chart.secondsTick,
      name: "p90 time to first token"
    }
  })
}

interface Figure {
  readonly id: string
  readonly title: string
  readonly description: string
  readonly pick: (series: Result["series"]) => ReadonlyArray<number | null>
  readonly y: Chart.Axis
}

const chart = (rows: ReadonlyArray<Row>, { description, id, pick, title, y }: Figure): string => {
  const durationMs = Math.max(...rows.map(({ typical: { series } }) => series.stepMs * pick(series).length))
  const x = Chart.linear([0, durationMs], [plot.left, plot.right])
  const curves = Chart.lines(rows).map(({ row, style }) => {
    const { series } = row.typical
    const points = smooth(pick(series)).map(
      ([step, value]) => [x((step + 0.5) * series.stepMs), y.scale(value)] as const
    )
    return { name: row.name, style, points }
  })
  const ticks = Chart.timeTicks(durationMs)
  return Chart.svg(
    id,
    title,
    description,
    [
      `<rect class="warm" x="${plot.left}" y="${plot.top}" width="${Chart.number(x(durationMs * 0.2) - plot.left)}" height="${plot.bottom - plot.top}"/>`,
      `<text class="axis" x="${plot.left + 4}" y="${plot.top + 12}">warm-up</text>`,
      Chart.axes({ scale: x, ticks, text: Chart.timeTick, name: "time" }, y),
      ...curves.map(({ points, style }) => `<path class="line thin ${style}" d="${Chart.path(points)}"/>`),
      Labels.beside(curves.filter(({ style }) => style !== "rest").reverse(), curves, Labels.near)
    ].join("\n")
  )
}

/** Means of neighbouring steps that have a value; steps without one are left out. */
const smooth = (values: ReadonlyArray<number | null>): ReadonlyArray<readonly [step: number, value: number]> =>
  values.flatMap((own, step) => {
    if (own === null) return []
    const near = values.slice(Math.max(0, step - reach), step + reach + 1).filter((value) => value !== null)
    return [[step, near.reduce((total, value) => total + value, 0) / near.length] as const]
  })
