/**
 * Table: every metric there is, made from what the code describes. Writes its part of README.md beside it:
 *
 *   node src/telemetry/Table.ts
 */
import { readFileSync, writeFileSync } from "node:fs"
import type { Described } from "./Described.ts"
import * as ProcessMetrics from "./ProcessMetrics.ts"
import * as ReceiptMetrics from "./ReceiptMetrics.ts"
import * as ReplicaMetrics from "./ReplicaMetrics.ts"
import * as RequestMetrics from "./RequestMetrics.ts"
import * as RouterMetrics from "./RouterMetrics.ts"
import * as SpanMetrics from "./SpanMetrics.ts"
import * as StoreMetrics from "./StoreMetrics.ts"
import * as TrafficMetrics from "./TrafficMetrics.ts"
import * as WorkerMetrics from "./WorkerMetrics.ts"

/** By what they are of. */
export const groups: Readonly<Record<string, ReadonlyArray<Described>>> = {
  "Requests, by model and by phase": RequestMetrics.described,
  "The router as a whole": RouterMetrics.described,
  "Each worker: what it was sent, and what came of it": TrafficMetrics.described,
  "Each worker, and each of its ranks: as it is now": WorkerMetrics.described,
  "Other routers, where there is NATS": ReplicaMetrics.described,
  "The metadata store, where there is one": StoreMetrics.described,
  "Receipts, where they are written": ReceiptMetrics.described,
  "Traces, where there is a collector": SpanMetrics.described,
  "The process": ProcessMetrics.described
}

export const all: ReadonlyArray<Described> = Object.values(groups).flat()

/** What Prometheus calls its series: a histogram has three. */
export const seriesOf = ({ name, type }: Described): ReadonlyArray<string> =>
  type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]

const row = ({ help, labels, name, type, unit }: Described): string =>
  `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(" ")} | ${unit} | ${help.replaceAll("|", "\\|")} |`

const markdown = (): string =>
  Object.entries(groups)
    .map(([title, rows]) =>
      [`### ${title}`, "", "| name | type | labels | unit | |", "|---|---|---|---|---|", ...rows.map(row), ""].join(
        "\n"
      )
    )
    .join("\n")

const [from, to] = ["<!-- metrics: written by `node src/telemetry/Table.ts` -->", "<!-- end of metrics -->"]

/** The text with the tables in it as they should be. */
export const renewed = (text: string): string => {
  const [before, rest] = text.split(from)
  const after = rest?.split(to)[1]
  if (before === undefined || after === undefined) throw new Error(`There is no place for the tables: ${from} … ${to}`)
  return `${before}${from}\n\n${markdown()}\n${to}${after}`
}

export const file = new URL("README.md", import.meta.url)

if (import.meta.main) writeFileSync(file, renewed(readFileSync(file, "utf8")))
