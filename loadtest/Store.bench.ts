/**
 * Store.bench: who holds how much of a request, asked of the router's own index and of every store of block metadata, beside a
 * Redis with one key for each block.
 *
 * All stores have the same blocks and are written and asked in bursts, each in its turn, within one run: what else the machine
 * does falls on all alike. Each answer is checked against what the workers hold. Wall times are of a machine that client and
 * servers share, with whoever else is on it; CPU is what the scheduler counts.
 */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { Effect, Logger } from "effect"
import * as Circumstances from "./Circumstances.ts"
import * as Bursts from "./stores/Bursts.ts"
import * as Memory from "./stores/Memory.ts"
import * as Ours from "./stores/Ours.ts"
import * as Rdma from "./stores/Rdma.ts"
import * as RedisBlocks from "./stores/RedisBlocks.ts"
import * as Report from "./stores/Report.ts"
import * as Rounds from "./stores/Rounds.ts"
import * as Runs from "./stores/Runs.ts"
import type { Open } from "./stores/Stores.ts"
import * as Traces from "./stores/Traces.ts"
import { shares, type Workload } from "./stores/Workload.ts"

const help = `Usage: node loadtest/Store.bench.ts [options]

Lookups and writes of block metadata: the router's own index, Redis with a key for each block, and our stores. A redis-server
is the one in PATH, or that REDIS_SERVER names, or is obtained.

  --what WORD  lookups, memory (what ten million blocks take), or all (default lookups)
  --rounds N   bursts of each way to look up (default 25)
  --burst N    lookups a burst, one at a time; four times as many with 16 in flight (default 40)
  --only WORD  workloads whose name has it: runs, conversation, toolagent, split, parted
  --libfabric PATH  libfabric.so.1, or a folder that has it (default: the system's, or what the tests obtained)
  --out FILE   also write the result as Markdown, with machine, commit and command
  --tiny       a few seconds' worth of everything, to see that it runs
  --help       this text
`

