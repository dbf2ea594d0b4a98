/**
 * The Prometheus text format (0.0.4), read exactly: samples with their labels, escapes undone.
 *
 * Source: prometheus/docs, "Exposition formats". A line that is no sample is skipped and counted, so one odd series
 * never hides the others. O(bytes). Timestamps and exemplars are ignored.
 */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Scrape {
  readonly samples: ReadonlyArray<Sample>
  /** Lines that were neither blank, comment nor sample. */
  readonly oddLines: number
}

const nameAt = /[a-zA-Z_:][a-zA-Z0-9_:]*/y
const labelAt = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,?)/y
const valueAt = /\s+([^\s]+)(?:\s|$)/y

const unescaped = (text: string): string =>
  text.includes("\\")
    ? text.replace(/\\(.)/gs, (all, next) => (next === "n" ? "\n" : next === '"' || next === "\\" ? next : all))
    : text

const number = (text: string): number | null => {
  switch (text) {
    case "+Inf":
    case "Inf":
      return Infinity
    case "-Inf":
      return -Infinity
    case "NaN":
      return Number.NaN
  }
  // `Number` alone would also take "0x1f".
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : null
}

const sample = (line: string): Sample | null => {
  nameAt.lastIndex = 0
  const name = nameAt.exec(line)?.[0]
  if (name === undefined) return null
  let at = nameAt.lastIndex
  const labels: Record<string, string> = Object.create(null)
  if (line[at] === "{") {
    at++
    for (;;) {
      labelAt.lastIndex = at
      const label = labelAt.exec(line)
      if (label === null) break
      labels[label[1]!] = unescaped(label[2]!)
      at = labelAt.lastIndex
      if (label[3] === "") break
    }
    while (line[at] === " ") at++
    if (line[at] !== "}") return null
    at++
    // A space after the labels is customary, not required.
    if (line[at] !== " " && line[at] !== "\t") {
      const value = number(line.slice(at).split(/\s/, 1)[0]!)
      return value === null ? null : { name, labels, value }
    }
  }
  valueAt.lastIndex = at
  const text = valueAt.exec(line)?.[1]
  if (text === undefined) return null
  const value = number(text)
  return value === null ? null : { name, labels, value }
}

const all = (): boolean => true

/** `keep`: names worth reading; the rest of their lines is not looked at, so a few series of many cost little. */
export const parse = (text: string, keep: (name: string) => boolean = all): Scrape => {
  const samples: Array<Sample> = []
  let oddLines = 0
  for (let from = 0; from < text.length; ) {
    let end = text.indexOf("\n", from)
    if (end === -1) end = text.length
    const start = from
    from = end + 1
    if (text[start] === "#") continue
    nameAt.lastIndex = start
    const name = nameAt.exec(text)?.[0]
    if (name !== undefined && !keep(name)) continue
    const line = text.slice(start, end).trim()
    if (line === "" || line[0] === "#") continue
    const found = sample(line)
    if (found === null) oddLines++
    else if (keep(found.name)) samples.push(found)
  }
  return { samples, oddLines }
}
