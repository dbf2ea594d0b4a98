/** Chart: what every chart of the picture is made of. Plain SVG text; no script, no font and no file from elsewhere. */
import type { Row } from "./Summary.ts"
import * as Summary from "./Summary.ts"

/** Of a chart, in its own units. Small enough for its text to be read on a phone. */
export const width = 520
export const height = 320
export const plot = { left: 50, right: width - 10, top: 22, bottom: height - 40 }

/** How a strategy is drawn: the same in every chart. */
export interface Line {
  readonly row: Row
  /** Class of the style sheet. */
  readonly style: string
}

/** Rivals in colours; more could not be told apart. */
const coloursMax = 6

/** Ours, the bounds, and the rivals of least p90 TTFT have a style of their own; the others are `rest`, and come first. */
export const lines = (rows: ReadonlyArray<Row>): ReadonlyArray<Line> => {
  const rivals = rows.filter(({ kind }) => kind === "rival").sort((a, b) => a.ttftMs.p90 - b.ttftMs.p90)
  const bounds = rows.filter(({ kind }) => kind === "bound")
  const ours = rows.filter(({ kind }) => kind === "ours")
  const styleOf = (row: Row): string => {
    if (row.kind === "ours") return ours.indexOf(row) === 0 ? "ours" : "ours variant"
    if (row.kind === "bound") return `bound b${bounds.indexOf(row) % 3}`
    const rank = rivals.indexOf(row)
    return rank < coloursMax ? `c${rank}` : "rest"
  }
  const order = (line: Line) => (line.style === "rest" ? 0 : line.row.kind === "ours" ? 2 : 1)
  return rows.map((row) => ({ row, style: styleOf(row) })).sort((a, b) => order(a) - order(b))
}

/** The two whose workers are shown side by side: ours, or else the first, and the best of the others. */
export const pair = (rows: ReadonlyArray<Row>): ReadonlyArray<Row> => {
  const first = rows.find(({ kind }) => kind === "ours") ?? rows[0]
  const others = rows.filter((row) => row !== first)
  const second = Summary.bestRival(others) ?? others[0]
  return [first, second].filter((row) => row !== undefined)
}

export type Scale = (value: number) => number

export const linear =
  ([from, to]: readonly [number, number], [start, end]: readonly [number, number]): Scale =>
  (value) =>
    start + ((value - from) / (to - from)) * (end - start)

/** Values below the domain are drawn at its edge. */
export const log =
  ([from, to]: readonly [number, number], range: readonly [number, number]): Scale =>
  (value) =>
    linear([Math.log(from), Math.log(to)], range)(Math.log(Math.min(to, Math.max(from, value))))

/** 1, 2 and 5 times powers of ten within the domain; powers alone when that is too many. */
export const logTicks = ([from, to]: readonly [number, number]): ReadonlyArray<number> => {
  const steps = Math.log10(to / from) > 2.2 ? [1] : [1, 2, 5]
  const ticks: Array<number> = []
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++) {
    for (const step of steps) {
      const tick = step * 10 ** power
      if (tick >= from * 0.999 && tick <= to * 1.001) ticks.push(tick)
    }
  }
  return ticks
}

/** Round steps from 0: at least two, about five. */
export const linearTicks = (to: number): ReadonlyArray<number> => {
  const raw = to / 5
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = power * ([1, 2, 5, 10].find((times) => times * power >= raw) ?? 10)
  return Array.from({ length: Math.floor(to / step + 1e-9) + 1 }, (_, i) => i * step)
}

export const secondsTick = (ms: number): string => `${Number((ms / 1000).toPrecision(3))} s`

export const timeTick = (ms: number): string =>
  ms >= 60_000 || ms === 0 ? `${Number((ms / 60_000).toFixed(1))} min` : secondsTick(ms)

/** Ticks of time: whole minutes or hours where there are any. */
export const timeTicks = (durationMs: number): ReadonlyArray<number> => {
  const unit = durationMs >= 120_000 ? 60_000 : 1_000
  const step = [1, 2, 5, 10, 15, 20, 30, 60, 120, 240, 480, 960].find((each) => durationMs / unit / each <= 6) ?? 1_440
  return linearTicksBy(durationMs, step * unit)
}

const linearTicksBy = (to: number, step: number): ReadonlyArray<number> =>
  Array.from({ length: Math.floor(to / step + 1e-9) + 1 }, (_, i) => i * step)

export interface Axis {
  readonly scale: Scale
  readonly ticks: ReadonlyArray<number>
  readonly text: (value: number) => string
  readonly name: string
}

/** Grid, figures at the edges, and what is measured. */
export const axes = (x: Axis, y: Axis): string =>
  [
    ...x.ticks.map((value) => {
      const at = x.scale(value)
      return `<path class="grid" d="M${number(at)} ${plot.top}V${plot.bottom}"/>${under(at, plot.bottom + 16, x.text(value))}`
    }),
    ...y.ticks.map((value) => {
      const at = y.scale(value)
      return `<path class="grid" d="M${plot.left} ${number(at)}H${plot.right}"/><text x="${plot.left - 6}" y="${number(at + 4)}" text-anchor="end">${y.text(value)}</text>`
    }),
    `<text class="axis" x="${plot.right}" y="${plot.bottom + 33}" text-anchor="end">${escaped(x.name)}</text>`,
    `<text class="axis" x="2" y="12">${escaped(y.name)}</text>`
  ].join("\n")

/** A figure under its tick, within the chart. */
export const under = (x: number, y: number, text: string, right = plot.right): string => {
  const outside = x + text.length * 3.5 > right + 8
  return `<text x="${number(outside ? right + 8 : x)}" y="${number(y)}" text-anchor="${outside ? "end" : "middle"}">${text}</text>`
}

export const path = (points: ReadonlyArray<readonly [number, number]>): string =>
  points.map(([x, y], i) => `${i === 0 ? "M" : "L"}${number(x)} ${number(y)}`).join("")

/** An `svg` element that says what it shows to who cannot see it. */
export const svg = (id: string, title: string, description: string, body: string, size = { width, height }): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${escaped(title)}</title>
<desc id="${id}-desc">${escaped(description)}</desc>
${body}
</svg>`

export const number = (value: number): string => `${Math.round(value * 10) / 10}`

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
