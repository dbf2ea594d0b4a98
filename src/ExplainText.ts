/** ExplainText: receipts for people: one whole, a placement that would be made, or a list. */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import { compact } from "../loadtest/demo/Report.ts"
import type { Receipt, ReceiptCandidate, ReceiptLine, ReceiptTry } from "./domain/Receipt.ts"

/** What `POST /admin/explain` answers. */
export interface Explained {
  readonly model: string
  readonly promptTokens: number
  readonly exact: boolean
  readonly placement: Omit<ReceiptTry, "atMs" | "deliveredTokens" | "firstByteMs" | "endMs" | "end">
}

/** Candidates shown; JSON has all. */
const candidatesMax = 12

const number = (value: number): string => Math.round(value).toLocaleString("en").replaceAll(",", " ")
const ms = (value: number): string => (value === 0 ? "0" : Math.abs(value) < 9.95 ? value.toFixed(2) : number(value))
const orNone = (value: number | null, show: (value: number) => string): string => (value === null ? "–" : show(value))
const tokens = (count: number): string => `${number(count)} ${count === 1 ? "token" : "tokens"}`

const tableOf = (head: ReadonlyArray<string>, lefts: ReadonlyArray<number>, colors: Colors) =>
  new Table({
    head: head.map((each) => colors.bold(each)),
    colAligns: head.map((_, i) => (lefts.includes(i) ? "left" : "right")),
    chars: compact,
    style: { head: [], border: colors.isColorSupported ? ["gray"] : [] }
  })

const costs = (candidates: ReadonlyArray<ReceiptCandidate>, colors: Colors): string => {
  const table = tableOf(
    ["", "worker", "wait", "own", "others", "decode", "recent", "cost", "why not"],
    [0, 1, 8],
    colors
  )
  for (const { costMs, decodeMs, lost, othersMs, ownMs, recentMs, waitMs, worker } of candidates) {
    const cells = [waitMs, ownMs, othersMs, decodeMs, recentMs, costMs].map(ms)
    const row = [lost === null ? "▶" : "", worker, ...cells, lost ?? "chosen"]
    table.push(lost === null ? row.map(colors.green) : row)
  }
  return table.toString()
}

const held = (candidates: ReadonlyArray<ReceiptCandidate>, colors: Colors): string => {
  const table = tableOf(
    [
      "worker",
      "device",
      "host",
      "disk",
      "external",
      "guess",
      "counted",
      "trust",
      "believed",
      "heard",
      "queued",
      "active"
    ],
    [0, 7],
    colors
  )
  for (const { active, cachedTokens, credit, heardAgoMs, heldTokens, queued, trust, worker } of candidates) {
    const { device, disk, external, guess, host } = heldTokens
    table.push([
      worker,
      ...[device, host, disk, external, guess, cachedTokens].map(number),
      trust,
      `${Math.round(credit * 100)} %`,
      heardAgoMs === null ? "–" : heardAgoMs < 1_000 ? `${heardAgoMs} ms` : `${number(heardAgoMs / 1_000)} s`,
      number(queued),
      number(active)
    ])
  }
  return table.toString()
}

const placement = (made: Explained["placement"], colors: Colors): ReadonlyArray<string> => {
  const shown = made.candidates.slice(0, candidatesMax)
  const more = made.candidates.length - shown.length + made.others
  if (shown.length === 0) return [`Its candidates were not kept. Workers of the model: ${made.states}.`]
  return [
    colors.bold("Cost in ms, the cheapest first"),
    costs(shown, colors),
    colors.dim(
      `Policy ${made.policy}. Wait: prefill queued there, or until there is room. Own: prefill of what it lacks. Others: ` +
        `${made.price.toFixed(2)} × own for those behind it, and what those lose who arrive meanwhile, ` +
        `${(made.arrivalsPerMs * 1_000).toFixed(2)} a second and worker.`
    ),
    colors.bold("Leading tokens of the prompt within reach, as far as each tier"),
    held(shown, colors),
    colors.dim(
      "Counted: what they save, those on their way there too; of it so much is believed. Heard: age of what its events last told."
    ),
    ...(more > 0 ? [`${number(more)} more could have taken it.`] : []),
    `Workers of the model: ${made.states}.`
  ]
}

