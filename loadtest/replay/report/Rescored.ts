/** Rescored: what receipts come to: made again, under other weights, and what was given away; as text and as JSON. */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import { compact } from "../../demo/Report.ts"
import type { Read } from "../receipts/Receipts.ts"
import type { Worker } from "../receipts/Regret.ts"
import * as Variants from "../receipts/Variants.ts"

const version = 1
const workersMax = 10

const number = (value: number): string => Math.round(value).toLocaleString("en").replaceAll(",", " ")
const signed = (value: number, show: (value: number) => string): string => `${value > 0 ? "+" : ""}${show(value)}`
const per = (sum: number, count: number, show: (value: number) => string): string =>
  count === 0 ? "–" : show(sum / count)
const ms = (value: number): string => value.toFixed(2)
const counted = (count: number, one: string): string => `${number(count)} ${one}${count === 1 ? "" : "s"}`

const worst = "its worst request"

const tableOf = (head: ReadonlyArray<string>, colors: Colors) =>
  new Table({
    head: head.map((each) => colors.bold(each)),
    colAligns: head.map((each, i) => (i === 0 || each === worst ? "left" : "right")),
    chars: compact,
    style: { head: [], border: colors.isColorSupported ? ["gray"] : [] }
  })

const variants = ({ byCost, variants }: Read, colors: Colors): string => {
  const table = tableOf(["weights", "elsewhere", "%", "held tokens", "wait + own, ms"], colors)
  for (const { differ, heldTokens, name, waitOwnMs } of variants) {
    table.push([
      name,
      number(differ),
      per(100 * differ, byCost, (value) => value.toFixed(1)),
      signed(heldTokens, number),
      per(waitOwnMs, byCost, (mean) => signed(mean, ms))
    ])
  }
  return table.toString()
}

const row = (name: string, { choiceTokens, pictureTokens, placements, reported }: Omit<Worker, "worker" | "worst">) => [
  name,
  number(placements),
  number(choiceTokens),
  per(choiceTokens, placements, number),
  number(reported),
  reported === 0 ? "–" : signed(pictureTokens, number),
  per(pictureTokens, reported, (mean) => signed(mean, number))
]

const regret = ({ regret }: Read, colors: Colors): string => {
  const head = ["worker", "placed", "by choice", "mean", "reported", "by picture", "mean", worst]
  const table = tableOf(head, colors)
  table.push([...row("all", regret), ""])
  for (const worker of regret.workers.slice(0, workersMax)) {
    table.push([...row(worker.worker, worker), worker.worst[0]?.id ?? "–"])
  }
  const more = regret.workers.length - workersMax
  return more > 0 ? `${table.toString()}\n… and ${counted(more, "worker")} more, in --json.` : table.toString()
}

/** What the figures mean, and what they cannot. */
const legend = (read: Read): ReadonlyArray<string> => [
  ...(read.byCost > 0 ? judged(read) : []),
  "By choice: tokens held by the eligible worker that had most, less by the one chosen; often right, where the first is busy.",
  "By picture: tokens a worker was thought to hold, less what its engine reported from its cache; below zero it had more."
]

const judged = (read: Read): ReadonlyArray<string> => [
  "Elsewhere: placements that these weights would have sent to another worker. Held tokens: prompt tokens that those had, less",
  "what the ones chosen had, in all; more is prefill saved. Wait + own: predicted time to the first token there, less here, the",
  `mean over all ${number(read.byCost)} placements, by the weights there are (${Variants.now()}).`,
  "Each decision is judged alone: loads and caches stay as they were, though a request sent elsewhere changes both for all that",
  "follow. Waits are predictions, made by the same model that chose. To see what weights come to, replay a trace under them",
  "(node loadtest/Ablation.bench.ts --set decode=0.1).",
  ...(read.narrowed > 0
    ? [
        `Of ${counted(read.narrowed, "placement")} only the likeliest candidates were kept: one that was not might have been taken.`
      ]
    : [])
]

const heading = (read: Read): string =>
  `${counted(read.placements, "placement")} of ${counted(read.receipts, "receipt")}, ${read.from} to ${read.to}: ${number(read.differ)} differ`

const notes = ({ byCost, placements, unkept, unread, unreadFirst }: Read): ReadonlyArray<string> => [
  ...(placements > byCost
    ? [
        `${counted(placements - byCost, "placement")} by other policies: their costs were made again, their choice cannot be.`
      ]
    : []),
  ...(unkept > 0 ? [`${counted(unkept, "placement")} without a decision: they cannot be made again.`] : []),
  ...(unread > 0
    ? [`Not read: ${counted(unread, "line")}, or rests of files.`, ...unreadFirst.map((each) => `  ${each}`)]
    : []),
  ...(unread > unreadFirst.length ? [`  … and ${number(unread - unreadFirst.length)} more.`] : [])
]

export const text = (read: Read, colors: Colors): string =>
  [
    (read.differ === 0 ? colors.green : colors.red)(heading(read)),
    ...notes(read).map(colors.yellow),
    ...(read.byCost === 0 ? [] : [variants(read, colors)]),
    regret(read, colors),
    ...legend(read).map(colors.dim)
  ].join("\n")

/** Where placements came out otherwise. */
export const difference = ({ differ, first }: Read): string =>
  [
    ...first.map(({ file, id, line, what }) => `${file}, line ${line}, request ${id}: ${what}.`),
    ...(differ > first.length ? [`… and ${number(differ - first.length)} more.`] : []),
    "They were changed since, or written by a router of another version: its weights or its cost are others."
  ].join("\n")

export const json = (read: Read): string =>
  `${JSON.stringify({ kind: "warmpath receipts", version, ...read }, null, 2)}\n`
