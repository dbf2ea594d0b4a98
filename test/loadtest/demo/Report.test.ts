import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import picocolors from "picocolors"
import type { Result } from "../../../loadtest/client/Driver.ts"
import * as LiveTable from "../../../loadtest/demo/LiveTable.ts"
import * as NextSteps from "../../../loadtest/demo/NextSteps.ts"
import * as Report from "../../../loadtest/demo/Report.ts"
import type { Label } from "../../../loadtest/workloads/Workload.ts"

const plain = picocolors.createColors(false)

const result = (label: Label, promptTokens: number, cachedTokens: number, ttftMs: number): Result => ({
  ok: true,
  status: 200,
  error: null,
  worker: null,
  text: "",
  ttftMs,
  itlMs: 10,
  totalMs: ttftMs + 10,
  usage: { promptTokens, cachedTokens, completionTokens: 2 },
  label,
  session: "s",
  turn: 0
})

const refused: Result = {
  ...result("chat", 0, 0, 0),
  ok: false,
  error: "HTTP 503: no worker",
  ttftMs: null,
  usage: null
}

const summary = (policy: string, results: ReadonlyArray<Result>, planned = results.length) =>
  Report.summarise({
    policy,
    seconds: 1,
    planned,
    results,
    workers: [
      { worker: "1", requests: 3, promptTokens: 300, cachedTokens: 200 },
      { worker: "2", requests: 1, promptTokens: 100, cachedTokens: 0 }
    ]
  })

/** Cells of the row that begins with `name`. */
const row = (table: string, name: string) => {
  const found = table.split("\n").find((text) => text.includes(`│ ${name} `))
  assert(found !== undefined, `no row "${name}" in\n${table}`)
  return found.split("│").map((cell) => cell.trim())
}

describe("Report.summarise", () => {
  const results = [
    result("agent", 1_000, 900, 10),
    result("agent", 3_000, 1_100, 30),
    result("rag", 500, 0, 20),
    refused
  ]

  it("divides sums of tokens, not means of rates", () => {
    const { all, byLabel } = summary("eta", results)
    assert.strictEqual(byLabel.agent.hitRate, 2_000 / 4_000)
    assert.strictEqual(byLabel.rag.hitRate, 0)
    assert.isNull(byLabel.chat.hitRate)
    assert.strictEqual(all.hitRate, 2_000 / 4_500)
  })
  it("leaves requests without a first token out of TTFT", () => {
    assert.deepStrictEqual(summary("eta", results).all.ttftMs, { p50: 20, p90: 30, p99: 30 })
  })
  it("counts what was refused and what was never sent as failed, and says why", () => {
    const { errors, failed, succeeded } = summary("eta", results, 6)
    assert.deepStrictEqual({ failed, succeeded }, { failed: 3, succeeded: 3 })
    assert.deepStrictEqual(errors, ["1 × HTTP 503: no worker"])
  })
  it("measures spread by requests and by tokens that had to be computed", () => {
    assert.deepStrictEqual(summary("eta", results).spread, { requests: 1.5, prefillTokens: 1 })
  })
})

describe("Report.comparison", () => {
  const ours = summary("eta", [result("agent", 1_000, 800, 50), result("rag", 1_000, 500, 100)])
  const theirs = summary("round-robin", [result("agent", 1_000, 200, 200), refused])
  const table = Report.comparison(ours, theirs, plain)

  it("shows both policies and how many times better Warmpath is, higher or lower being better as the case may be", () => {
    assert.deepStrictEqual(row(table, "  coding agents").slice(2, 5), ["80.0 %", "20.0 %", "4.0×"])
    assert.deepStrictEqual(row(table, "TTFT p50, all traffic").slice(2, 5), ["50 ms", "200 ms", "4.0×"])
    assert.deepStrictEqual(row(table, "prompt tokens computed").slice(2, 5), ["700", "800", "1.1×"])
  })
  it("shows a dash, not a zero or an infinity, where a figure is missing", () => {
    assert.deepStrictEqual(row(table, "  RAG").slice(2, 5), ["50.0 %", "–", "–"])
  })
  it("shows how many requests were answered", () => {
    assert.deepStrictEqual(row(table, "requests answered").slice(2, 4), ["2 of 2", "1 of 2"])
  })
  it("says how the hit rate is computed, and lists what went wrong", () => {
    const text = Report.text(ours, theirs, plain)
    assert.include(text, "cached_tokens / prompt_tokens")
    assert.include(text, "round-robin: 1 × HTTP 503: no worker")
  })
})

