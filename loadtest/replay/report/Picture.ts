/** Picture: a replay on one page that needs nothing but itself: no script, no network. Or its main chart alone, as SVG. */
import * as Cdf from "./Cdf.ts"
import * as Chart from "./Chart.ts"
import * as HeatMap from "./HeatMap.ts"
import type { Document } from "./Json.ts"
import * as OverTime from "./OverTime.ts"
import * as Style from "./Style.ts"
import * as Summary from "./Summary.ts"
import * as Table from "./Table.ts"

/** The distribution of TTFT, for a README or a slide. */
export const svg = (document: Document): string =>
  Cdf.chart(Summary.rows(document)).replace(
    "<title",
    () => `<style>${Style.charts}</style>\n<rect width="100%" height="100%" style="fill: var(--back)"/>\n<title`
  )

export const html = (document: Document): string => {
  const rows = Summary.rows(document)
  const pair = Chart.pair(rows)
  const others = rows.filter((row) => !pair.includes(row))
  const plain = new Set(Chart.lines(rows).flatMap(({ row, style }) => (style === "rest" ? [row] : [])))
  const small = others.filter((row) => !plain.has(row))
  const isLong = rows.length >= longFrom
  const most = HeatMap.mostOf(rows)
  const map = (row: Summary.Row, width: number) => `<figure>
<h3>${Chart.escaped(row.name)}</h3>
${HeatMap.chart(row, `load-${rows.indexOf(row)}`, most, width)}
</figure>`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${Chart.escaped(document.trace)}: ${rows.length} strategies replayed</title>
<style>
${Style.charts}
${Style.page}
</style>
</head>
<body>
<header>
<h1>${Chart.escaped(headline(rows))}</h1>
<p>${Chart.escaped(Table.title(document))}</p>
</header>
<main>
<div class="two top">
<div>
<section>
<h2>Time to first token</h2>
${Cdf.chart(rows)}
</section>
${isLong ? overTime(rows) : ""}
</div>
<section>
<h2>Figures</h2>
${table(rows)}
<p class="mark">${Chart.escaped(Table.legend(document).join(" "))}${rows.some(({ unstable }) => unstable) ? ` ${Table.unstableNote}` : ""}</p>
</section>
</div>
${isLong ? "" : `<div class="two">\n${overTime(rows)}\n</div>`}
${
  document.fleet.workers === 0
    ? ""
    : `<section>
<h2>Load per worker over time</h2>
<p>A row is a worker, the stronger its colour the more requests it has to answer.${document.seeds.length > 1 ? " Over time, the run of each strategy whose p90 is the median is shown." : ""}</p>
<div class="shades">${HeatMap.scale(most)}</div>
<div class="two">
${pair.map((row) => map(row, Chart.width)).join("\n")}
</div>
${small.length === 0 ? "" : `<div class="small">\n${small.map((row) => map(row, smallWidth)).join("\n")}\n</div>`}
</section>`
}
<section>
<h2>Strategies</h2>
<dl>
${rows.map(({ about, name }) => `<dt>${Chart.escaped(name)}</dt><dd>${Chart.escaped(about)}</dd>`).join("\n")}
</dl>
</section>
</main>
</body>
</html>
`
}

/** Rows of a table that is as tall as three charts: they stand beside it, instead of one. */
const longFrom = 20

const overTime = (rows: ReadonlyArray<Summary.Row>): string => `<section>
<h2>Hit rate over time</h2>
${OverTime.hitRate(rows)}
</section>
<section>
<h2>p90 of time to first token over time</h2>
${OverTime.ttft(rows)}
</section>`

/** Of the maps of the others, in the units of a chart. */
const smallWidth = 300

/** What it came to, in a sentence. */
const headline = (rows: ReadonlyArray<Summary.Row>): string => {
  const ours = rows.find(({ kind }) => kind === "ours")
  const rival = Summary.bestRival(rows)
  if (ours === undefined || rival === null) return `Time to first token under ${rows.length} strategies`
  return `p90 time to first token: ${Table.seconds(ours.ttftMs.p90)} s with ${ours.name}, ${Table.seconds(rival.ttftMs.p90)} s with the best rival, ${rival.name}`
}

const table = (rows: ReadonlyArray<Summary.Row>): string => {
  const styles = new Map(Chart.lines(rows).map(({ row, style }) => [row, style]))
  const head = ["", ...Table.columns.map(([name]) => name)].map((name) => `<th scope="col">${name}</th>`).join("")
  const body = rows.map((row) => {
    const mark = `${row.unstable ? " unstable" : ""}${row.failed > 0 ? ` ${row.failed} failed` : ""}`
    const swatch = `<svg viewBox="0 0 22 8" aria-hidden="true"><path class="line ${styles.get(row)}" d="M0 4h22"/></svg>`
    const cells = Table.columns.map(([, show]) => `<td>${show(row)}</td>`).join("")
    return `<tr class="${row.kind}"><th scope="row">${swatch}${Chart.escaped(row.name)}<span class="mark">${mark}</span></th>${cells}</tr>`
  })
  return `<div class="scroll" tabindex="0" role="region" aria-label="Figures of all strategies"><table>
<thead><tr>${head}</tr></thead>
<tbody>
${body.join("\n")}
</tbody>
</table></div>`
}
