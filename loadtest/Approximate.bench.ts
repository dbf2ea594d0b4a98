/**
 * Approximate.bench: how much a fleet loses when its engines publish no KV events, and a model of their caches stands in.
 *
 * A trace is replayed in virtual time against simulated engines, routed by the production ledger, index, trust and cache
 * model: once with every event heard, then without any. The figures are exact and the same on every machine.
 */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import * as Circumstances from "./Circumstances.ts"
import { percentile } from "./client/Stats.ts"
import * as Random from "./Random.ts"
import * as Generated from "./replay/Generated.ts"
import * as Profiles from "./replay/Profiles.ts"
import * as Replay from "./replay/Replay.ts"
import * as Routing from "./replay/Routing.ts"
import * as Strategies from "./replay/Strategies.ts"
import * as Trace from "./replay/Trace.ts"

const help = `Usage: node loadtest/Approximate.bench.ts [options]

TTFT of a fleet whose engines publish no KV events, beside the same fleet with events, in virtual time.

  --trace FILE    a trace: Mooncake's JSON lines, or coding sessions; gzip or plain. May be repeated. Without it two are
                  made up, one of each kind
  --workers N     engines (default 8)
  --copies N      arrivals: so many copies of the trace at once; parts of one are allowed (default 1.7)
  --sessions N    sessions: alive at once per worker (default 48)
  --slice SHARE   only this first part of the time (default 1; sessions go on for two hours)
  --seeds N       runs per row; the table shows medians (default 3)
  --credit SHARE  of a modelled overlap to believe at most, instead of what the router has
  --only WORD     rows whose name contains it; exact mode always runs
  --out FILE      also write the result as Markdown, with commit and command
  --tiny          a second's worth of everything, to see that it runs
  --help          this text
`

