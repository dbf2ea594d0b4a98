import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as Prometheus from "../loadtest/servers/Prometheus.ts"
import * as Chats from "./support/Chats.ts"
import * as Dashboard from "./support/Dashboard.ts"
import * as TestRouter from "./support/TestRouter.ts"

const folder = fileURLToPath(new URL("../src/telemetry/prometheus", import.meta.url))

describe("what is shipped for Prometheus", () => {
  it("is valid to promtool: the rules, and the configuration that loads them", async () => {
    expect(await Prometheus.promtool(folder, ["check", "rules", "rules.yml"])).toMatch(/SUCCESS: \d+ rules found/)
    expect(await Prometheus.promtool(folder, ["check", "config", "prometheus.yml"])).toContain("SUCCESS")
  })

  it("alerts when it should, and not before: its own tests", async () => {
    expect(await Prometheus.promtool(folder, ["test", "rules", "rules.test.yml"])).toContain("SUCCESS")
  })
})

/** The rules as they are shipped, but for how long a thing must last. */
const hasty = (rules: string): string => rules.replaceAll(/^( +for:) \S+$/gm, "$1 500ms")

const config = (target: string): string => `
global: { scrape_interval: 200ms, evaluation_interval: 200ms }
rule_files: [rules.yml]
scrape_configs:
  - job_name: warmpath
    static_configs: [{ targets: ["${target}"] }]
`

describe("a real prometheus", () => {
  let fleet: SimFleet.SimFleet
  let router: TestRouter.TestRouter
  let prometheus: Prometheus.Prometheus

  beforeAll(async () => {
    fleet = await SimFleet.start({ engines: 2, speed: 40, faults: { replay: "absent" } })
    // Ten seconds of silence in one.
    const patient = { probeTimeoutMs: 60_000, discoverTimeoutMs: 60_000, connectTimeoutMs: 60_000 }
    router = await TestRouter.start({ workers: fleet.urls.join(","), ...patient }, TestRouter.fastClock(10))
    const rules = readFileSync(`${folder}/rules.yml`, "utf8")
    prometheus = await Prometheus.start(config(new URL(router.adminUrl).host), hasty(rules))
  })
  afterAll(async () => {
    await prometheus?.close()
    await router?.close()
    await fleet?.close()
  })

  const stream = async (content: string): Promise<void> => {
    const body = { model: Chats.model, max_tokens: 8, stream: true, messages: [{ role: "user", content }] }
    const response = await fetch(`${router.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) })
    expect(await response.text()).toContain("[DONE]")
  }
  let turn = 0
  /** Each time something that was never said, after something that was. */
  const talk = async (): Promise<void> => {
    turn++
    const told = `Story ${turn % 4} is a long one, and it was told before. `.repeat(12)
    await Promise.all([
      stream(`${told} ${turn}`),
      stream(`${turn} is new. ${"It is heard for the first time. ".repeat(12)}`)
    ])
  }
  /** Talks on until it holds. */
  const until = async (holds: () => Promise<boolean>): Promise<void> => {
    await expect
      .poll(
        async () => {
          await talk()
          return holds()
        },
        { timeout: 30_000, interval: 50 }
      )
      .toBe(true)
  }
  const firing = async (name: string) =>
    (await prometheus.alerts()).find(({ labels, state }) => labels["alertname"] === name && state === "firing")

  it("reads the router's metrics, and answers every question of the dashboard", async () => {
    // Enough for a rate, also of what began with the first request.
    for (let i = 0; i < 6; i++) await talk()
    await until(async () => (await prometheus.query("rate(warmpath_worker_requests_total[5s])")).length >= 2)
    for (let i = 0; i < 6; i++) await talk()
    const text = await (await fetch(`${router.adminUrl}/metrics`)).text()
    expect(await Prometheus.promtool(folder, ["check", "metrics"], text)).toBe("")
    const silent: Array<string> = []
    for (const { expr, title } of Dashboard.questions()) {
      const asked = expr.replaceAll("$instance", ".*").replaceAll("$__rate_interval", "10s")
      if ((await prometheus.query(asked)).length === 0) silent.push(title)
    }
    // There is neither a store nor NATS here, nothing has failed, and every cache is known exactly.
    const absent = /^(Connected|Store: .*|Log of .*|Errors by worker|Failing|Trust that is not exact)$/
    expect([...new Set(silent)].filter((title) => !absent.test(title))).toEqual([])
    const [ttft] = await prometheus.query("sum(gen_ai_server_time_to_first_token_seconds_count)")
    const [done] = await prometheus.query('sum(warmpath_requests_total{outcome="ok"})')
    expect(ttft!.value).toBe(done!.value)
    // One machine, one clock.
    const [batches] = await prometheus.query("sum(warmpath_kv_event_lag_seconds_count)")
    const [soon] = await prometheus.query('sum(warmpath_kv_event_lag_seconds_bucket{le="10"})')
    expect(batches!.value).toBeGreaterThan(10)
    expect(soon!.value).toBe(batches!.value)
    // What of it is the machine's, which may be busy, is none of ours.
    const alarmed = (await prometheus.alerts()).map(({ labels }) => labels["alertname"]!)
    expect(alarmed.filter((name) => !/EventLoopBlocked|SlowFirstToken/.test(name))).toEqual([])
  })

  it("is alarmed when an engine's events are cut, says whose, and is calm when they are back", async () => {
    const [quiet, other] = fleet.engines.map(({ url }) => TestRouter.idOf(url)) as [string, string]
    fleet.engines[0]!.setFaults({ silent: true })
    await until(async () => (await firing("WarmpathEventsLost")) !== undefined)
    const alerts = (await prometheus.alerts()).filter(({ labels }) => labels["alertname"] === "WarmpathEventsLost")
    expect(alerts.map(({ labels }) => labels["worker"])).toEqual([quiet])
    expect(alerts[0]!.annotations["summary"]).toContain(`KV events of worker ${quiet} (rank 0) do not reach`)
    expect(alerts[0]!.annotations["todo"]).toContain("GET /admin/workers/ID")
    const [whole] = await prometheus.query(`warmpath_worker_kv_events_whole{worker="${other}"}`)
    expect(whole!.value).toBe(1)
    fleet.engines[0]!.setFaults({ silent: false })
    await until(async () => (await firing("WarmpathEventsLost")) === undefined)
  })
})
