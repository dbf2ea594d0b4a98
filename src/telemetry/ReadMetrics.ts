/** Counters and gauges whose numbers somebody else keeps: read when scraped. */
import { counter, type Described, gauge } from "./Described.ts"
import type { Registry } from "./Metrics.ts"

/** Names with their help texts. */
export interface Named<Total extends string, Level extends string> {
  readonly totals: Readonly<Record<Total, string>>
  readonly levels: Readonly<Record<Level, string>>
}

export interface Numbers<Total extends string, Level extends string> {
  /** These only grow, but when who counts them begins anew. */
  readonly totals: Readonly<Record<Total, number>>
  readonly levels: Readonly<Record<Level, number>>
}

export const entriesOf = <K extends string, V>(record: Readonly<Record<K, V>>) =>
  Object.entries(record) as Array<[K, V]>

export const describe = ({ levels, totals }: Named<string, string>): ReadonlyArray<Described> => [
  ...entriesOf(totals).map(([name, help]) => counter(name, help)),
  ...entriesOf(levels).map(([name, help]) => gauge(name, help))
]

/** Answers with what takes the numbers over. */
export const make = <Total extends string, Level extends string>(
  registry: Registry,
  named: Named<Total, Level>
): ((numbers: Numbers<Total, Level>) => void) => {
  const counters = entriesOf(named.totals).map(([name, help]) => ({
    ...{ name, counter: registry.counter(counter(name, help as string), {}), told: 0 }
  }))
  const gauges = entriesOf(named.levels).map(([name, help]) => ({
    ...{ name, gauge: registry.gauge(gauge(name, help as string), {}) }
  }))
  return ({ levels, totals }) => {
    for (const each of counters) {
      const now = totals[each.name]
      // What was counted by one that is gone begins anew.
      each.counter.add(now >= each.told ? now - each.told : now)
      each.told = now
    }
    for (const { gauge, name } of gauges) gauge.set(levels[name])
  }
}
