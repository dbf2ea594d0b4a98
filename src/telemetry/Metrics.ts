/**
 * The router's own metrics: plain numbers behind handles whose labels are hoisted, rendered as Prometheus text.
 *
 * One registry per program, so that two routers in one process do not count for each other. An update is an addition, a
 * histogram's a search among its bounds too: nothing is looked up, allocated or formatted. Text before each value is made
 * once, and lines of what has not changed are kept, so that a scrape holds up requests for milliseconds only. Labels are few and closed: never a
 * client's string but a model the fleet serves. Times are in seconds and names end in their unit, as Prometheus wants;
 * histograms take milliseconds.
 */
import type { Described, Labels } from "./Described.ts"

export interface Counter {
  readonly add: (count: number) => void
  /** Takes the series out: see `Gauge`. */
  readonly remove: () => void
}

export interface Gauge {
  readonly set: (value: number) => void
  /** Takes the series out, for a worker that left. What is still told to the handle is lost. */
  readonly remove: () => void
}

export interface Histogram {
  /** NaN, of what never came so far, is left out. */
  readonly record: (ms: number) => void
  readonly remove: () => void
}

/** The values of one set of labels, as they are now. */
export interface Series {
  readonly labels: Labels
  /** When it began to count, ms since the epoch. */
  readonly sinceMs: number
  /** Of a counter or gauge. Of a histogram: the sum of what was recorded, in seconds. */
  value: number
  /** Of a histogram: how many fell into each bucket, the one above the last bound included. Else empty. */
  readonly counts: Float64Array
  /** What stands before each value in the text: of a histogram its buckets, sum and count. */
  readonly heads: ReadonlyArray<string>
  /** As it was rendered last; null once it has changed. */
  text: string | null
}

/** All series of one name. */
export interface Family {
  readonly described: Described
  readonly series: ReadonlyMap<string, Series>
}

export interface Registry {
  readonly counter: <L extends string>(
    described: Described<"counter", L>,
    labels: Readonly<Record<L, string>>
  ) => Counter
  readonly gauge: <L extends string>(described: Described<"gauge", L>, labels: Readonly<Record<L, string>>) => Gauge
  readonly histogram: <L extends string>(
    described: Described<"histogram", L>,
    labels: Readonly<Record<L, string>>
  ) => Histogram
  /** Read when scraped, by `read`; one call may set many gauges. */
  readonly onScrape: (read: () => void) => void
  /** Everything, up to date: for exporters. */
  readonly collect: () => ReadonlyArray<Family>
  readonly render: () => string
}

/** Content type of what `render` gives. */
export const contentType = "text/plain; version=0.0.4; charset=utf-8"

const escaped = (text: string): string => text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replace(/"/g, '\\"')

const headOf = (name: string, labels: ReadonlyArray<readonly [string, string]>): string => {
  if (labels.length === 0) return `${name} `
  return `${name}{${labels.map(([key, value]) => `${key}="${escaped(value)}"`).join(",")}} `
}

const headsOf = ({ bounds, name, type }: Described, labels: Labels): ReadonlyArray<string> => {
  const given = Object.entries(labels)
  if (type !== "histogram") return [headOf(name, given)]
  const buckets = [...bounds.map(String), "+Inf"].map((le) => headOf(`${name}_bucket`, [...given, ["le", le]]))
  return [...buckets, headOf(`${name}_sum`, given), headOf(`${name}_count`, given)]
}

const shown = (value: number): string => (value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value))

const linesOf = ({ counts, heads, value }: Series): string => {
  if (counts.length === 0) return `${heads[0]}${shown(value)}\n`
  let text = ""
  let below = 0
  for (let i = 0; i < counts.length; i++) {
    below += counts[i]!
    text += `${heads[i]}${below}\n`
  }
  return `${text}${heads[counts.length]}${shown(value)}\n${heads[counts.length + 1]}${below}\n`
}

export const registry = (): Registry => {
  const families = new Map<string, { readonly described: Described; readonly series: Map<string, Series> }>()
  const readers: Array<() => void> = []

  /** The same series for the same labels, so that what is made twice counts once. An empty label is none, as in Prometheus. */
  const seriesOf = (described: Described, given: Labels): { readonly series: Series; readonly remove: () => void } => {
    let family = families.get(described.name)
    if (family === undefined) {
      family = { described, series: new Map() }
      families.set(described.name, family)
    }
    const { series: all } = family
    const labels = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""))
    const key = JSON.stringify(Object.values(given))
    let series = all.get(key)
    if (series === undefined) {
      const counts = new Float64Array(described.type === "histogram" ? described.bounds.length + 1 : 0)
      series = { labels, sinceMs: Date.now(), value: 0, counts, heads: headsOf(described, labels), text: null }
      all.set(key, series)
    }
    const own = series
    return { series: own, remove: () => void (all.get(key) === own && all.delete(key)) }
  }

  const collect = (): ReadonlyArray<Family> => {
    for (const read of readers) read()
    return [...families.values()].filter(({ series }) => series.size > 0)
  }

  return {
    counter: (described, labels) => {
      const { remove, series } = seriesOf(described, labels)
      return {
        add: (count) => {
          series.value += count
          series.text = null
        },
        remove
      }
    },
    gauge: (described, labels) => {
      const { remove, series } = seriesOf(described, labels)
      return {
        set: (value) => {
          if (series.value === value) return
          series.value = value
          series.text = null
        },
        remove
      }
    },
    histogram: (described, labels) => {
      const { remove, series } = seriesOf(described, labels)
      const { bounds } = described
      const { counts } = series
      return {
        record: (ms) => {
          if (Number.isNaN(ms)) return
          const seconds = ms / 1000
          let at = 0
          while (at < bounds.length && seconds > bounds[at]!) at++
          counts[at]!++
          series.value += seconds
          series.text = null
        },
        remove
      }
    },
    onScrape: (read) => void readers.push(read),
    collect,
    render: () => {
      const pieces: Array<string> = []
      for (const { described, series } of collect()) {
        const { help, name, type } = described
        pieces.push(`# HELP ${name} ${help.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")}\n# TYPE ${name} ${type}\n`)
        for (const each of series.values()) {
          each.text ??= linesOf(each)
          pieces.push(each.text)
        }
      }
      return pieces.join("")
    }
  }
}
