/** Why: placements made again: how many came out otherwise; or one as a table, with what the other workers lost by. */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import type { Candidate } from "../../../src/domain/Placement.ts"
import { compact } from "../../demo/Report.ts"
import * as Decisions from "../Decisions.ts"
import type { Checked, Remade } from "../Recompute.ts"

const names: Readonly<Record<Decisions.Term, string>> = {
  waitMs: "wait",
  ownMs: "own",
  othersMs: "others",
  decodeMs: "decode",
  recentMs: "recent"
}

const number = (value: number): string => Math.round(value).toLocaleString("en").replaceAll(",", " ")
const ms = (value: number): string => (Math.abs(value) < 99.95 ? value.toFixed(1) : number(value))

/** What a worker lost by, and the term that did most of it. */
const lostBy = (candidate: Candidate, chosen: Candidate): string => {
  const apart = candidate.costMs - chosen.costMs
  if (apart === 0) return "a tie: later in the rotation"
  const gaps = Decisions.terms.map((term) => ({ term, gap: candidate[term] - chosen[term] }))
  const most = gaps.reduce((one, other) => (other.gap > one.gap ? other : one))
  return `+${ms(apart)}: ${names[most.term]} +${ms(most.gap)}`
}

export const text = ({ line, placement, told }: Remade, colors: Colors): string => {
  const { candidates, slot } = placement
  const chosen = candidates.find((candidate) => candidate.slot === slot)
  const table = new Table({
    head: ["", "worker", "overlap", "believed", ...Object.values(names), "cost", "lost by"].map((head) =>
      colors.bold(head)
    ),
    colAligns: ["left", ...Array.from({ length: 9 }, () => "right" as const), "left"],
    chars: compact,
    style: { head: [], border: colors.isColorSupported ? ["gray"] : [] }
  })
  for (const candidate of candidates) {
    const won = candidate === chosen
    const tint = won ? colors.green : (value: string) => value
    const { cachedTokens, costMs } = candidate
    const cells = [
      won ? "▶" : "",
      `${candidate.slot}`,
      number(cachedTokens),
      `${Math.round(told.load.credit[candidate.slot]! * 100)} %`,
      ...Decisions.terms.map((term) => ms(candidate[term])),
      ms(costMs),
      won ? "chosen" : chosen === undefined ? "" : lostBy(candidate, chosen)
    ]
    table.push(cells.map(tint))
  }
  const barred = told.eligible.flatMap((may, at) => (may === 1 ? [] : [at]))
  return [
    colors.bold(
      `Placement ${number(line)}, ${(told.atMs / 1_000).toFixed(3)} s: a prompt of ${number(told.promptTokens)} tokens to ` +
        `${chosen === undefined ? "no worker" : `worker ${slot}`}`
    ),
    table.toString(),
    "Overlap in tokens, of which so much is believed; all else in ms.",
    `Others: ${placement.price.toFixed(2)} × own for those behind it, and what those lose who arrive meanwhile, ` +
      `${(placement.arrivalsPerMs * 1_000).toFixed(2)} a second and worker.`,
    `Ties: from worker ${told.rotation % told.eligible.length} on.`,
    ...(barred.length > 0 ? [`Not eligible: ${barred.join(", ")}.`] : [])
  ].join("\n")
}

export const difference = ({ differs, line, told }: Remade): string =>
  `Line ${number(line)}, at ${(told.atMs / 1_000).toFixed(3)} s: ${differs}.`

export const verdict = ({ differ, first, placements }: Checked): string => {
  const lines = [`${number(placements)} ${placements === 1 ? "placement" : "placements"}, ${number(differ)} differ`]
  if (differ === 0) return lines[0]!
  lines.push(...first.map(difference))
  if (differ > first.length) lines.push(`… and ${number(differ - first.length)} more.`)
  lines.push("They were changed since, or written by another version: replay the trace once more.")
  return lines.join("\n")
}
