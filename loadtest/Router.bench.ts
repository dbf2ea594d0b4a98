/**
 * Router.bench: what the whole router costs on the path of a request, beside no proxy and beside a plain one.
 *
 * The router is the real command in its own process: it discovers its workers, tokenises every prompt, hashes and matches
 * it, places, books, forwards, reads the usage and settles. Bodies are conversations whose last question is new each time.
 * The plain proxy parses the body and takes workers in turn. CPU is user + system time of the proxy process by the
 * kernel's accounting, which holds where wall times on a shared machine do not. Runs are paired; the table shows medians.
 */
import { writeFileSync } from "node:fs"
import { Agent, request } from "node:http"
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import * as Circumstances from "./Circumstances.ts"
import { median, percentile } from "./client/Stats.ts"
import * as CannedWorker from "./proxies/CannedWorker.ts"
import { answers, body, conversation } from "./proxies/Conversation.ts"
import * as Measured from "./proxies/Measured.ts"
import * as Rows from "./proxies/Rows.ts"

const help = `Usage: node loadtest/Router.bench.ts [options]

CPU per request and per streamed chunk, added latency, and memory per idle stream of the whole router, beside the worker
alone and a plain node:http + undici proxy.

  --rounds N        paired runs per row (default 5)
  --requests N      requests per run of the 2 KB rows; larger bodies get fewer (default 4000)
  --connections N   client connections, not streaming (default 16)
  --streams N       open streams (default 200)
  --chunks N        chunks per stream, 20 per second (default 80)
  --idle N          idle streams for the memory row (default 2000)
  --rate N          requests per second of the latency rows (default 100)
  --delay MS        time the workers take to answer (default 0)
  --only WORD       rows whose name contains it
  --node-flag FLAG  also given to the router's process; may be repeated
  --out FILE        also write the result as Markdown, with machine, commit and command
  --tiny            a few seconds' worth of everything, to see that it runs
  --help            this text
`

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    requests: { type: "string" },
    connections: { type: "string" },
    streams: { type: "string" },
    chunks: { type: "string" },
    idle: { type: "string" },
    rate: { type: "string" },
    delay: { type: "string" },
    only: { type: "string" },
    "node-flag": { type: "string", multiple: true, default: [] },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

interface Target {
  readonly name: string
  readonly port: number
  readonly measured: Measured.Measured
}

const post = (text: string): string =>
  `POST /v1/chat/completions HTTP/1.1\r\nhost: router\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`

/** Opens a stream; `until` is told its bytes as they grow. */
const openStream = (port: number, text: string, until: (payload: string) => boolean): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port })
    let got = ""
    socket.on("error", reject)
    socket.on("close", () => reject(new Error(`A stream ended after ${got.length} bytes: ${got.slice(0, 300)}`)))
    socket.on("data", (bytes: Buffer) => {
      got += bytes.toString("latin1")
      if (until(got)) resolve(socket)
    })
    socket.write(post(text))
  })

const payloadOf = (answer: string): string => {
  let text = ""
  for (let at = answer.indexOf("\r\n\r\n") + 4; ; ) {
    const eol = answer.indexOf("\r\n", at)
    const length = Number.parseInt(answer.slice(at, eol), 16)
    if (!(length > 0)) return text
    text += answer.slice(eol + 2, eol + 2 + length)
    at = eol + 4 + length
  }
}

/** Streams of `chunks` tokens, each checked. Resolves with the number of tokens. */
const streams = async (port: number, history: string, count: number, chunks: number): Promise<number> => {
  const wanted = CannedWorker.streamed(chunks)
  await Promise.all(
    Array.from({ length: count }, async () => {
      let answer = ""
      const socket = await openStream(port, body(history, true, `{"chunks":${chunks}}`), (got) => {
        answer = got
        return got.endsWith("\r\n0\r\n\r\n")
      })
      socket.destroy()
      if (payloadOf(answer) !== wanted)
        throw new Error(`A stream came otherwise than it was sent:\n${answer.slice(0, 600)}`)
    })
  )
  return count * chunks
}

