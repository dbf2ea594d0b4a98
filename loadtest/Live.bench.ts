/**
 * Live.bench: the replay's comparison again with real processes and sockets: simulated engines, the whole router in front
 * of them, requests over HTTP. Rivals run inside the same router, in place of its ledger.
 *
 * Engines run `--speed` times as fast as the trace, and times are multiplied back; a machine that is too slow for that
 * shows in the cores used and in how late requests were sent, which are printed. Wall time: on a shared machine, noisy.
 */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import * as Circumstances from "./Circumstances.ts"
import * as Random from "./Random.ts"
import * as Generated from "./replay/Generated.ts"
import * as Contenders from "./replay/live/Contenders.ts"
import * as Proof from "./replay/live/Proof.ts"
import * as Profiles from "./replay/Profiles.ts"
import * as Saturation from "./replay/Saturation.ts"
import type { Strategy } from "./replay/Strategy.ts"
import * as Trace from "./replay/Trace.ts"
import * as TraceFile from "./replay/TraceFile.ts"
import * as NatsServer from "./servers/NatsServer.ts"

const help = `Usage: node loadtest/Live.bench.ts [options]

TTFT and hit rate of routing policies in front of simulated engines, live and in virtual time, on the same traffic.

  --trace FILE     a trace; may be repeated. Without it a small one is made up
  --policies LIST  by name, with commas (default warmpath,smg-events,dynamo,llm-d-precise). There are:
                   ${Contenders.contenders.map(({ name }) => name).join(", ")}
  --engines N      simulated engines (default 8)
  --cache SIZE     of each: tight, medium or ample (default medium)
  --load SHARE     arrivals: of the rate at which engines that share one cache are saturated (default 0.9)
  --sessions N     sessions: alive at once per engine (default 76)
  --slice MINUTES  of the trace's time; the first fifth fills caches and is left out of all figures (default 10)
  --speed N        how many times as fast as the trace (default 2)
  --others N       more runs in virtual time, each request up to 5 ms times the speed later: their range says how much
                   of a figure is chance (default 4)
  --replicas LIST  routers, with commas: several share what they know over a nats-server started here, behind a balancer
                   that deals connections in turn; all run the first policy (default 1)
  --seed N         (default 1)
  --out FILE       also write the result as Markdown, with machine, commit and command
  --tiny           two engines, a few seconds, to see that it runs
  --help           this text
`

