/** What a router shows of its traces, read when it is scraped. */
import type { Described } from "./Described.ts"
import type { Registry } from "./Metrics.ts"
import * as ReadMetrics from "./ReadMetrics.ts"
import type { Counts } from "./Spans.ts"

const totals = {
  warmpath_spans_exported_total: "Spans that the collector took",
  warmpath_spans_dropped_total: "Spans that it did not get: the queue was full, or it was away for too long"
}

export const described: ReadonlyArray<Described> = ReadMetrics.describe({ totals, levels: {} })

export const make = (registry: Registry, counts: Readonly<Counts>): void => {
  const take = ReadMetrics.make(registry, { totals, levels: {} })
  registry.onScrape(() =>
    take({
      totals: { warmpath_spans_exported_total: counts.exported, warmpath_spans_dropped_total: counts.dropped },
      levels: {}
    })
  )
}
