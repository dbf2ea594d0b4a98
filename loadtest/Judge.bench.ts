/**
 * Judge.bench: does placement reach its goals, against every rival, on public traces? One table, in virtual time.
 *
 * Figures do not depend on the machine: the same seeds, the same table.
 */
import { existsSync, writeFileSync } from "node:fs"
import { dirname, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import picocolors from "picocolors"
import { cells } from "./judge/Cell.ts"
import * as Goals from "./judge/Goals.ts"
import * as Judge from "./judge/Judge.ts"
import * as Kept from "./judge/Kept.ts"
import * as Plan from "./judge/Plan.ts"
import * as Progress from "./judge/Progress.ts"
import * as Tables from "./judge/Tables.ts"
import * as Traffic from "./judge/Traffic.ts"
import { commit, machine } from "./micro/Measure.ts"

const committed = fileURLToPath(new URL("traces", import.meta.url))

const help = `npm run judge -- [options]

Replays the traces under this router's placement and every rival's, and says which goals are met.
Exits with 0 when all are, with 1 when one is missed, with 2 when it cannot begin.

  --only R3,R7    only these goals: ${Goals.ids.join(", ")}
  --seeds N       medians of so many (3)
  --all           every rival in every cell under every seed; else those above ${Plan.farBehind} × the best at 8 workers are left out of
                  other cells, and those above ${Plan.behind} × the best under the first seed out of other seeds
  --cells         instead: p90 TTFT of every strategy where the field is usually shown, one seed, none giving up
  --keep FILE     outcomes are kept there as they come, and those there, of the same code, are not run again
  --traces DIR    the traces (${relative(process.cwd(), committed)})
  --tiny          a minute of made-up traces: shows that it works and judges nothing
  --out FILE      also write it as Markdown, with machine, commit and command
  --help          this text`

const refuse = (why: string): never => {
  console.error(`${why}\nnpm run judge -- --help says what there is.`)
  process.exit(2)
}

const parse = () => {
  try {
    return parseArgs({
      options: {
        only: { type: "string" },
        seeds: { type: "string", default: "3" },
        all: { type: "boolean", default: false },
        cells: { type: "boolean", default: false },
        traces: { type: "string", default: committed },
        tiny: { type: "boolean", default: false },
        out: { type: "string" },
        keep: { type: "string" },
        help: { type: "boolean", default: false }
      }
    }).values
  } catch (error) {
    return refuse((error as Error).message)
  }
}

const values = parse()
if (values.help) {
  console.log(help)
  process.exit(0)
}
const seeds = values.tiny ? 1 : Number(values.seeds)
if (!Number.isInteger(seeds) || seeds < 1) refuse(`--seeds is "${values.seeds}"; give a whole number from 1 up.`)
const only = values.only?.split(",").map((id) => id.trim().toUpperCase()) ?? Goals.ids
for (const id of only)
  if (!Goals.ids.includes(id)) refuse(`There is no goal "${id}"; there are ${Goals.ids.join(", ")}.`)
for (const file of [values.out, values.keep]) {
  if (file !== undefined && !existsSync(dirname(file))) refuse(`There is no folder ${dirname(file)} for ${file}.`)
}
const kept = (): Kept.Kept => {
  if (values.keep === undefined) return Kept.nothing
  try {
    return Kept.open(values.keep)
  } catch (error) {
    return refuse((error as Error).message)
  }
}
const missing = values.tiny ? [] : Traffic.missing(values.traces)
if (missing.length > 0) {
  refuse(
    `${values.traces} lacks ${missing.join(", ")}. A checkout has them in loadtest/traces; its README.md says where they come from.`
  )
}

/** Tiny: a cell of each goal, so that every line is there. */
const goals = Goals.goals
  .filter(({ id }) => only.includes(id))
  .map((goal) => (values.tiny ? { ...goal, cells: goal.cells.slice(0, 1) } : goal))

const shown = [
  ...cells(["conv", "tool"], [16], [0.5, 0.8, 0.95], ["medium"]),
  ...cells(["syn"], [16], [0.8], ["medium"]),
  ...cells(["agent"], [8], [76], ["medium"])
]

const startedMs = performance.now()
const progress = Progress.make(process.stderr, process.env)
const options: Judge.Options = {
  seeds,
  all: values.all,
  folder: values.tiny ? null : values.traces,
  kept: kept(),
  onStage: progress.begin,
  onShare: progress.at
}
const command = ["npm run judge --", ...process.argv.slice(2)].join(" ")

const judge = async (): Promise<string> => {
  const { verdicts } = await Judge.run(goals, options)
  progress.close()
  console.log(Tables.text(verdicts, picocolors))
  const misses = Tables.misses(verdicts)
  if (misses.length > 0) console.log(`\nMissed, cell by cell:\n${misses.map((miss) => `  ${miss}`).join("\n")}`)
  if (verdicts.some(({ isMet }) => !isMet)) process.exitCode = 1
  console.log(`\n${Tables.summary(verdicts)}`)
  return [
    Tables.markdown(verdicts),
    ...(misses.length === 0 ? [] : [misses.map((miss) => `- ${miss}`).join("\n")])
  ].join("\n\n")
}

const table = async (): Promise<string> => {
  const outcomes = await Judge.table(values.tiny ? shown.slice(0, 1) : shown, options)
  progress.close()
  const found = Tables.figures(outcomes)
  console.log(found)
  return found
}

try {
  const markdown = await (values.cells ? table() : judge())
  const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1)
  const cpuMinutes = (process.cpuUsage().user / 60e6).toFixed(1)
  const notes =
    `${machine()}, ${minutes} min (${cpuMinutes} of CPU); node ${process.version}; commit ${commit()}\n` +
    `Virtual time: the figures do not depend on the machine.\nCommand: \`${command}\``
  console.log(notes)
  if (values.out !== undefined) writeFileSync(values.out, `${markdown}\n\n${notes}\n`)
} finally {
  progress.close()
}
