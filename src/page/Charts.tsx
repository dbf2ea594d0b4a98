/** The last five minutes, second by second. What a chart shows is also said in words. */
import { useEffect, useRef } from "preact/hooks"
import uPlot from "uplot"
import type { LiveSecond } from "../domain/Live.ts"
import { seconds } from "./Live.ts"
import { colour, repaint } from "./Theme.ts"
import { count, duration, percent } from "./Words.ts"

interface Line {
  readonly label: string
  readonly colour: string
  readonly dash?: ReadonlyArray<number>
  readonly of: (second: LiveSecond) => number | null
}

interface Chart {
  readonly title: string
  readonly lines: ReadonlyArray<Line>
  readonly words: (value: number | null) => string
  /** Null: as high as it must be, but at least `least`. */
  readonly most: number | null
  readonly least: number
  /** Points are joined over seconds without any. */
  readonly joined: boolean
}

const charts: ReadonlyArray<Chart> = [
  {
    title: "Hit rate",
    lines: [
      {
        label: "found in cache",
        colour: "own",
        of: ({ cachedTokens, promptTokens }) => (promptTokens === 0 ? null : cachedTokens / promptTokens)
      }
    ],
    words: percent,
    most: 1,
    least: 1,
    joined: true
  },
  {
    title: "TTFT",
    lines: [
      { label: "p50", colour: "own", of: ({ ttftMsP50 }) => ttftMsP50 },
      { label: "p90", colour: "wait", dash: [5, 3], of: ({ ttftMsP90 }) => ttftMsP90 }
    ],
    words: duration,
    most: null,
    least: 10,
    joined: true
  },
  {
    title: "Requests a second",
    lines: [
      { label: "all", colour: "own", of: ({ requests }) => requests },
      { label: "errors", colour: "bad", dash: [2, 3], of: ({ errors }) => errors }
    ],
    words: count,
    most: null,
    least: 4,
    joined: false
  }
]

const height = 130

const make = ({ joined, least, lines, most, words }: Chart, into: HTMLElement): uPlot =>
  new uPlot(
    {
      width: into.clientWidth,
      height,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, __, max) => [0, most ?? Math.max(least, max * 1.1)] } },
      series: [
        {},
        ...lines.map(({ colour: name, dash, label }) => ({
          label,
          stroke: colour(name),
          width: 1.75,
          spanGaps: joined,
          points: { show: false },
          ...(dash === undefined ? {} : { dash: [...dash] })
        }))
      ],
      axes: [
        {
          stroke: colour("quiet"),
          grid: { show: false },
          ticks: { show: false },
          size: 24,
          space: 70,
          font: "11px system-ui",
          values: (_, at) => at.map((s) => new Date(s * 1_000).toLocaleTimeString("en-GB"))
        },
        {
          stroke: colour("quiet"),
          grid: { stroke: colour("line"), width: 1 },
          ticks: { show: false },
          size: 52,
          space: 34,
          font: "11px system-ui",
          values: (_, at) => at.map((value) => words(value))
        }
      ]
    },
    [[]],
    into
  )

const last = (values: ReadonlyArray<number | null>): number | null => values.findLast((value) => value !== null) ?? null

const ChartView = ({ chart }: { chart: Chart }) => {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const drawn = seconds.value
  const columns = chart.lines.map(({ of }) => drawn.map(of))
  const draw = () => plot.current?.setData([drawn.map(({ atMs }) => atMs / 1_000), ...columns])
  useEffect(() => {
    const into = box.current!
    plot.current = make(chart, into)
    draw()
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: into.clientWidth, height }))
    resized.observe(into)
    return () => {
      resized.disconnect()
      plot.current?.destroy()
    }
  }, [repaint.value])
  useEffect(draw, [drawn])
  const now = chart.lines.map(({ label }, i) => `${label} ${chart.words(last(columns[i]!))}`).join(", ")
  return (
    <figure class="card chart">
      <figcaption>
        <h2>{chart.title}</h2>
        <ul class="legend">
          {chart.lines.map(({ colour: name, dash, label }, i) => (
            <li key={label}>
              <span class={`swatch ${dash === undefined ? "" : "dashed"} is-${name}`} aria-hidden="true" />
              {label} <b>{chart.words(last(columns[i]!))}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={box} class="plot" role="img" aria-label={`${chart.title} of the last five minutes. Last: ${now}`} />
      {drawn.length === 0 && <p class="over quiet">Nothing yet.</p>}
    </figure>
  )
}

export const Charts = () => (
  <div class="charts">
    {charts.map((chart) => (
      <ChartView key={chart.title} chart={chart} />
    ))}
  </div>
)