const { values } = parseArgs({
  options: {
    what: { type: "string", default: "lookups" },
    rounds: { type: "string" },
    burst: { type: "string" },
    only: { type: "string", default: "" },
    libfabric: { type: "string" },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const count = (flag: "rounds" | "burst", usual: number, tiny: number): number => {
  const text = values[flag]
  const number = text === undefined ? (values.tiny ? tiny : usual) : Number(text)
  if (Number.isInteger(number) && number > 0) return number
  console.error(`--${flag} is "${text}"; give a whole number above 0`)
  process.exit(2)
}

if (!["lookups", "memory", "all"].includes(values.what)) {
  console.error(`--what is "${values.what}"; give lookups, memory or all`)
  process.exit(2)
}
const rounds = count("rounds", 25, 1)
const burst = count("burst", 40, 10)
const lines: Array<string> = []
const startedMs = performance.now()

const print = (text = ""): void => {
  lines.push(text)
  console.log(text)
}
let saidMs = 0
/** What is under way, every few seconds. */
const say = (text: string): void => {
  if (values.tiny || performance.now() - saidMs < 3_000) return
  saidMs = performance.now()
  console.error(`${((saidMs - startedMs) / 1_000).toFixed(0).padStart(5)} s  ${text}`)
}

const onTrace = (name: string, shape: Traces.Shape): Workload =>
  Traces.make(name, {
    ...{ shape, workers: 8, cacheBlocks: values.tiny ? 100 : 1_500 },
    ...{ requestsMax: values.tiny ? 200 : 100_000, queriesMax: values.tiny ? 20 : 500 }
  })
const workloads: Record<string, () => Workload> = {
  runs: () => Runs.make(values.tiny ? 32 : 1_000, values.tiny ? 20 : 500),
  "conversation parted": () => onTrace("mooncake_conversation_trace", "parted"),
  "toolagent whole": () => onTrace("toolagent_like_dev", "whole"),
  ...(!values.tiny && {
    "conversation split": () => onTrace("mooncake_conversation_trace", "split"),
    "conversation whole": () => onTrace("mooncake_conversation_trace", "whole")
  })
}

const library = Rdma.libraryOf(values.libfabric)
const providers = ["tcp", "shm"].map((name) => ({ name, missing: Rdma.missing(name, library) }))
const fabrics = providers.flatMap(({ missing, name }) => (missing === null ? [Rdma.open(name, library)] : []))
const opens: ReadonlyArray<Open> = [Ours.local, RedisBlocks.open, Ours.redis, Ours.sqlite, ...fabrics]
/** Bytes of the goals, at ten million blocks. */
const cases: ReadonlyArray<Memory.Case> = [
  { open: Ours.redis, bytesMax: 250e6 },
  ...fabrics.slice(0, 1).map((open) => ({ open, bytesMax: 400e6 }))
]
const wants = (what: string): boolean => values.what === what || values.what === "all"

const measure = Effect.fnUntraced(function* (workload: Workload, figures: Report.Figures | null) {
  const { blocks, name, queries, workers } = workload
  const stores = yield* Effect.forEach(opens, (open) => open(workload))
  const told = shares(workload)
  let held = 0
  for (let block = 0; block < blocks.parents.length; block++) {
    if ((blocks.masks[2 * block]! | blocks.masks[2 * block + 1]!) !== 0) held++
  }
  const empty = yield* Effect.forEach(stores, ({ bytes }) => bytes)
  const written = yield* Bursts.write(stores, told, (done) => say(`${name}: ${done} of ${told.length} shares written`))
  const full = yield* Effect.forEach(stores, ({ bytes }) => bytes)
  print(
    `\n${name}: ${Report.digits(held)} blocks held by ${workers} workers, told in ${Report.digits(told.length)} shares`
  )
  for (const line of Report.writtenHeader) print(line)
  written.forEach((one, i) => {
    const each = (full[i]! - empty[i]!) / held
    figures?.bytes.set(one.store.name, each)
    print(Report.writtenRow(one, each))
  })
  let wrong = 0
  const roundsOf = Rounds.of(told, workload.stride)
  for (const set of queries) {
    const trips = roundsOf(set.queries)
    for (const isSpinning of [false, true]) {
      const how = isSpinning ? "a client that never sleeps" : "event-driven"
      const asking = isSpinning ? stores.filter(({ isNetworked }) => isNetworked) : stores
      const options = {
        rounds,
        burst,
        isSpinning,
        isSparing: values.tiny,
        seed: isSpinning ? 5 : 4,
        warmMs: values.tiny ? 0 : 300
      }
      const asked = yield* Bursts.ask(asking, set.queries, options, (round) =>
        say(`${name}: ${set.name}, ${how}, round ${round} of ${rounds}`)
      )
      for (const line of Report.askedHeader(`${set.name}, ${how}`)) print(line)
      for (const one of asked) {
        print(Report.askedRow(one, one.way.trips(trips), isSpinning))
        if (one.wrong > 0) print(`  ${one.wrong} answers of ${one.way.name} are wrong: its figures mean nothing.`)
        wrong += one.wrong
        const of = isSpinning ? figures?.sleepless : figures?.eventDriven
        const byDepth = of?.get(one.way.name) ?? new Map<number, Float64Array>()
        of?.set(one.way.name, byDepth.set(set.queries[0]!.blocks.length, Float64Array.from(one.latencies)))
      }
    }
  }
  return wrong
}, Effect.scoped)

const quiet = Effect.provide(Logger.layer([]))

const main = async (): Promise<boolean> => {
  const figures = Report.figures()
  let wrong = 0
  for (const [name, make] of Object.entries(workloads)) {
    if (!wants("lookups") || !name.includes(values.only)) continue
    wrong += await Effect.runPromise(measure(make(), name === "runs" ? figures : null).pipe(quiet))
  }
  print()
  for (const { missing, name } of providers) if (missing !== null) print(`Without rdma over ${name}: ${missing}`)
  if (fabrics.length > 0) {
    print(
      "No network card is behind rdma here: tcp and shm are libfabric's providers in software, and these no latencies of RDMA."
    )
  }
  if (figures.eventDriven.size > 0) {
    print("\nBeside the goals, on runs, p50 over p50, event-driven unless said; p10 is where neighbours have least say")
    for (const line of Report.goals(figures)) print(line)
  }
  if (wants("memory")) {
    print("\nWhat blocks of 16 tokens take")
    const blocks = values.tiny ? 20_000 : 10_000_000
    wrong += await Effect.runPromise(Memory.measure(cases, blocks, print, say).pipe(quiet))
  }
  const where = Circumstances.text()
  console.log(`\n${where}`)
  if (values.out !== undefined) {
    writeFileSync(
      values.out,
      `# Metadata stores

Who holds how much of a request, asked of the router's own index and of each store, in bursts by turns within one run. A Redis with a
key for each block has keys of 32 bytes and values of 8, a bit for each worker, made and read by a client that does nothing else; ours
are asked through the port, as the router does. Every answer was checked. Memory is what servers say they use beyond what they used
empty, for each block that anybody holds; it counts a block once, however many hold it. CPU is the scheduler's: of the server's
process, or for sqlite of this one's other threads; of the client's process, all it does. Round trips are those that wait for each
other. Latencies are wall time on cores that client, server and others share.

\`\`\`text
${lines.join("\n").trim()}
\`\`\`

${where}
`
    )
  }
  return wrong === 0
}

if (values.help) console.log(help)
else process.exitCode = (await main()) ? 0 : 1
