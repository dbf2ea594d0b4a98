/**
 * Observe.bench: what it costs a request that the router tells of itself: receipts of all, spans of one in a hundred and
 * metrics to a collector, and receipts in a file, beside a router with all of it off.
 *
 * Both are the real command in processes of their own, before the same workers, and take the same bodies by turns; CPU is
 * user + system time of the process with all its threads. The counters behind `/metrics` cannot be turned off: both have them.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Circumstances from "./Circumstances.ts"
import { median } from "./client/Stats.ts"
import { answers, conversation } from "./proxies/Conversation.ts"
import * as Measured from "./proxies/Measured.ts"
import * as Rows from "./proxies/Rows.ts"

const help = `Usage: node loadtest/Observe.bench.ts [options]

CPU per request of a router that tells all, to one that tells nothing but /metrics.

  --rounds N      pairs of runs for each row (default 9)
  --requests N    requests a run (default 3000)
  --workers N     workers behind each router (default 4)
  --out FILE      also write the result as Markdown, with machine, commit and command
  --tiny          a few seconds' worth, to see that it runs
  --help          this text
`

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    requests: { type: "string" },
    workers: { type: "string" },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const count = (name: "rounds" | "requests" | "workers", usual: number, tiny: number): number => {
  const text = values[name]
  const given = text === undefined ? (values.tiny ? tiny : usual) : Number(text)
  if (Number.isInteger(given) && given > 0) return given
  console.error(`--${name} is "${text}"; give a whole number above 0`)
  process.exit(2)
}

/** Takes what is exported, and counts it. */
const collector = async () => {
  let bytes = 0
  const server = createServer((request, response) => {
    request.on("data", (part: Buffer) => {
      bytes += part.length
    })
    request.on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end())
  })
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bytes: () => bytes,
    close: () => {
      server.close()
      server.closeAllConnections()
    }
  }
}

/** The extra, each set alone: what it is called, and its flags. */
const settings = (url: string, folder: string): ReadonlyArray<readonly [string, ReadonlyArray<string>]> => [
  ["all off", ["--receipts-max", "0"]],
  ["receipts", []],
  ["receipts, OTLP", ["--otlp-endpoint", url]],
  ["all of it", ["--otlp-endpoint", url, "--receipts-file", join(folder, "receipts.jsonl")]]
]

const measure = async (): Promise<void> => {
  const rounds = count("rounds", 9, 1)
  const requests = count("requests", 3_000, 40)
  const workers = count("workers", 4, 2)
  const folder = mkdtempSync(join(tmpdir(), "observe-"))
  const sink = await collector()
  const worker = Measured.start(Measured.path("CannedWorker.ts"), ["--listeners", String(workers), "--delay", "0"])
  const said = await worker.says(new RegExp(`listens at ${"http://127\\.0\\.0\\.1:(\\d+)\\n.*".repeat(workers)}`))
  const given = said.slice(1).flatMap((port) => ["--worker", `http://127.0.0.1:${port}`])
  const listen = ["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0"]
  const routers = settings(sink.url, folder).map(([name, flags]) => ({
    name,
    measured: Measured.start(Measured.path("../../src/bin.ts"), [...listen, ...given, ...flags])
  }))
  const table = Rows.make(28, 24)
  try {
    const ports: Array<number> = []
    for (const { measured } of routers) {
      ports.push(Number((await measured.says(/ at http:\/\/127\.0\.0\.1:(\d+)\/v1/))[1]))
      await measured.says(/Prompts of \\?"canned\\?" are tokenised here/)
    }
    table.add("", ...routers.map(({ name }) => name))
    for (const [kilobytes, stream] of [
      [2, false],
      [2, true],
      [32, true]
    ] as const) {
      const history = conversation(kilobytes * 1_000)
      const spent = routers.map((): Array<number> => [])
      for (let round = -1; round < rounds; round++) {
        for (let turn = 0; turn < routers.length; turn++) {
          // Each is the first as often as the others.
          const i = (turn + round + 1) % routers.length
          const { measured } = routers[i]!
          const before = await measured.cpuUs()
          await answers(ports[i]!, history, stream, requests, 16)
          if (round >= 0) spent[i]!.push(((await measured.cpuUs()) - before) / requests)
        }
      }
      table.add(
        `${kilobytes} KB, ${stream ? "streamed" : "whole"}, us/request`,
        ...spent.map((us) => median(us).toFixed(1))
      )
      const ratios = spent.map((us) => us.map((each, at) => each / spent[0]![at]!))
      table.add(
        "  to all off",
        ...ratios.map((of) => `${median(of).toFixed(3)} (${Math.min(...of).toFixed(2)}-${Math.max(...of).toFixed(2)})`)
      )
    }
    console.log(`The collector was sent ${Math.round(sink.bytes() / 1_024)} KiB.`)
  } finally {
    await Promise.all([worker, ...routers.map(({ measured }) => measured)].map((each) => each.stop()))
    sink.close()
    rmSync(folder, { recursive: true, force: true })
  }

  const where = Circumstances.text()
  console.log(`\n${where}`)
  if (values.out === undefined) return
  writeFileSync(
    values.out,
    `# What it costs that the router tells of itself

CPU of the router's process with all its threads: median of ${rounds} runs of ${requests} requests, over 16 connections and ${workers} workers; and, paired run by
run, to the router with all of it off (least-most). "All off" has no receipts and no collector; the counters behind /metrics are in all. OTLP: metrics every 15 s, spans
of one trace in a hundred, over http/protobuf. The file gets every receipt.

\`\`\`text
${table.lines.join("\n")}
\`\`\`

${where}
`
  )
}

if (values.help) console.log(help)
else await measure()
