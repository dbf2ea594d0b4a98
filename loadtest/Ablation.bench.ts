/**
 * Ablation.bench: what each term of the cost of a placement is worth.
 *
 * A trace is replayed in virtual time, as the router places and with one term left out at a time. The same seed, the same
 * requests: what is shown is the ratio to the whole cost under the same seed, so only the term differs. Exact, and the
 * same on every machine.
 */
import { parseArgs } from "node:util"
import { weights } from "../src/hot/Weights.ts"
import { percentile } from "./client/Stats.ts"
import * as Random from "./Random.ts"
import * as Generated from "./replay/Generated.ts"
import * as Profiles from "./replay/Profiles.ts"
import * as Replay from "./replay/Replay.ts"
import type { Result } from "./replay/Result.ts"
import * as Saturation from "./replay/Saturation.ts"
import * as Strategies from "./replay/Strategies.ts"
import * as Trace from "./replay/Trace.ts"

const help = `Usage: node loadtest/Ablation.bench.ts [options]

What each term of the cost is worth: TTFT without it, over TTFT with all, in virtual time.

  --trace FILE   a trace as \`warmpath replay\` takes it; without it one is made up
  --workers N    engines (default 16)
  --load SHARE   arrivals: of what the fleet could serve at most (default 0.95)
  --sessions N   sessions: alive at once per worker (default 76)
  --seeds N      runs per row; ratios are geometric means (default 3)
  --set K=V      instead of the usual rows: one with this weight; may be repeated (${Object.keys(weights).join(", ")})
  --tiny         two minutes of three engines, to see that it runs
  --help         this text
`

const { values } = parseArgs({
  options: {
    trace: { type: "string" },
    workers: { type: "string", default: "16" },
    load: { type: "string", default: "0.95" },
    sessions: { type: "string", default: "76" },
    seeds: { type: "string", default: "3" },
    set: { type: "string", multiple: true, default: [] },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

type Weights = typeof weights

const isWeight = (name: string): name is keyof Weights => name in weights

const parsed = (text: string): Partial<Weights> => {
  const [name = "", value] = text.split("=")
  if (isWeight(name) && value !== undefined && Number.isFinite(Number(value))) return { [name]: Number(value) }
  console.error(`--set ${text}: a weight and a number, as decode=0.1; there are ${Object.keys(weights).join(", ")}`)
  process.exit(2)
}

const rows: ReadonlyArray<readonly [name: string, changed: Partial<Weights>]> =
  values.set.length > 0
    ? values.set.map((text) => [text, parsed(text)])
    : [
        ["without the wait for room", { space: 0 }],
        ["without the price of busy workers", { busyPrice: 0 }],
        ["without the price of arrivals", { arrivalsPrice: 0 }],
        ["without the price when all are idle", { basePrice: 0 }],
        ["without any price", { basePrice: 0, busyPrice: 0, arrivalsPrice: 0 }],
        ["without decode", { decode: 0 }],
        ["without recent work", { recent: 0 }]
      ]

const hourMs = 3_600_000
const seeds = values.tiny ? 1 : Number(values.seeds)
const workers = values.tiny ? 3 : Number(values.workers)

const run = (): ReadonlyArray<string> => {
  const trace =
    values.trace === undefined
      ? Generated.arrivals(1, values.tiny ? 120_000 : hourMs, values.tiny ? 3 : 11)
      : Trace.read(values.trace)
  const profile = Profiles.profiles[trace.kind === "arrivals" ? "llama70" : "mla"]
  const fleet = Profiles.fleet(profile, workers, profile.cacheTokens.medium, trace.blockSize)
  const live = Number(values.sessions) * workers
  const copies =
    trace.kind === "sessions" ? 1 : Saturation.copies(trace, fleet, Number(values.load), Random.make(1)).copies
  const durationMs = trace.kind === "sessions" ? 2 * hourMs : trace.durationMs
  const usual = { ...weights }
  const results = (changed: Partial<Weights>): ReadonlyArray<Result> => {
    Object.assign(weights, usual, changed)
    return Array.from({ length: seeds }, (_, i) => {
      const seed = i + 1
      const seeded = trace.kind === "sessions" ? trace : Trace.copied(trace, copies, Random.make(seed))
      return Replay.run(seeded, Strategies.ours, fleet, { seed, live, durationMs }).result
    })
  }
  const whole = results({})
  const seconds = (of: (result: Result) => number) => `${((percentile(whole.map(of), 0.5) ?? 0) / 1000).toFixed(2)} s`
  const ratio = (some: ReadonlyArray<Result>, of: (result: Result) => number) =>
    Math.exp(some.reduce((sum, each, i) => sum + Math.log(of(each) / of(whole[i]!)), 0) / some.length).toFixed(3)
  const picks: ReadonlyArray<(result: Result) => number> = [
    ({ ttftMs }) => ttftMs.p50,
    ({ ttftMs }) => ttftMs.p90,
    ({ ttftMs }) => ttftMs.mean,
    ({ e2eMs }) => e2eMs.mean
  ]
  const line = (name: string, cells: ReadonlyArray<string>) =>
    name.padEnd(32) + cells.map((c) => c.padStart(10)).join("")
  return [
    line("", ["TTFT p50", "p90", "mean", "E2E mean", "hits, %"]),
    line("all terms", [...picks.map(seconds), hits(whole)]),
    ...rows.map(([name, changed]) => {
      const some = results(changed)
      return line(name, [...picks.map((of) => ratio(some, of)), hits(some)])
    })
  ]
}

const hits = (some: ReadonlyArray<Result>): string =>
  ((100 * some.reduce((sum, { hitRate }) => sum + hitRate, 0)) / some.length).toFixed(1)

console.log(values.help ? help : run().join("\n"))
