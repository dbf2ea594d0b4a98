/** What a router shows of the receipts it writes, read when it is scraped. */
import { counter, type Described } from "./Described.ts"
import type { Registry } from "./Metrics.ts"

export const sinks = ["file", "nats"] as const
export type Sink = (typeof sinks)[number]

/** Of each sink there is, since the start. */
export type Numbers = ReadonlyArray<{ readonly sink: Sink; readonly written: number; readonly dropped: number }>

const written = counter("warmpath_receipts_written_total", "Receipts that a sink took", ["sink"])
const dropped = counter(
  "warmpath_receipts_dropped_total",
  "Receipts that no sink was given in time, or that it could not take",
  ["sink"]
)

export const described: ReadonlyArray<Described> = [written, dropped]

export const make = (registry: Registry, read: () => Numbers): void => {
  const counters = read().map(({ sink }) => ({
    sink,
    ...{ written: registry.counter(written, { sink }), dropped: registry.counter(dropped, { sink }) }
  }))
  let told = new Map<Sink, Numbers[number]>()
  registry.onScrape(() => {
    const now = new Map(read().map((each) => [each.sink, each]))
    for (const { dropped, sink, written } of counters) {
      const before = told.get(sink)
      const each = now.get(sink)!
      written.add(each.written - (before?.written ?? 0))
      dropped.add(each.dropped - (before?.dropped ?? 0))
    }
    told = now
  })
}
