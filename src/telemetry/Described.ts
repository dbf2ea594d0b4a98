/** Described: what a metric is: its name, kind, labels, unit and a sentence. From these comes the table of all of them. */

export type Labels = Readonly<Record<string, string>>
export type Kind = "counter" | "gauge" | "histogram"

export interface Described<K extends Kind = Kind, L extends string = string> {
  readonly type: K
  readonly name: string
  readonly help: string
  readonly labels: ReadonlyArray<L>
  /** As in UCUM, which OpenTelemetry uses: `s`, `By`, `{token}`; `1` for a share or a flag. */
  readonly unit: string
  /** Of a histogram, in seconds, ascending; else empty. */
  readonly bounds: ReadonlyArray<number>
}

const units: Readonly<Record<string, string>> = {
  seconds: "s",
  bytes: "By",
  tokens: "{token}",
  blocks: "{block}",
  requests: "{request}"
}

/** Of what the name says that it counts or measures. */
export const unitOf = (name: string): string => {
  const words = name.split("_").filter((word) => word in units)
  return units[words.at(-1) ?? ""] ?? "1"
}

const described =
  <K extends Kind>(type: K) =>
  <const L extends string = never>(name: string, help: string, labels: ReadonlyArray<L> = []): Described<K, L> => ({
    ...{ type, name, help, labels, unit: unitOf(name), bounds: [] }
  })

export const counter = described("counter")
export const gauge = described("gauge")
export const histogram = <const L extends string = never>(
  name: string,
  help: string,
  bounds: ReadonlyArray<number>,
  labels: ReadonlyArray<L> = []
): Described<"histogram", L> => ({ type: "histogram", name, help, labels, unit: unitOf(name), bounds })