const snapshot: LiveTable.Snapshot = {
  name: "Warmpath",
  way: "the warm way",
  done: 30,
  planned: 120,
  failed: 0,
  elapsedSeconds: 5,
  leftSeconds: 34.2,
  hitRate: 0.5,
  agentHitRate: 0.75,
  ttftMsP50: 123.4,
  ttftMsP90: null,
  workers: [
    { worker: "1  127.0.0.1:40001", inFlight: 3, requests: 17, hitRate: 0.612, cacheUsed: 0.4 },
    { worker: "2  127.0.0.1:40002", inFlight: 0, requests: 0, hitRate: null, cacheUsed: 0 }
  ]
}

describe("LiveTable", () => {
  it("has a row per worker with its figures", () => {
    const frame = LiveTable.frame(snapshot, plain)
    assert.deepStrictEqual(row(frame, "1  127.0.0.1:40001").slice(2, 6), ["3", "17", "61.2 %", "████░░░░░░  40 %"])
    assert.deepStrictEqual(row(frame, "2  127.0.0.1:40002").slice(2, 6), ["0", "0", "–", "░░░░░░░░░░   0 %"])
    assert.include(frame, "30 of 120 requests · about 35 s left in all")
    assert.include(frame, "hit rate 50.0 % (agents 75.0 %) · TTFT p50 123 ms, p90 –")
  })
  it("fits a terminal of 80 columns", () => {
    for (const text of LiveTable.frame(snapshot, picocolors.createColors(true)).split("\n")) {
      assert.isAtMost(stripVTControlCharacters(text).length, 80)
    }
  })
  it("shows failures only when there are any", () => {
    assert.notInclude(LiveTable.frame(snapshot, plain), "failed")
    assert.include(LiveTable.frame({ ...snapshot, failed: 2 }, plain), "2 failed")
  })
  it("fills a bar in proportion and never past its ends", () => {
    assert.strictEqual(LiveTable.bar(0.5, 4), "██░░")
    assert.strictEqual(LiveTable.bar(7, 3), "███")
    assert.strictEqual(LiveTable.bar(-1, 3), "░░░")
  })
  it("says the same in one line where nothing can be redrawn", () => {
    assert.strictEqual(
      LiveTable.line(snapshot),
      "Warmpath: 5 s, 30 of 120 requests, 0 failed, hit rate 50.0 % (agents 75.0 %), TTFT p50 123 ms p90 –"
    )
  })
})

describe("NextSteps", () => {
  it("gives commands that fit the way the demo was started", () => {
    assert.include(NextSteps.text(plain), "npm run warmpath -- serve --worker http://")
  })
  it("gives a request that can be pasted into a shell", () => {
    const router = "http://127.0.0.1:1"
    const text = NextSteps.addresses({ router, admin: null, engines: ["http://127.0.0.1:2"], model: "sim/q" }, plain)
    const body = /-d '([^']+)'/.exec(text)![1]!
    assert.deepInclude(JSON.parse(body) as object, { model: "sim/q", stream: true })
    assert.include(text, `curl -N ${router}/v1/chat/completions`)
    assert.notInclude(text, "admin")
  })
  it("says where to look on, in a browser and in a terminal", () => {
    const admin = "http://127.0.0.1:3"
    const text = NextSteps.addresses({ router: "r", admin, engines: [], model: "m" }, plain)
    assert.include(text, `in a browser:\n    ${admin}\n`)
    assert.include(text, `npm run warmpath -- top --admin ${admin}\n`)
    assert.include(text, `npm run warmpath -- explain --admin ${admin} --last 5\n`)
  })
})
