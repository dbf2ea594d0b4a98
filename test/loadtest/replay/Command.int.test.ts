import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../../../loadtest/fleet/SimFleet.ts"
import * as Choice from "../../../loadtest/replay/Choice.ts"
import type * as Decisions from "../../../loadtest/replay/Decisions.ts"
import * as Json from "../../../loadtest/replay/report/Json.ts"
import * as Processes from "../../support/Processes.ts"
import * as TraceFiles from "../../support/TraceFiles.ts"

const folder = mkdtempSync(join(tmpdir(), "warmpath-replay-"))
const at = (name: string) => join(folder, name)
const arrivals = at("made_up.jsonl")
const sessions = at("sessions.jsonl")

const replay = async (...args: ReadonlyArray<string>) => {
  const child = Processes.warmpath(["replay", ...args])
  const ended = await child.ended
  return { ended, text: child.standard(), errors: child.errors() }
}

beforeAll(() => {
  writeFileSync(arrivals, TraceFiles.arrivals())
  writeFileSync(sessions, TraceFiles.sessions())
})
afterAll(() => rmSync(folder, { recursive: true }))

describe("warmpath replay", () => {
  it("shows ours, rivals and the bound in a table, a JSON document and a picture", async () => {
    const { ended, errors, text } = await replay(
      ...[arrivals, "--workers", "2", "--load", "0.7", "--seeds", "2"],
      ...["--json", at("all.json"), "--picture", at("all.html")]
    )
    expect(ended, errors).toBe(0)
    expect(errors).toBe("")
    expect(text).not.toContain("\u001b")
    for (const name of Choice.usual) expect(text).toContain(` ${name} `)
    expect(text).toMatch(/made_up, offline: 2 workers \(llama70\).*load 0.7, [\d.]+ × the trace/)

    const document = Json.read(readFileSync(at("all.json"), "utf8"))
    expect(document.strategies.map(({ name }) => name)).toEqual(Choice.usual)
    expect(document.results.map(({ seed, strategy }) => [strategy, seed])).toEqual(
      Choice.usual.flatMap((name) => [1, 2].map((seed) => [name, seed]))
    )
    for (const result of document.results) {
      expect(result.requests).toBeGreaterThan(100)
      expect(result.hitRate).toBeGreaterThan(0.02)
      expect(result.ttftMs.p50).toBeGreaterThan(0)
      expect(result.byWorker).toHaveLength(2)
    }
    const hitRate = (name: string) => document.results.find(({ strategy }) => strategy === name)!.hitRate
    expect(hitRate("warmpath")).toBeGreaterThan(hitRate("round-robin"))

    const page = readFileSync(at("all.html"), "utf8")
    expect(page).toMatch(/^<!doctype html>/)
    for (const name of Choice.usual) expect(page).toContain(name)
  })

  it("comes to the same under the same seeds", async () => {
    const args = [arrivals, "--workers", "2", "--copies", "0.5", "--policy", "warmpath", "--policy", "greedy-ttft"]
    const [one, other] = await Promise.all(
      ["one.json", "other.json"].map((name) => replay(...args, "--json", at(name), "--picture", at("cdf.svg")))
    )
    expect(one!.ended, one!.errors).toBe(0)
    expect(other!.text).toBe(one!.text)
    expect(readFileSync(at("other.json"), "utf8")).toBe(readFileSync(at("one.json"), "utf8"))
    expect(readFileSync(at("cdf.svg"), "utf8")).toMatch(/^<svg/)
  })

  it("writes what every decision followed from, from which each is made again, and decides the same as without", async () => {
    const args = [arrivals, "--workers", "4", "--copies", "1", "--policy", "warmpath"]
    const [told, packed, quiet] = await Promise.all([
      replay(...args, "--decisions", at("decisions.jsonl"), "--json", at("told.json")),
      replay(...args, "--decisions", at("decisions.jsonl.gz")),
      replay(...args, "--json", at("quiet.json"))
    ])
    for (const { ended, errors } of [told!, packed!, quiet!]) expect(ended, errors).toBe(0)
    expect(readFileSync(at("told.json"), "utf8")).toBe(readFileSync(at("quiet.json"), "utf8"))
    const text = readFileSync(at("decisions.jsonl"), "utf8")
    expect(gunzipSync(readFileSync(at("decisions.jsonl.gz"))).toString()).toBe(text)
    const decisions = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Decisions.Told)
    // There was something to decide.
    expect(new Set(decisions.map(({ slot }) => slot)).size).toBe(4)
    expect(decisions.filter(({ cachedTokens }) => Math.max(...cachedTokens) > 1_024).length).toBeGreaterThan(100)

    for (const file of ["decisions.jsonl", "decisions.jsonl.gz"]) {
      const { ended, errors, text } = await replay("--recompute", at(file))
      expect([ended, errors, text]).toEqual([0, "", "240 placements, 0 differ\n"])
    }
    writeFileSync(at("changed.jsonl"), text.replaceAll('"rotation":2', '"rotation":3'))
    const changed = await replay("--recompute", at("changed.jsonl"))
    expect(changed.ended).toBe(1)
    expect(changed.errors).toMatch(
      /240 placements, [1-9]\d* differ\n\s*Line \d+, at .* s: worker 2 was chosen, recomputed it is 3\./
    )
  })

  it("replays sessions that wait for their answers", async () => {
    const { ended, errors, text } = await replay(
      ...[sessions, "--workers", "2", "--sessions", "3", "--until", "5", "--policy", "warmpath"],
      ...["--json", at("sessions.json")]
    )
    expect(ended, errors).toBe(0)
    expect(text).toContain("2 workers (mla)")
    expect(text).toContain("3 sessions a worker, 5 min")
    expect(Json.read(readFileSync(at("sessions.json"), "utf8")).results[0]!.hitRate).toBeGreaterThan(0.5)
  })

  it("sends a trace to what runs at an address", async () => {
    const fleet = await SimFleet.start({ engines: 1, speed: 40 })
    try {
      const { ended, errors, text } = await replay(
        ...[arrivals, "--url", fleet.urls[0]!, "--speed", "40", "--until", "1", "--json", at("live.json")]
      )
      expect(ended, errors).toBe(0)
      expect(text).toContain("made_up, live")
      const [result] = Json.read(readFileSync(at("live.json"), "utf8")).results
      expect(result).toMatchObject({ strategy: "live", failed: 0 })
      expect(result!.requests).toBeGreaterThan(10)
      expect(result!.hitRate).toBeGreaterThan(0)
    } finally {
      await fleet.close()
    }
  })
})
