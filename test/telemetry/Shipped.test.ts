import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import * as Table from "../../src/telemetry/Table.ts"
import * as Dashboard from "../support/Dashboard.ts"

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

const read = (name: string) => readFileSync(new URL(`../../src/telemetry/prometheus/${name}`, import.meta.url), "utf8")
const rules = (parse(read("rules.yml")) as { groups: ReadonlyArray<{ rules: ReadonlyArray<Rule> }> }).groups.flatMap(
  (group) => group.rules
)

const series = new Set(Table.all.flatMap(Table.seriesOf))
const labels = new Set(Table.all.flatMap((each) => each.labels as ReadonlyArray<string>))

/** Words of a question that look like metrics of ours and are neither that nor labels; texts in quotes aside. */
const unknownIn = (expr: string): ReadonlyArray<string> =>
  [...expr.replaceAll(/"[^"]*"/g, "").matchAll(/\b(?:warmpath|gen_ai|process|nodejs|v8js)_\w+/g)]
    .map(([word]) => word)
    .filter((word) => !series.has(word) && !labels.has(word))

/** Metrics that a question asks for. */
const seriesIn = (expr: string): ReadonlyArray<string> =>
  (expr.replaceAll(/"[^"]*"/g, "").match(/\w+/g) ?? []).filter((word) => series.has(word) || word === "up")

describe("the rules and the dashboard", () => {
  it("ask for nothing that is not in the table of metrics", () => {
    expect(unknownIn('rate(warmpath_nothing_total{x="warmpath_no"}[5m])')).toEqual(["warmpath_nothing_total"])
    expect(unknownIn("warmpath_phase_seconds")).toEqual(["warmpath_phase_seconds"])
    for (const { expr } of [...rules, ...Dashboard.questions()]) {
      expect(unknownIn(expr), expr).toEqual([])
      expect(seriesIn(expr).length, expr).toBeGreaterThan(0)
    }
    const names = new Set(Table.all.map(({ name }) => name))
    const told = rules.flatMap(({ annotations }) => Object.values(annotations).flatMap(unknownIn))
    expect(told.filter((name) => !names.has(name))).toEqual([])
  })

  it("know what matters: each worker's load and trust, predicted beside delivered, regret, events, store, process", () => {
    const asked = new Set(Dashboard.questions().flatMap(({ expr }) => seriesIn(expr)))
    for (const name of [
      ...["warmpath_requests_total", "warmpath_worker_requests_total", "gen_ai_server_request_duration_seconds_bucket"],
      ...["gen_ai_server_time_to_first_token_seconds_bucket", "gen_ai_server_time_per_output_token_seconds_bucket"],
      ...["warmpath_phase_seconds_bucket", "warmpath_worker_predicted_for_delivered_tokens_total"],
      ...["warmpath_worker_delivered_cached_tokens_total", "warmpath_worker_regret_tokens_total"],
      ...["warmpath_worker_queued_requests", "warmpath_worker_trust", "warmpath_worker_kv_event_batches_total"],
      ...["warmpath_store_lag_seconds", "process_cpu_seconds_total", "nodejs_eventloop_delay_p99_seconds"]
    ]) {
      expect(asked).toContain(name)
    }
  })

  it("say of each alert what is wrong and what to do, and have a test of each", () => {
    const tested = new Set([...read("rules.test.yml").matchAll(/alertname: (\w+)/g)].map(([, name]) => name))
    for (const { alert, annotations, for: lasts, labels } of rules) {
      expect(alert).toMatch(/^Warmpath[A-Z]/)
      expect(annotations["summary"], alert).toMatch(/^[A-Z].+\.$/)
      expect(annotations["todo"], alert).toMatch(/^\S.+[.?]$/)
      expect(["warning", "critical"]).toContain(labels["severity"])
      expect(lasts).toMatch(/^\d+[sm]$/)
      expect(tested).toContain(alert)
    }
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
  })

  it("can be provisioned: one address, any Prometheus, no two panels in one place", () => {
    const { panels, templating, uid } = Dashboard.read()
    const chosen = ["$", "{datasource}"].join("")
    expect(uid).toBe("warmpath")
    expect(templating.list.map(({ name }) => name)).toEqual(["datasource", "instance"])
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    for (const { datasource, targets, type } of panels) {
      if (type === "row") continue
      expect(datasource?.uid).toBe(chosen)
      expect(targets!.every((target) => target.datasource.uid === chosen)).toBe(true)
    }
    const taken = new Set<string>()
    for (const { gridPos, title } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x} ${y}`), title).toBe(false)
          taken.add(`${x} ${y}`)
        }
      }
    }
  })
})