/** Times of single requests sent at a steady rate, whether or not earlier ones have been answered. */
const latencies = async (
  port: number,
  history: string,
  count: number,
  rate: number
): Promise<ReadonlyArray<number>> => {
  const agent = new Agent({ keepAlive: true })
  const startMs = performance.now()
  const times = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      await sleep(Math.max(0, startMs + (i * 1_000) / rate - performance.now()))
      const text = body(history, false)
      const sentMs = performance.now()
      return new Promise<number>((resolve, reject) => {
        const asks = request(
          {
            agent,
            port,
            host: "127.0.0.1",
            method: "POST",
            path: "/v1/chat/completions",
            headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) }
          },
          (response) => {
            response.resume()
            response.on("end", () =>
              response.statusCode === 200
                ? resolve(performance.now() - sentMs)
                : reject(new Error(`answered ${response.statusCode}`))
            )
          }
        )
        asks.on("error", reject)
        asks.end(text)
      })
    })
  )
  agent.destroy()
  return times
}

/** A table that doubles falls into one step, and so not into their median. */
const idleSteps = 5

/** Resident bytes that each of `count` silent streams costs. */
const idleBytes = async ({ measured, port }: Target, history: string, count: number): Promise<number> => {
  const sockets: Array<Socket> = []
  const open = async (more: number): Promise<void> => {
    for (let i = 0; i < more; i += 50) {
      const batch = Array.from({ length: Math.min(50, more - i) }, () =>
        openStream(port, body(history, true, '{"hold":1}'), (got) => got.includes("assistant"))
      )
      sockets.push(...(await Promise.all(batch)))
    }
  }
  const steps: Array<number> = []
  for (let before = await measured.residentBytes(), step = 0; step <= idleSteps; step++) {
    await open(Math.ceil(count / idleSteps))
    const after = await measured.residentBytes()
    // What the first streams make the process grow by is its own.
    if (step > 0) steps.push((after - before) / Math.ceil(count / idleSteps))
    before = after
  }
  for (const socket of sockets) socket.removeAllListeners("close").destroy()
  await sleep(300)
  return median(steps)
}

const start = async (): Promise<ReadonlyArray<Target>> => {
  const listening = /listens at http:\/\/127\.0\.0\.1:(\d+)\n.*:(\d+)\n/
  const worker = Measured.start(Measured.path("CannedWorker.ts"), ["--listeners", "2", "--delay", values.delay ?? "0"])
  const ports = (await worker.says(listening)).slice(1).map(Number)
  const given = ports.flatMap((port) => ["--worker", `http://127.0.0.1:${port}`])
  const plain = Measured.start(Measured.path("PlainProxy.ts"), given)
  const router = Measured.start(
    Measured.path("../../src/bin.ts"),
    ["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--log-format", "pretty", ...given],
    values["node-flag"]
  )
  const plainPort = Number((await plain.says(/:(\d+)\n/))[1])
  const routerPort = Number((await router.says(/ at http:\/\/127\.0\.0\.1:(\d+)\/v1/))[1])
  // The model's tokenizer is loaded once a worker has named it.
  await router.says(/Prompts of \\?"canned\\?" are tokenised here/)
  return [
    { name: "router", port: routerPort, measured: router },
    { name: "plain proxy", port: plainPort, measured: plain },
    { name: "worker alone", port: ports[0]!, measured: worker }
  ]
}

