/** Prometheus text, family by family. */

/** Labels and a value. */
export type Row = readonly [labels: Readonly<Record<string, string>>, value: number]

export const escaped = (value: string): string =>
  value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")

const labelled = (labels: Readonly<Record<string, string>>): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`
}

export class PrometheusText {
  readonly #lines: Array<string> = []

  /** A counter's name gets its `_total`. */
  series(type: "gauge" | "counter", name: string, help: string, rows: ReadonlyArray<Row>): void {
    const family = type === "counter" ? `${name}_total` : name
    this.#lines.push(`# HELP ${family} ${help}`, `# TYPE ${family} ${type}`)
    for (const [labels, value] of rows) this.#lines.push(`${family}${labelled(labels)} ${value}`)
  }

  /** `counts` are per bound, one more for what is above the last. */
  histogram(
    name: string,
    help: string,
    bounds: ReadonlyArray<number>,
    of: ReadonlyArray<{
      readonly labels: Readonly<Record<string, string>>
      readonly counts: ReadonlyArray<number>
      readonly sum: number
    }>
  ): void {
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} histogram`)
    for (const { counts, labels, sum } of of) {
      let below = 0
      for (const [i, count] of counts.entries()) {
        below += count
        this.#lines.push(`${name}_bucket${labelled({ ...labels, le: String(bounds[i] ?? "+Inf") })} ${below}`)
      }
      this.#lines.push(`${name}_count${labelled(labels)} ${below}`, `${name}_sum${labelled(labels)} ${sum}`)
    }
  }

  get text(): string {
    return `${this.#lines.join("\n")}\n`
  }
}