const tried = (one: ReceiptTry, at: number, of: number, colors: Colors): string => {
  const { bestTokens, deliveredTokens, end, firstByteMs, predictedTokens, worker } = one
  const name = of === 1 ? "To" : `Try ${at + 1} of ${of}: to`
  return [
    colors.bold(`${name} ${worker}: ${end}${firstByteMs === null ? "" : `, first byte after ${ms(firstByteMs)} ms`}`),
    `From its cache: predicted ${tokens(predictedTokens)}, delivered ${deliveredTokens === null ? "not told" : number(deliveredTokens)}; ` +
      `the most that any eligible worker held was ${number(bestTokens)}.`,
    ...placement(one, colors)
  ].join("\n")
}

const exactly = (exact: boolean): string =>
  exact ? "tokenised as its engines do" : "matched by its text, tokens estimated"

/** Part of the phase `place`. */
const turn = ({ waitedMs }: Receipt): string => (waitedMs > 0 ? ` (waited ${ms(waitedMs)} for its turn)` : "")

export const receipt = (given: Receipt, colors: Colors): string => {
  const { asked, exact, model, outcome, outputTokens, phases, regret, status, totalMs, traceId, tries, ttftMs } = given
  const prompts = given.prompts === 1 ? "" : ` in ${given.prompts} prompts`
  const name = asked === model ? model : `${model} (asked for as ${asked})`
  return [
    colors.bold(`Request ${given.id}, ${given.at}`),
    `${name}, ${given.endpoint}${given.stream ? ", streamed" : ""}: ${tokens(given.promptTokens)}${prompts}, ${exactly(exact)}`,
    `${outcome}${status === 0 ? "" : `, status ${status}`}: ${ttftMs === null ? "" : `first token after ${ms(ttftMs)} ms, `}` +
      `over after ${ms(totalMs)} ms, ${outputTokens === null ? "output not told" : `${tokens(outputTokens)} of output`}`,
    `Phases, ms: ${Object.entries(phases)
      .map(([phase, took]) => `${phase} ${orNone(took, ms)}${phase === "place" ? turn(given) : ""}`)
      .join(" · ")}`,
    ...(traceId === null ? [] : [`Trace ${traceId}`]),
    ...(given.missing === null
      ? []
      : [colors.yellow(`No ${tries.length === 0 ? "" : "other "}worker could take it: ${given.missing}.`)]),
    ...(regret === null
      ? []
      : [
          `Given away: ${tokens(regret.choiceTokens)} by the choice, ` +
            `${regret.pictureTokens === null ? "not told" : tokens(regret.pictureTokens)} by the picture of its cache.`
        ]),
    ...tries.map((each, i) => `\n${tried(each, i, tries.length, colors)}`)
  ].join("\n")
}

export const explained = ({ exact, model, placement: made, promptTokens }: Explained, colors: Colors): string =>
  [
    colors.bold(`Now ${model} would go to ${made.worker}: ${tokens(promptTokens)}, ${exactly(exact)}`),
    `It is thought to hold ${tokens(made.predictedTokens)}; the most that any eligible worker holds is ${number(made.bestTokens)}. Nothing was sent.`,
    ...placement(made, colors)
  ].join("\n")

export const list = (lines: ReadonlyArray<ReceiptLine>, colors: Colors): string => {
  if (lines.length === 0) return "No request is over yet."
  const head = ["at", "id", "model", "worker", "prompt", "predicted", "delivered", "TTFT, ms", "all, ms", "outcome"]
  const table = tableOf(head, [0, 1, 2, 3, 9], colors)
  for (const line of lines) {
    table.push([
      line.at,
      line.id,
      line.model,
      line.worker ?? "–",
      number(line.promptTokens),
      number(line.predictedTokens),
      orNone(line.deliveredTokens, number),
      orNone(line.ttftMs, ms),
      ms(line.totalMs),
      line.outcome === "ok" ? line.outcome : colors.yellow(line.outcome)
    ])
  }
  return table.toString()
}
