/**
 * DataPlane.bench: CPU that a proxy spends per request and per streamed chunk, ours beside `node:http` + `undici.stream`.
 *
 * Both do the same job: read the whole JSON body, parse it, forward it, stream the answer back; ours is the data plane
 * alone, without anything that makes it a router (for that, `Router.bench.ts`). Proxy, worker and load are separate
 * processes. CPU is user + system time of the proxy process, by the kernel's accounting: it holds where wall times on a
 * shared machine do not. Runs are paired (ours, theirs, ours, theirs …) and the table shows medians.
 */
import { writeFileSync } from "node:fs"
import { connect } from "node:net"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import autocannon from "autocannon"
import * as Front from "../src/http/Front.ts"
import * as Pool from "../src/http/Pool.ts"
import * as Upstream from "../src/http/Upstream.ts"
import * as Circumstances from "./Circumstances.ts"
import { median } from "./client/Stats.ts"
import * as CannedWorker from "./proxies/CannedWorker.ts"
import * as Measured from "./proxies/Measured.ts"
import * as Rows from "./proxies/Rows.ts"

const help = `Usage: node loadtest/DataPlane.bench.ts [options]

CPU per request (2 KB and 32 KB bodies) and per streamed chunk of our data plane, beside node:http + undici.stream.

  --rounds N        paired runs per row (default 5)
  --requests N      requests per run (default 6000)
  --connections N   client connections, not streaming (default 16)
  --streams N       open streams (default 200)
  --chunks N        chunks per stream, 20 per second (default 80)
  --out FILE        also write the result as Markdown, with machine, commit and command
  --tiny            a second's worth of everything, to see that it runs
  --help            this text
`

const { values } = parseArgs({
  options: {
    worker: { type: "string" },
    rounds: { type: "string" },
    requests: { type: "string" },
    connections: { type: "string" },
    streams: { type: "string" },
    chunks: { type: "string" },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const bodyOf = (bytes: number, chunks: number): string => {
  const body = {
    model: CannedWorker.model,
    stream: chunks > 0,
    canned: { chunks },
    messages: [{ role: "user", content: "" }]
  }
  body.messages[0]!.content = "word "
    .repeat(Math.ceil(bytes / 5))
    .slice(0, Math.max(0, bytes - JSON.stringify(body).length))
  return JSON.stringify(body)
}

/** Our data plane before one worker; prints its address. */
const serve = async (worker: string): Promise<void> => {
  const pool = Pool.make()
  const origin = pool.origin(worker)
  const front = await Front.listen(
    { host: "127.0.0.1", port: 0 },
    {
      refuse: (_, refusal) => JSON.stringify({ error: { code: refusal } }),
      request: (exchange) => {
        JSON.parse(exchange.body.toString())
        Upstream.forward(pool, {
          exchange,
          origin,
          path: exchange.target,
          extraHeaders: [],
          body: exchange.body,
          onEnd: (outcome) => {
            if (outcome.kind === "failed" && !outcome.sent) exchange.reply(502, {}, outcome.reason)
          }
        })
      }
    }
  )
  console.log(`listens at http://127.0.0.1:${front.port}`)
}

interface Target {
  readonly port: number
  readonly measured: Measured.Measured
}

const start = async (program: string, ...args: ReadonlyArray<string>): Promise<Target> => {
  const measured = Measured.start(program, args)
  return { measured, port: Number((await measured.says(/listens at http:\/\/127\.0\.0\.1:(\d+)\n/))[1]) }
}

/** Opens `streams` streams and resolves when all have ended. */
const stream = async (port: number, streams: number, chunks: number): Promise<void> => {
  const body = bodyOf(2_000, chunks)
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
  const wanted = Buffer.byteLength(CannedWorker.chunk) * chunks
  await Promise.all(
    Array.from({ length: streams }, async () => {
      const socket = connect({ host: "127.0.0.1", port })
      let bytes = 0
      let last = ""
      socket.write(head + body)
      for await (const part of socket as AsyncIterable<Buffer>) {
        bytes += part.length
        last = (last + part.toString("latin1")).slice(-5)
        if (last === "0\r\n\r\n") break
      }
      if (bytes < wanted) throw new Error(`A stream ended after ${bytes} of ${wanted} bytes: the proxy dropped some.`)
    })
  )
}

const measure = async (): Promise<void> => {
  const number = (text: string | undefined, usual: number, tiny: number): number =>
    text === undefined ? (values.tiny ? tiny : usual) : Number(text)
  const rounds = number(values.rounds, 5, 1)
  const requests = number(values.requests, 6_000, 200)
  const connections = number(values.connections, 16, 4)
  const streams = number(values.streams, 200, 10)
  const chunks = number(values.chunks, 80, 5)

  const worker = await start(Measured.path("CannedWorker.ts"))
  const url = `http://127.0.0.1:${worker.port}`
  const proxies = [
    await start(fileURLToPath(import.meta.url), "--worker", url),
    await start(Measured.path("PlainProxy.ts"), "--worker", url)
  ] as const

  const requestRun =
    (bytes: number) =>
    async (port: number): Promise<number> => {
      const result = await autocannon({
        url: `http://127.0.0.1:${port}/v1/chat/completions`,
        method: "POST",
        headers: { "content-type": "application/json" },
        body: bodyOf(bytes, 0),
        connections,
        amount: requests,
        sampleInt: 100
      })
      if (result.non2xx + result.errors > 0) {
        throw new Error(
          `${result.non2xx} answers were not 2xx and ${result.errors} requests failed: no number is worth giving.`
        )
      }
      return requests
    }
  const rows: ReadonlyArray<readonly [string, (port: number) => Promise<number>]> = [
    ["2 KB body, µs/request", requestRun(2_000)],
    ["32 KB body, µs/request", requestRun(32_000)],
    ["SSE, µs/chunk", async (port) => stream(port, streams, chunks).then(() => streams * chunks)]
  ]

  const table = Rows.make(24, 22)
  table.add("CPU of the proxy", "ours", "node:http + undici", "theirs / ours")
  for (const [name, run] of rows) {
    const us: [Array<number>, Array<number>] = [[], []]
    // The first round warms up both and is not counted.
    for (let round = 0; round <= rounds; round++) {
      for (const [which, proxy] of proxies.entries()) {
        const before = await proxy.measured.cpuUs()
        const units = await run(proxy.port)
        if (round > 0) us[which]!.push(((await proxy.measured.cpuUs()) - before) / units)
      }
    }
    const cell = (numbers: ReadonlyArray<number>): string =>
      `${median(numbers).toFixed(1)} (${Math.min(...numbers).toFixed(1)}-${Math.max(...numbers).toFixed(1)})`
    const ratios = us[1].map((their, round) => their / us[0][round]!)
    table.add(name, cell(us[0]), cell(us[1]), median(ratios).toFixed(2))
  }
  await Promise.all([...proxies, worker].map(({ measured }) => measured.stop()))

  if (values.out === undefined) return
  writeFileSync(
    values.out,
    `# Data plane: CPU of the proxy process

Median (least-most) of ${rounds} paired runs: ${requests} requests over ${connections} connections; ${streams} streams of ${chunks} chunks, 20 per second each.
Both proxies read the whole body, parse it as JSON, forward it and stream the answer back. Loopback; lower is better.

\`\`\`text
${table.lines.join("\n")}
\`\`\`

${Circumstances.text()}
`
  )
}

if (values.help) console.log(help)
else if (values.worker === undefined) await measure()
else await serve(values.worker)
