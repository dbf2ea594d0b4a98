/**
 * Restart.bench: how much of what engines' caches hold a router still finds that was killed and started again, with what it
 * had written to its store, and without one.
 *
 * Simulated engines hold the beginnings of many long sessions, and repeat only their last events to who comes anew; the
 * router is a process of its own. Hit rate: prompt tokens that engines say they had cached, of all that were sent. Wall time.
 */
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import * as Circumstances from "./Circumstances.ts"
import * as Processes from "./restart/Processes.ts"
import * as Restarts from "./restart/Restarts.ts"
import * as Sessions from "./restart/Sessions.ts"
import * as Stores from "./restart/Stores.ts"

const help = `Usage: node loadtest/Restart.bench.ts [options]

A router is killed and started again, with each store and without one: hit rate before, for each ${Restarts.windowMs} ms since it is ready,
and how long until it is ${100 * Restarts.goalShare} % of what it was before. A redis-server is the one in PATH, or that REDIS_SERVER names, or is obtained.

  --store LIST   with commas (default ${Object.keys(Stores.kinds).join(",")})
  --blocks N     blocks that the engines hold together (default 1000000)
  --engines N    simulated engines (default 8)
  --rate N       requests a second (default 40)
  --seconds N    measured after the restart (default 8)
  --out FILE     also write the result as Markdown, with machine, commit and command
  --tiny         a few seconds' worth, to see that it runs
  --help         this text
`

const { values } = parseArgs({
  options: {
    store: { type: "string", default: Object.keys(Stores.kinds).join() },
    blocks: { type: "string" },
    engines: { type: "string" },
    rate: { type: "string" },
    seconds: { type: "string" },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const number = (flag: "blocks" | "engines" | "rate" | "seconds", usual: number, tiny: number): number => {
  const text = values[flag]
  const given = text === undefined ? (values.tiny ? tiny : usual) : Number(text)
  if (Number.isInteger(given) && given > 0) return given
  console.error(`--${flag} is "${text}"; give a whole number above 0`)
  process.exit(2)
}

const isKind = (kind: string): kind is Stores.Kind => Object.hasOwn(Stores.kinds, kind)
const unknown = values.store.split(",").find((kind) => !isKind(kind))
if (unknown !== undefined) {
  console.error(`--store has "${unknown}"; there are ${Object.keys(Stores.kinds).join(", ")}`)
  process.exit(2)
}
const kinds = values.store.split(",").filter(isKind)
const engines = number("engines", 8, 3)
const sessionCount = Math.ceil(number("blocks", 1_000_000, 20_000) / Sessions.sessionBlocks)
const options = {
  perSecond: number("rate", 40, 40),
  beforeMs: values.tiny ? 900 : 4_000,
  afterMs: number("seconds", 8, 2) * 1_000
}
/** Blocks of an engine beside the sessions it is filled with: for what is new in requests. */
const slackShare = 0.15
/** Once filled engines are a tenth as quick: a fifth of what they are said to be, whereby a prompt is some 80 ms of work, ten times what a busy machine is late by. */
const slowness = 40

const lines: Array<string> = []
const print = (text = ""): void => {
  lines.push(text)
  console.log(text)
}
const startedMs = performance.now()
let saidMs = 0
/** What is under way, every few seconds. */
const say = (text: string): void => {
  if (values.tiny || performance.now() - saidMs < 2_000) return
  saidMs = performance.now()
  console.error(`${((saidMs - startedMs) / 1_000).toFixed(0).padStart(5)} s  ${text}`)
}

const percent = (rate: number | null): string => (rate === null ? "-" : (100 * rate).toFixed(1))
const seconds = (ms: number | null): string => (ms === null ? "never" : `${(ms / 1_000).toFixed(2)} s`)
const column = (text: string, width = 10): string => text.padStart(width)
/** Ends of the windows that the table has. */
const shownMs = [250, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 8_000]

const header = (): void => {
  const at = shownMs.filter((ms) => ms <= options.afterMs)
  print(
    `${"store".padEnd(8)}${["ready", "before", "back in", "starved", "p99 before", "p99 after"].map((text) => column(text, 11)).join("")}   ${at.map((ms) => column(`${ms / 1_000} s`, 7)).join("")}`
  )
}
const row = (name: string, restarted: Restarts.Restarted): void => {
  const { afterMsP99, backMs, before, beforeMsP99, failed, firstFailure, readyMs, starvedMs, windows } = restarted
  const starved = starvedMs === null ? "-" : seconds(starvedMs)
  const cells = [seconds(readyMs), percent(before), seconds(backMs), starved, `${beforeMsP99.toFixed(0)} ms`]
  const at = shownMs.filter((ms) => ms <= options.afterMs)
  const rates = at.map((ms) => column(percent(windows[ms / Restarts.windowMs - 1] ?? null), 7))
  print(
    `${name.padEnd(8)}${[...cells, `${afterMsP99.toFixed(0)} ms`].map((text) => column(text, 11)).join("")}   ${rates.join("")}`
  )
  if (failed > 0) print(`  ${failed} requests failed, the first: ${firstFailure}`)
}

/** With a store, then from the same caches without. */
const measure = async (kind: Stores.Kind, store: Stores.Store, sessions: Sessions.Sessions): Promise<void> => {
  const blocks = sessionCount * Sessions.sessionBlocks
  const fleet = await Processes.startFleet(engines, Math.ceil((blocks * (1 + slackShare)) / engines) + 2_000)
  try {
    const router = await Processes.startRouter(fleet.urls, store.address)
    await sessions.fill(fleet.urls, (done) => say(`${kind}: ${done} of ${sessionCount} sessions computed`))
    await Restarts.known(router, blocks, store, (text) => say(`${kind}: ${text}`))
    await fleet.slow(slowness)
    const all = { ...options, say: (text: string) => say(`${kind}: ${text}`) }
    const first = await Restarts.restart(fleet, sessions, router, store, all)
    row(kind, first.restarted)
    const second = await Restarts.restart(fleet, sessions, first.router, Stores.none, all)
    row("none", second.restarted)
    await second.router.kill()
  } finally {
    await fleet.close()
    await store.close()
  }
}

const main = async (): Promise<void> => {
  const sessions = Sessions.make(sessionCount, 1)
  print(
    `${(sessionCount * Sessions.sessionBlocks).toLocaleString("en-US").replaceAll(",", " ")} blocks in ${sessionCount} sessions on ${engines} engines, ${options.perSecond} requests a second; hit rates in %`
  )
  header()
  for (const kind of kinds) {
    const store = await Stores.kinds[kind]().catch((cause: unknown) => print(`Without ${kind}: ${String(cause)}`))
    if (store !== undefined) await measure(kind, store, sessions)
  }
  await sessions.close()
  const where = Circumstances.text()
  console.log(`\n${where}`)
  if (values.out === undefined) return
  writeFileSync(
    values.out,
    `# A router is killed and started again

Engines hold so many blocks and repeat only their last 20 batches to a router that comes. "Ready": from the start of its process.
"Back in": end of the first ${Restarts.windowMs} ms since then that begin a second of which requests hit ${100 * Restarts.goalShare} % of what
they did before. "Starved": how long of that the router's event loop waited for a core that others had, or in all that was measured. p99: of whole requests, before, and sent in the first two seconds after. Then hit rates of the ${Restarts.windowMs} ms that end
so long after it was ready. "None": the same again without a store, on the same engines.

\`\`\`text
${lines.join("\n").trim()}
\`\`\`

${where}
`
  )
}

if (values.help) console.log(help)
else await main()
