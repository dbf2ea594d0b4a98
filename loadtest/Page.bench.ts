/**
 * Page.bench: what the page costs: how soon it is there, what it takes of a browser, and of the router that it follows.
 *
 * The router is the real command in its own process, before workers that answer at once; the browser a real Chromium. "Load": the
 * load event, "rows": the first worker is in the table; from the begin of the navigation, cold cache, wall time, medians. CPU shares
 * are of one core while requests are sent and every worker changes all the time: the router's with a page open less without,
 * and that of the page's main thread by Chromium's own accounting.
 */
import { writeFileSync } from "node:fs"
import { Agent, request } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import type { Browser } from "playwright-core"
import * as Circumstances from "./Circumstances.ts"
import { percentile } from "./client/Stats.ts"
import * as Measured from "./proxies/Measured.ts"
import * as Chromium from "./servers/Chromium.ts"

const help = `Usage: node loadtest/Page.bench.ts [options]

How soon the page of a router is there, and what it costs while it is open, with small and large fleets.
The page must be built: npm run build:page.

  --workers LIST    sizes of fleets (default 64,1000)
  --loads N         times the page is loaded (default 9)
  --seconds N       each of the times that CPU is taken over (default 10)
  --rate N          requests per second (default 100)
  --out FILE        also write the result as Markdown, with machine, commit and command
  --tiny            a few seconds' worth of everything, to see that it runs
  --help            this text
`

const { values } = parseArgs({
  options: {
    workers: { type: "string" },
    loads: { type: "string" },
    seconds: { type: "string" },
    rate: { type: "string" },
    out: { type: "string" },
    tiny: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
const sizes = (values.workers ?? (values.tiny ? "8" : "64,1000")).split(",").map(Number)
const loads = Number(values.loads ?? (values.tiny ? 1 : 9))
const overMs = 1_000 * Number(values.seconds ?? (values.tiny ? 1 : 10))
const perSecond = Number(values.rate ?? 100)

const lines: Array<string> = []
const print = (text: string): void => {
  lines.push(text)
  console.log(text)
}

const agent = new Agent({ keepAlive: true })
const ask = (port: number, n: number): void => {
  const body = JSON.stringify({ model: "canned", stream: true, messages: [{ role: "user", content: `Question ${n}` }] })
  const headers = { "content-type": "application/json" }
  const sent = request({ agent, host: "127.0.0.1", port, method: "POST", path: "/v1/chat/completions", headers })
  sent.on("response", (response) => response.resume())
  sent.on("error", () => undefined)
  sent.end(body)
}

/** One load in a browser without a cache. */
const load = async (browser: Browser, url: string) => {
  const page = await browser.newPage({ viewport: { width: 1_440, height: 1_000 } })
  await page.addInitScript(`new MutationObserver((_, watch) => {
    if (document.querySelector("tr[data-index]") === null) return
    window.rowsMs = performance.now()
    watch.disconnect()
  }).observe(document, { childList: true, subtree: true })`)
  await page.goto(url)
  await page.locator("tr[data-index]").first().waitFor()
  const [loadMs, rowsMs, bytes, elements] = await page.evaluate<[number, number, number, number]>(`[
    performance.getEntriesByType("navigation")[0].loadEventEnd,
    window.rowsMs,
    [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, { transferSize }) => sum + transferSize, 0),
    document.querySelectorAll("*").length
  ]`)
  return { page, loadMs, rowsMs, bytes, elements }
}

const measure = async (browser: Browser, workers: number): Promise<void> => {
  const canned = Measured.start(Measured.path("CannedWorker.ts"), ["--listeners", String(workers), "--delay", "20"])
  const listening = await canned.says(new RegExp(`(?:listens at \\S+\\n){${workers}}`))
  const urls = listening[0].match(/http\S+/g)!
  const router = Measured.start(Measured.path("../../src/bin.ts"), [
    ...["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0"],
    ...["--log-format", "pretty", "--store", "none"],
    ...urls.flatMap((url) => ["--worker", url])
  ])
  const [, port, admin] = await router.says(/ at http:\/\/127\.0\.0\.1:(\d+)\/v1 · admin at (http:\/\/[^/\s]+)/)
  while (!(await (await fetch(`http://127.0.0.1:${port}/ready`)).text()).includes(`"able":${workers}`)) await sleep(100)
  let asked = 0
  const timer = setInterval(() => ask(Number(port), asked++), 1_000 / perSecond)
  const share = async (): Promise<number> => {
    const fromUs = await router.cpuUs()
    await sleep(overMs)
    return ((await router.cpuUs()) - fromUs) / 1_000 / overMs
  }
  await sleep(1_000)
  const seen: Array<Awaited<ReturnType<typeof load>>> = []
  for (let i = 0; i < loads; i++) {
    const one = await load(browser, admin!)
    seen.push(one)
    if (i < loads - 1) await one.page.close()
  }
  const { page } = seen.at(-1)!
  const inside = await page.context().newCDPSession(page)
  await inside.send("Performance.enable")
  const busyS = async () =>
    (await inside.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration")!.value
  const fromS = await busyS()
  const watched = await share()
  const busy = ((await busyS()) - fromS) / (overMs / 1_000)
  await page.close()
  // Last, when all that is compiled as it runs has been.
  const alone = await share()
  clearInterval(timer)
  const median = (of: (one: (typeof seen)[number]) => number) => percentile(seen.map(of), 0.5)!
  const column = (text: string) => text.padStart(15)
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`
  print(
    `${String(workers).padStart(7)}${[
      `${median(({ loadMs }) => loadMs).toFixed(0)} ms`,
      `${median(({ rowsMs }) => rowsMs).toFixed(0)} ms`,
      `${(median(({ bytes }) => bytes) / 1_024).toFixed(0)} KB`,
      String(median(({ elements }) => elements)),
      percent(busy),
      percent(alone),
      percent(watched)
    ]
      .map(column)
      .join("")}`
  )
  await router.stop()
  await canned.stop()
}

const main = async (): Promise<void> => {
  const browser = await Chromium.launch()
  print(
    `workers${["load", "rows", "transferred", "elements", "main thread", "router, unseen", "router, seen"].map((text) => text.padStart(15)).join("")}`
  )
  for (const workers of sizes) await measure(browser, workers)
  await browser.close()
  const where = Circumstances.text()
  console.log(`\n${where}`)
  if (values.out === undefined) return
  const text = `# The page: how soon it is there, and what it costs\n\n${perSecond} requests a second. Wall time where in ms; CPU as a share of one core.\n\n\`\`\`text\n${lines.join("\n")}\n\`\`\`\n\n${where}\n`
  writeFileSync(values.out, text)
}

if (values.help) console.log(help)
else await main()
