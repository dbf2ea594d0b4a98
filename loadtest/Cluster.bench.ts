/**
 * Cluster.bench: what several replicas cost and take over a real nats-server, beside one router alone.
 *
 * Engines publish over ZeroMQ what `micro/IngestWorkload.ts` makes: vLLM's batches, of caches that are full. One replica,
 * the owner, reads them and writes them to NATS; the other, the follower, reads them there; a router alone reads the same
 * from the engines. Each is a process with all of a router between its sockets, its table and its ledger. Counted as
 * `npm run bench -- ingest` counts: blocks that events tell of, while caches are full; but CPU of whole processes, with
 * the threads of their sockets. Every table is compared with the caches at the end. Wall times are of a machine that is
 * shared by all processes of a run, and whoever else is on it.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Circumstances from "./Circumstances.ts"
import { generate, publishers } from "./micro/IngestWorkload.ts"
import { median } from "./micro/Measure.ts"
import * as Events from "./replicas/Events.ts"
import * as Link from "./replicas/Link.ts"
import type * as Pair from "./replicas/Pair.ts"
import * as NatsServer from "./servers/NatsServer.ts"

const help = `Usage: node loadtest/Cluster.bench.ts [options]

Two replicas over a nats-server, beside one router alone: KV events as many as they take, the time from an engine's publish
to the table, and bookings told from one replica to the other. The server is the one in PATH, or that NATS_SERVER names, or
is obtained.

  --rounds N        runs of everything; figures are their medians (default 3)
  --blocks N        blocks stored in a flood; a quarter of it where events are of one block (default 1000000)
  --seconds N       at each steady rate (default 4)
  --only WORD       parts whose name begins with it: flood, latency, link
  --cold-start      also how long a replica takes that joins: ColdStart.bench.ts over the same server
  --node-flag FLAG  also given to the replicas' processes; may be repeated
  --out FILE        also write the result as Markdown, with machine, commit and command
  --tiny            a few seconds' worth of everything, to see that it runs
  --help            this text
`

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    blocks: { type: "string" },
    seconds: { type: "string" },
    only: { type: "string", default: "" },
    "cold-start": { type: "boolean", default: false },
    "node-flag": { type: "string", multiple: true, default: [] },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const kinds = ["alone", "pair"] as const
const processes = ["alone", "owner", "follower", "nats-server"] as const
/** Batches a second, all engines together. */
const rates = [200, 2_000]
/** In prompts of the link: a short one, and 20 000 tokens. */
const promptBlocks = [16, 1_250]

const count = (flag: "rounds" | "blocks" | "seconds", usual: number, tiny: number): number => {
  const text = values[flag]
  const number = text === undefined ? (values.tiny ? tiny : usual) : Number(text)
  if (Number.isFinite(number) && number > 0) return number
  console.error(`--${flag} is "${text}"; give a number above 0`)
  process.exit(2)
}

const rounds = count("rounds", 3, 1)
const blocks = count("blocks", 1_000_000, 20_000)
const seconds = count("seconds", 4, 0.3)
const flags = values["node-flag"]
/** Blocks an event. */
const sizes = values.tiny ? [1, 32] : [1, 32, 256]
const lines: Array<string> = []
const startedMs = performance.now()

const print = (text = ""): void => {
  lines.push(text)
  console.log(text)
}
const say = (text: string): void => {
  if (!values.tiny) console.error(`${((performance.now() - startedMs) / 1_000).toFixed(0).padStart(5)} s  ${text}`)
}
const row = (name: string, ...cells: ReadonlyArray<string>): void =>
  print(`${name.padEnd(30)}${cells.map((cell) => cell.padStart(16)).join("")}`)
const digits = (value: number): string => {
  if (!Number.isFinite(value)) return "-"
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en-US").replaceAll(",", " ")
  return value >= 10 ? value.toFixed(1) : value.toPrecision(2)
}
const cell = (all: ReadonlyArray<number>): string => digits(median(all))
const wanted = (part: string): boolean => part.startsWith(values.only)

/** One of each kind a round, so that what else the machine does falls on all alike. */
const inRounds = async <A>(
  what: string,
  run: (kind: Pair.Kind) => Promise<A>
): Promise<Record<Pair.Kind, Array<A>>> => {
  const all: Record<Pair.Kind, Array<A>> = { alone: [], pair: [] }
  for (let round = 1; round <= rounds; round++) {
    for (const kind of kinds) {
      say(`${what}, ${kind === "alone" ? "one router alone" : "two replicas"}, round ${round} of ${rounds}`)
      all[kind].push(await run(kind))
    }
  }
  return all
}