const { values } = parseArgs({
  options: {
    trace: { type: "string", multiple: true, default: [] },
    workers: { type: "string", default: "8" },
    copies: { type: "string", default: "1.7" },
    sessions: { type: "string", default: "48" },
    slice: { type: "string", default: "1" },
    seeds: { type: "string", default: "3" },
    credit: { type: "string" },
    only: { type: "string", default: "" },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const credit = values.credit === undefined ? null : Number(values.credit)

interface Mode extends Routing.Knowledge {
  readonly name: string
  readonly policy: "eta" | "round-robin"
}

const modes: ReadonlyArray<Mode> = [
  { name: "exact", policy: "eta", ...Routing.everything, credit },
  { name: "approximate", policy: "eta", ...Routing.everything, view: "model", credit },
  { name: "approximate, size not told", policy: "eta", ...Routing.everything, view: "model", told: null, credit },
  { name: "approximate, size told 4 x", policy: "eta", ...Routing.everything, view: "model", told: 4, credit },
  { name: "approximate, no reports", policy: "eta", ...Routing.everything, view: "model", reports: false, credit },
  {
    name: "no reports, size told 4 x",
    policy: "eta",
    ...Routing.everything,
    view: "model",
    told: 4,
    reports: false,
    credit
  },
  { name: "round robin", policy: "round-robin", ...Routing.everything, credit }
]

const { llama70, mla } = Profiles.profiles
const hourMs = 3_600_000
/** Time of sessions: the first fifth is long enough for a cold start to be over. */
const sessionsMs = 2 * hourMs

const workers = values.tiny ? 3 : Number(values.workers)
const seeds = values.tiny ? 1 : Number(values.seeds)
const slice = Number(values.slice)

interface Workload {
  readonly name: string
  readonly trace: Trace.Trace
  readonly fleet: Profiles.Fleet
  readonly live: number
}

const generated = (): ReadonlyArray<Workload> => [
  {
    name: "made up: tools and chat",
    trace: Generated.arrivals(1, values.tiny ? 120_000 : hourMs, values.tiny ? 3 : 11 * (workers / 8)),
    fleet: Profiles.fleet(llama70, workers, values.tiny ? 400 * 512 : llama70.cacheTokens.medium, 512),
    live: 0
  },
  {
    name: "made up: coding agents",
    trace: Generated.sessions(1, values.tiny ? 20 : 300, values.tiny ? 10 : 100),
    fleet: Profiles.fleet(mla, workers, values.tiny ? 3_000 * 256 : mla.cacheTokens.medium, 256),
    live: values.tiny ? 12 : Number(values.sessions) * workers
  }
]

const recorded = (file: string): Workload => {
  const trace = Trace.read(file)
  const name = file.replace(/^.*\//, "").replace(/\..*$/, "")
  const profile = trace.kind === "arrivals" ? llama70 : mla
  return {
    name,
    trace,
    fleet: Profiles.fleet(profile, workers, profile.cacheTokens.medium, trace.blockSize),
    live: Number(values.sessions) * workers
  }
}

/** The trace as one seed has it, and when it ends. */
const seeded = ({ name, trace }: Workload, seed: number): readonly [Trace.Trace, number] => {
  if (trace.kind === "sessions") return [trace, (values.tiny ? 120_000 : sessionsMs) * slice]
  const durationMs = trace.durationMs * slice
  const copies = name.startsWith("made up") ? 1 : Number(values.copies)
  const { requests } = Trace.copied(trace, copies, Random.make(seed))
  return [{ ...trace, durationMs, requests: requests.filter(({ atMs }) => atMs < durationMs) }, durationMs]
}

const median = (of: ReadonlyArray<number>): number => percentile(of, 0.5) ?? Number.NaN

const row = (name: string, runs: ReadonlyArray<Replay.Ran>, exact: ReadonlyArray<Replay.Ran>): string => {
  const of = (pick: (ran: Replay.Ran) => number): number => median(runs.map(pick))
  const ratios = runs.map((run, i) => run.result.ttftMs.p90 / exact[i]!.result.ttftMs.p90)
  const cells = [
    (of((run) => run.result.ttftMs.p50) / 1000).toFixed(2),
    (of((run) => run.result.ttftMs.p90) / 1000).toFixed(2),
    (of((run) => run.result.ttftMs.mean) / 1000).toFixed(2),
    median(ratios).toFixed(3),
    `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}`,
    (100 * of((run) => run.result.hitRate)).toFixed(1),
    (100 * of((run) => run.result.tooMany)).toFixed(2),
    (100 * of((run) => run.result.tooFew)).toFixed(2),
    runs[0]!.capacity === null ? "-" : of((run) => run.capacity!).toFixed(2)
  ]
  return name.padEnd(28) + cells.map((cell) => ` ${cell.padStart(11)}`).join("")
}

const heads = [
  "p50, s",
  "p90, s",
  "mean, s",
  "p90/exact",
  "least-most",
  "hits, %",
  "too many,%",
  "too few, %",
  "size/true"
]

const measure = (workload: Workload): ReadonlyArray<string> => {
  const runs = new Map<string, Array<Replay.Ran>>()
  const chosen = modes.filter(({ name }) => name === "exact" || name.includes(values.only))
  for (let seed = 1; seed <= seeds; seed++) {
    const [trace, durationMs] = seeded(workload, seed)
    for (const mode of chosen) {
      const results = runs.get(mode.name) ?? []
      runs.set(mode.name, results)
      const strategy = mode.policy === "eta" ? Strategies.ours : Strategies.roundRobin
      const options = { seed, live: workload.live, durationMs, knowledge: mode }
      results.push(Replay.run(trace, strategy, workload.fleet, options))
    }
  }
  const exact = runs.get("exact")!
  const { requests, perSecond } = exact[0]!.result
  return [
    `${workload.name}: ${requests} requests measured, ${perSecond.toFixed(1)} per second`,
    "".padEnd(28) + heads.map((head) => ` ${head.padStart(11)}`).join(""),
    ...Array.from(runs, ([name, results]) => row(name, results, exact))
  ]
}

if (values.help) console.log(help)
else {
  const workloads = values.trace.length === 0 ? generated() : values.trace.map(recorded)
  const lines: Array<string> = []
  for (const workload of workloads) {
    const table = measure(workload)
    console.log(`${table.join("\n")}\n`)
    lines.push(...table, "")
  }
  if (values.out !== undefined) writeFileSync(values.out, markdown(lines))
}

function markdown(lines: ReadonlyArray<string>): string {
  const args = process.argv.slice(2).map((arg) => arg.replace(/^.*\/(?=[^/]+\.gz$)/, ""))
  return `# A fleet without KV events

TTFT in virtual time: ${workers} simulated engines, each with a cache of its own; median of ${seeds} seeds, the first fifth of the
time left out. "Exact": the index follows what engines store and evict. "Approximate": it follows a model of each cache,
which sees what the router sent, what \`/metrics\` tells of the size, and what answers report as cached. "p90/exact" is the median of
the seeds' ratios. Hits: share of prompt tokens from a cache. Too many, too few: tokens predicted and not delivered,
delivered and not predicted, of those predicted. Size/true: what the model believes at the end.

Arrivals (512-token blocks): ${values.copies} copies of the trace at once, engines as Llama-3-70B on four H100, 3 300 blocks each, of which running requests hold 830. Sessions
(256-token blocks): ${values.sessions} alive per worker, closed loop, met in their middle, engines as a large MLA model on eight H200,
48 000 blocks each, of which running requests hold 16 000.

\`\`\`text
${lines.join("\n").trimEnd()}
\`\`\`

Virtual time: the machine does not matter (Node ${process.version}). Commit: ${Circumstances.commit()}.
Command: \`node loadtest/Approximate.bench.ts ${args.join(" ")}\`
`
}