const measure = async (): Promise<void> => {
  const number = (text: string | undefined, usual: number, tiny: number): number =>
    text === undefined ? (values.tiny ? tiny : usual) : Number(text)
  const rounds = number(values.rounds, 5, 1)
  const requests = number(values.requests, 4_000, 40)
  const connections = number(values.connections, 16, 4)
  const streamCount = number(values.streams, 200, 5)
  const chunks = number(values.chunks, 80, 5)
  const idle = number(values.idle, 2_000, 20)
  const rate = number(values.rate, 100, 50)
  const targets = await start()

  const table = Rows.make(40, 24)
  /** A row: `run` gives each target's figures of one round; rounds that warm up are not counted. */
  const row = async (
    names: ReadonlyArray<string>,
    run: (target: Target) => Promise<ReadonlyArray<number>>,
    counted: ReadonlyArray<Target>,
    times = { rounds, warmUps: 1 }
  ): Promise<void> => {
    if (values.only !== undefined && !names.some((name) => name.includes(values.only!))) return
    const figures = counted.map(() => names.map((): Array<number> => []))
    for (let round = -times.warmUps; round < times.rounds; round++) {
      for (const [which, target] of counted.entries()) {
        const got = await run(target)
        if (round >= 0) for (const [i, figure] of got.entries()) figures[which]![i]!.push(figure)
      }
    }
    for (const [i, name] of names.entries()) {
      const cells = figures.map((each) => {
        const of = each[i]!
        const digits = median(of) < 10 ? 2 : 1
        return `${median(of).toFixed(digits)} (${Math.min(...of).toFixed(digits)}-${Math.max(...of).toFixed(digits)})`
      })
      while (cells.length < 3) cells.push("")
      table.add(name, ...cells, median(figures[1]![i]!.map((plain, at) => plain / figures[0]![i]![at]!)).toFixed(2))
    }
  }
  const cpu =
    (work: (port: number) => Promise<number>) =>
    async ({ measured, port }: Target): Promise<ReadonlyArray<number>> => {
      const before = await measured.cpuUs()
      const units = await work(port)
      return [((await measured.cpuUs()) - before) / units]
    }

  table.add("", ...targets.map(({ name }) => name), "plain / router")
  const short = conversation(2_000)
  // First, and once: later a process has room left over from what it did before.
  await row(
    ["memory, KB/idle stream"],
    async (target) => [(await idleBytes(target, short, idle)) / 1_000],
    targets.slice(0, 2),
    { rounds: 1, warmUps: 0 }
  )
  for (const [kilobytes, share] of [
    [2, 1],
    [32, 0.75],
    [256, 0.15]
  ] as const) {
    const history = conversation(kilobytes * 1_000)
    const amount = Math.ceil(requests * share)
    for (const stream of [false, true]) {
      await row(
        [`CPU, ${kilobytes} KB body, ${stream ? "streamed" : "whole"}, us/request`],
        cpu((port) => answers(port, history, stream, amount, connections)),
        targets
      )
    }
  }
  await row(
    ["CPU, SSE, us/chunk"],
    cpu((port) => streams(port, short, streamCount, chunks)),
    targets
  )
  await row(
    ["latency p50, 2 KB, ms", "latency p99, 2 KB, ms"],
    async ({ port }) => {
      const times = await latencies(port, short, rate * (values.tiny ? 1 : 4), rate)
      return [percentile(times, 0.5)!, percentile(times, 0.99)!]
    },
    targets
  )
  await Promise.all(targets.map(({ measured }) => measured.stop()))

  const where = Circumstances.text()
  console.log(`\n${where}`)
  if (values.out === undefined) return
  writeFileSync(
    values.out,
    `# The whole router on its data path

Median (least-most) of ${rounds} paired runs. 2 KB rows: ${requests} requests over ${connections} connections, each prompt a known conversation
with a new question (32 KB: 3/4, 256 KB: 3/20 as many); "streamed" answers come at once as ${chunksText}. SSE row: ${streamCount} streams of
${chunks} chunks, 20 per second each. Latency: ${rate} requests per second, open loop, workers answer after ${values.delay ?? 0} ms. Memory: resident, after a
garbage collection, per idle stream, the median of ${idleSteps} steps. CPU is that of the process named in the column, with all its threads.

The router discovers, tokenises (the tokenizer's files are here), hashes, matches, places, books, forwards, reads usage and
settles. Its workers publish no KV events, so it also stores each prompt's blocks itself. The plain proxy is \`node:http\` +
\`JSON.parse\` + workers in turn + \`undici.stream\`. Loopback; lower is better.

\`\`\`text
${table.lines.join("\n")}
\`\`\`

${where}
`
  )
}

const chunksText = `${CannedWorker.chunksAtOnce + 2} events`

if (values.help) console.log(help)
else await measure()