const flood = async (): Promise<boolean> => {
  print(`KV events, as many as the slowest takes: ${publishers} engines, half of the blocks stored, half removed`)
  row("", "CPU us/block", "us/batch", "M blocks/s", "NATS in", "NATS out", "CPU / alone")
  row("", "", "", "a core", "B/block", "B/block", "")
  let agree = true
  for (const size of sizes) {
    const stream = generate(size === 1 ? blocks / 4 : blocks, size)
    const of = `${size} ${size === 1 ? "block" : "blocks"} an event`
    const all = await inRounds(of, (kind) => Events.flood(kind, stream, flags))
    const spent = (who: (typeof processes)[number]) =>
      all[who === "alone" ? "alone" : "pair"].map((each) => ({
        ...each,
        ...each.spent.find((one) => one.who === who)!
      }))
    const usOf = (who: (typeof processes)[number]) => spent(who).map(({ blocks, cpuUs }) => cpuUs / blocks)
    const alone = usOf("alone")
    print(`${of}, ${digits(all.alone[0]!.bytes / all.alone[0]!.blocks)} B a block from the engines`)
    for (const who of processes) {
      const us = usOf(who)
      const each = spent(who)
      const isServer = who === "nats-server"
      row(
        `  ${who}`,
        cell(us),
        cell(each.map(({ batches, cpuUs }) => cpuUs / batches)),
        cell(us.map((one) => 1 / one)),
        isServer ? "" : cell(each.map(({ blocks, inBytes }) => inBytes / blocks)),
        isServer ? "" : cell(each.map(({ blocks, outBytes }) => outBytes / blocks)),
        cell(us.map((one, i) => one / alone[i]!))
      )
    }
    const rate = (kind: Pair.Kind): string =>
      `${cell(all[kind].map(({ batches, seconds }) => batches / seconds))} batches/s, ` +
      `${cell(all[kind].map(({ blocks, seconds }) => blocks / seconds / 1e6))} M blocks/s`
    print(`  reached here: alone ${rate("alone")}; at the follower ${rate("pair")}`)
    for (const kind of kinds) {
      const gaps = all[kind].reduce((sum, { gaps }) => sum + gaps, 0)
      if (gaps > 0)
        print(
          `  Holes that were filled by replays meanwhile, ${kind === "alone" ? kind : "at both replicas"}: ${gaps}.`
        )
    }
    if (![...all.alone, ...all.pair].every((each) => each.agree)) {
      agree = false
      print("  The tables do not hold what the caches do: these figures mean nothing.")
    }
  }
  return agree
}

const latency = async (): Promise<void> => {
  const batches = Math.ceil(rates.reduce((sum, rate) => sum + rate, 0) * seconds)
  const stream = generate(32 * 2 * (batches + publishers), 32)
  const all = await inRounds("latency", (kind) => Events.latency(kind, stream, rates, seconds, flags))
  print(
    `\nFrom an engine's publish to the first lookup that finds it, ms: 32 blocks a batch, ${digits(seconds)} s each`
  )
  row("", "p50", "p99", "CPU, % a core")
  for (const [i, rate] of rates.entries()) {
    for (const who of ["alone", "owner", "follower"]) {
      const figures = all[who === "alone" ? "alone" : "pair"].map((rows) => rows[i]!.find((each) => each.who === who)!)
      row(
        `  ${who}, ${digits(rate)} batches/s`,
        cell(figures.map(({ p50 }) => p50)),
        cell(figures.map(({ p99 }) => p99)),
        cell(figures.map(({ cpuShare }) => 100 * cpuShare))
      )
    }
  }
}

const link = async (): Promise<void> => {
  const cases = promptBlocks.flatMap(
    (blocks): ReadonlyArray<Link.Case> => [
      { blocks, rate: null, requests: Math.ceil((values.tiny ? 400 : 40_000) / (1 + blocks / 200)) },
      { blocks, rate: 200, requests: Math.ceil(200 * seconds) }
    ]
  )
  const all: Array<Awaited<ReturnType<typeof Link.run>>> = []
  for (let round = 1; round <= rounds; round++) {
    say(`bookings, round ${round} of ${rounds}`)
    all.push(await Link.run(cases, flags))
  }
  print("\nBookings told to the other replica: three changes a request (booked, first token, done)")
  row("", "p50 ms", "p99 ms", "changes/s", "B/request", "CPU us/request", "CPU us/request")
  row("", "to charged", "to charged", "reached", "", "who tells", "who is told")
  for (const [i, { blocks, rate }] of cases.entries()) {
    const of = all.map((round) => round[i]!)
    const per = (pick: (told: Link.Told) => number) => cell(of.map((told) => pick(told) / told.requests))
    row(
      `  ${digits(blocks)} blocks, ${rate === null ? "flood" : `${rate} requests/s`}`,
      cell(of.map(({ p50 }) => p50)),
      cell(of.map(({ p99 }) => p99)),
      cell(of.map(({ requests, seconds }) => (3 * requests) / seconds)),
      per(({ teller }) => teller.outBytes),
      per(({ teller }) => teller.cpuUs),
      per(({ hearer }) => hearer.cpuUs)
    )
  }
}

const coldStart = async (): Promise<boolean> => {
  const server = await NatsServer.start()
  const bench = fileURLToPath(new URL("ColdStart.bench.ts", import.meta.url))
  const child = spawn(process.execPath, [bench, "--nats", server.url, ...(values.tiny ? ["--tiny"] : [])], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  print()
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  const [code] = (await once(child, "close")) as [number]
  print(said.trimEnd())
  await server.close()
  return code === 0
}

const main = async (): Promise<boolean> => {
  let agree = true
  if (wanted("flood")) agree = await flood()
  if (wanted("latency")) await latency()
  if (wanted("link")) await link()
  if (values["cold-start"]) agree = (await coldStart()) && agree
  const where = Circumstances.text()
  console.log(`\n${where}`)
  if (values.out !== undefined) {
    writeFileSync(
      values.out,
      `# Two replicas over NATS, beside one router alone

Medians of ${rounds} rounds. Blocks of 16 tokens, batches as vLLM encodes them, one scheduler step each, over ZeroMQ; nats-server on
loopback, its log in memory. The owner reads the engines and writes the log; the follower reads the log. CPU is that of the process
named, with all its threads: "a core" is what one core would take if nothing else ran on it; with N replicas each owns 1/N of the
engines and follows the rest. "Reached here" is wall time with engines, replicas and server on this machine together. NATS in and out
are bytes on the replica's socket. A flood has at most 4 MiB under way.

\`\`\`text
${lines.join("\n")}
\`\`\`

${where}
`
    )
  }
  return agree
}

if (values.help) console.log(help)
else process.exitCode = (await main()) ? 0 : 1