const { values } = parseArgs({
  options: {
    trace: { type: "string", multiple: true, default: [] },
    policies: { type: "string" },
    engines: { type: "string" },
    cache: { type: "string", default: "medium" },
    load: { type: "string", default: "0.9" },
    sessions: { type: "string", default: "76" },
    slice: { type: "string" },
    speed: { type: "string" },
    others: { type: "string" },
    replicas: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const minuteMs = 60_000

interface Played {
  readonly title: string
  readonly scene: Scene
}

type Scene = Omit<Proof.Scene, "replicas" | "nats">

const numbers = (text: string): ReadonlyArray<number> =>
  text.split(",").map((each) => {
    const number = Number(each)
    if (!Number.isInteger(number) || number < 1) throw new Error(`--replicas is ${text}: give numbers from 1 up.`)
    return number
  })

const sceneOf = (file: string | null): Played => {
  const seed = Number(values.seed)
  const workers = Number(values.engines ?? (values.tiny ? 2 : 8))
  const speed = Number(values.speed ?? (values.tiny ? 20 : 2))
  const sliceMs = Number(values.slice ?? (values.tiny ? 0.5 : 10)) * minuteMs
  const size = Profiles.cacheSizes.find((each) => each === values.cache)
  if (size === undefined) throw new Error(`--cache is ${values.cache}; there are ${Profiles.cacheSizes.join(", ")}.`)
  const read = file === null ? Generated.arrivals(seed, sliceMs, 1.3 * workers) : TraceFile.read(file)
  const profile = read.kind === "arrivals" ? Profiles.profiles.llama70 : Profiles.profiles.mla
  const fleet = Profiles.fleet(profile, workers, profile.cacheTokens[size], read.blockSize)
  const name = file === null ? "made up" : file.replace(/^.*\//, "").replace(/\..*$/, "")
  const what = `${workers} engines (${profile.about}), ${size} cache, ${sliceMs / minuteMs} minutes`
  const others = Number(values.others ?? (values.tiny ? 1 : 4))
  const common = { fleet, seed, speed, others, durationMs: sliceMs }
  if (read.kind === "sessions") {
    const live = Number(values.sessions) * workers
    return { title: `${name}: ${what}, ${live} sessions at once`, scene: { ...common, trace: read, live } }
  }
  const load = Number(values.load)
  const copies = file === null ? 1 : Saturation.copies(read, fleet, load, Random.make(seed)).copies
  const all = file === null ? read : Trace.copied(read, copies, Random.make(seed))
  const requests = all.requests.filter(({ atMs }) => atMs < sliceMs)
  const rate = (requests.length / (sliceMs / 1000)).toFixed(1)
  return {
    title: `${name}: ${what}, ${rate} requests/s${file === null ? "" : ` (${load} of saturation)`}`,
    scene: { ...common, live: 0, trace: { ...all, durationMs: sliceMs, requests } }
  }
}

const heads = ["p50, s", "p90, s", "offline p90", "least-most", "hits, %", "offline", "order", "offline", "failed"]

/** Places by p90 TTFT, from 1. */
const places = (of: ReadonlyArray<number>): ReadonlyArray<number> =>
  of.map((p90) => of.filter((x) => x < p90).length + 1)

const range = (of: ReadonlyArray<number>): string => `${Math.min(...of).toFixed(2)}-${Math.max(...of).toFixed(2)}`

const table = (rows: ReadonlyArray<Proof.Proven>): ReadonlyArray<string> => {
  const live = places(rows.map((row) => row.live.ttftMs.p90))
  const offline = places(rows.map((row) => row.offline[0].ttftMs.p90))
  const line = (name: string, cells: ReadonlyArray<string>): string =>
    name.padEnd(18) + cells.map((cell) => cell.padStart(14)).join("")
  return [
    line("", heads),
    ...rows.map((row, i) =>
      line(row.live.strategy, [
        (row.live.ttftMs.p50 / 1000).toFixed(2),
        (row.live.ttftMs.p90 / 1000).toFixed(2),
        (row.offline[0].ttftMs.p90 / 1000).toFixed(2),
        range(row.offline.map(({ ttftMs }) => ttftMs.p90 / 1000)),
        (100 * row.live.hitRate).toFixed(1),
        (100 * row.offline[0].hitRate).toFixed(1),
        String(live[i]),
        String(offline[i]),
        String(row.live.failed)
      ])
    )
  ]
}

const machine = ({ cores, lateMsP99, live, problem }: Proof.Proven): string =>
  `${live.strategy}: ${live.requests} requests counted; cores used: engines ${cores.engines.toFixed(2)}, router ` +
  `${cores.router.toFixed(2)}, sender ${cores.sender.toFixed(2)}; p99 of lateness in sending ${lateMsP99.toFixed(1)} ms` +
  (problem === null ? "" : `; first failure: ${problem}`)

const proved = async (scene: Omit<Proof.Scene, "nats">, strategy: Strategy): Promise<Proof.Proven> => {
  const server = scene.replicas === 1 ? null : await NatsServer.start()
  try {
    return await Proof.prove({ ...scene, nats: server?.url ?? null }, strategy, (share) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${strategy.name} ${(100 * share).toFixed(0)} % `)
    })
  } finally {
    await server?.close()
  }
}

const main = async (): Promise<void> => {
  const names = values.policies ?? (values.tiny ? "warmpath,round-robin" : "warmpath,smg-events,dynamo,llm-d-precise")
  const strategies = names.split(",").map(Contenders.byName)
  const runs =
    values.replicas === "1"
      ? strategies.map((strategy) => ({ replicas: 1, strategy }))
      : numbers(values.replicas).map((replicas) => ({ replicas, strategy: strategies[0]! }))
  const lines: Array<string> = []
  const say = (text: string): void => {
    lines.push(text)
    console.log(text)
  }
  for (const file of values.trace.length === 0 ? [null] : values.trace) {
    const { scene, title } = sceneOf(file)
    say(`${title}, ${scene.speed} x`)
    const rows: Array<Proof.Proven> = []
    for (const { replicas, strategy } of runs) {
      const proven = await proved({ ...scene, replicas }, strategy)
      if (process.stderr.isTTY) process.stderr.write("\r\x1b[K")
      const named = replicas === 1 ? proven.live.strategy : `${proven.live.strategy} x ${replicas}`
      rows.push({ ...proven, live: { ...proven.live, strategy: named } })
      say(machine(rows.at(-1)!))
    }
    say("")
    for (const line of table(rows)) say(line)
    say("")
  }
  const where = Circumstances.text()
  console.log(where)
  if (values.out === undefined) return
  writeFileSync(
    values.out,
    `# Policies, live

The router and simulated engines in processes of their own, requests over HTTP; times are the trace's. Offline: the same
requests in virtual time; least-most: these, and again with each request a few ms later, as it is live, where near
saturation one request placed otherwise moves all after it. Order: by p90 TTFT. Hits: prompt tokens from a cache, as the
engines report it.

\`\`\`text
${lines.join("\n").trimEnd()}
\`\`\`

${where}
`
  )
}

if (values.help) console.log(help)
else await main()
