/** HeatMap: requests outstanding at each worker as the replay went on: a row per worker, a column per step. */
import * as Chart from "./Chart.ts"
import type { Row } from "./Summary.ts"

/** Shades of the style sheet; none is the page itself. */
export const levels = 10
const left = 30
const top = 6
/** Height of all rows together, over the chart's width. */
const room = 0.36

/** The load that has the strongest shade in all maps, so that they compare. */
export const mostOf = (rows: ReadonlyArray<Row>): number => {
  const stable = rows.filter(({ unstable }) => !unstable)
  const shown = stable.length > 0 ? stable : rows
  const all = shown.flatMap(({ typical }) => typical.series.outstanding.flat()).sort((a, b) => a - b)
  // Not the very largest, nor runaway queues: they would leave all others empty.
  return Math.max(1, all[Math.floor(all.length * 0.995)] ?? 1)
}

/** `width`: of the chart in its own units, so that text is as large in a small one. */
export const chart = (row: Row, id: string, most: number, width: number): string => {
  const { outstanding, stepMs } = row.typical.series
  const steps = outstanding[0]?.length ?? 0
  const high = Math.max(2, Math.min(16, (width * room) / Math.max(1, outstanding.length)))
  const right = width - 10
  const wide = (right - left) / Math.max(1, steps)
  const bottom = top + high * outstanding.length
  const cells: Array<string> = Array.from({ length: levels + 1 }, () => "")
  outstanding.forEach((loads, slot) => {
    // Neighbours of one shade are one rectangle.
    for (let from = 0; from < loads.length; ) {
      const level = levelOf(loads[from]!, most)
      let to = from + 1
      while (to < loads.length && levelOf(loads[to]!, most) === level) to++
      const x = Chart.number(left + from * wide)
      const w = Chart.number((to - from) * wide + 0.3)
      cells[level] +=
        `M${x} ${Chart.number(top + slot * high)}h${w}v${Chart.number(high - (high > 5 ? 0.6 : 0))}h-${w}z`
      from = to
    }
  })
  const durationMs = stepMs * steps
  const x = Chart.linear([0, durationMs], [left, right])
  const ticks = Chart.timeTicks(durationMs).filter((_, i) => width > 400 || i % 2 === 0)
  const slots = [0, outstanding.length - 1].filter((slot, i, all) => slot >= 0 && all.indexOf(slot) === i)
  return Chart.svg(
    id,
    `Load per worker over time, ${row.name}`,
    describe(row),
    [
      ...cells.flatMap((d, level) => (level === 0 || d === "" ? [] : [`<path class="h${level}" d="${d}"/>`])),
      `<path class="grid" d="M${left} ${Chart.number(bottom)}H${right}"/>`,
      ...slots.map(
        (slot) =>
          `<text x="${left - 6}" y="${Chart.number(top + slot * high + high / 2 + 4)}" text-anchor="end">${slot}</text>`
      ),
      ...ticks.map((ms) => Chart.under(x(ms), bottom + 16, Chart.timeTick(ms), right))
    ].join("\n"),
    { width, height: Math.ceil(bottom + 22) }
  )
}

/** The shades, and what the ends mean. */
export const scale = (most: number): string =>
  Chart.svg(
    "shades",
    "Shades of load",
    `From none, no request, to the strongest, ${Math.round(most)} requests or more.`,
    [
      `<text x="0" y="14">0</text>`,
      ...Array.from(
        { length: levels },
        (_, i) => `<rect class="h${i + 1}" x="${14 + i * 18}" y="4" width="18" height="12"/>`
      ),
      `<text x="${20 + levels * 18}" y="14">${Math.round(most)} or more requests outstanding</text>`
    ].join("\n"),
    { width: Chart.width, height: 20 }
  )

/** Square roots: the difference between one and three counts for more than that between 31 and 33. */
const levelOf = (load: number, most: number): number =>
  load < 0.05 ? 0 : Math.min(levels, Math.max(1, Math.ceil(Math.sqrt(load / most) * levels)))

const describe = ({ name, typical }: Row): string => {
  const means = typical.series.outstanding.map((loads) => loads.reduce((a, b) => a + b, 0) / Math.max(1, loads.length))
  const peak = Math.max(0, ...typical.series.outstanding.flat())
  return (
    `Mean requests outstanding under ${name}, by worker: from ${Math.min(...means).toFixed(1)} to ` +
    `${Math.max(...means).toFixed(1)}; at most ${peak.toFixed(1)} at one worker at one time.`
  )
}
