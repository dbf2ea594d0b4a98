import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import picocolors from "picocolors"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Decisions from "../../../loadtest/replay/Decisions.ts"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import * as Recompute from "../../../loadtest/replay/Recompute.ts"
import * as Replay from "../../../loadtest/replay/Replay.ts"
import * as Why from "../../../loadtest/replay/report/Why.ts"
import * as Strategies from "../../../loadtest/replay/Strategies.ts"
import { fleet } from "../../support/SmallFleet.ts"

const folder = mkdtempSync(join(tmpdir(), "warmpath-recompute-"))
const at = (name: string) => join(folder, name)
afterAll(() => rmSync(folder, { recursive: true }))

let lines: ReadonlyArray<string> = []

beforeAll(() => {
  const log = Decisions.toFile(at("whole.jsonl"))
  const trace = Generated.arrivals(1, 120_000, 4)
  Replay.run(trace, Decisions.recorded(Strategies.ours, log.tell), fleet, { seed: 1, live: 16, durationMs: 120_000 })
  log.close()
  lines = readFileSync(at("whole.jsonl"), "utf8").trimEnd().split("\n")
})

/** The file with one line, from 1, changed. */
const changed = (number: number, change: (told: Decisions.Told) => unknown): string => {
  const file = at("changed.jsonl")
  const text = JSON.stringify(change(JSON.parse(lines[number - 1]!) as Decisions.Told))
  writeFileSync(file, lines.with(number - 1, text).join("\n"))
  return file
}

const none = picocolors.createColors(false)

describe("Recompute", () => {
  it("makes every placement of a replay again, to the last bit", async () => {
    const checked = await Recompute.check(at("whole.jsonl"))
    expect(checked).toEqual({ placements: lines.length, differ: 0, first: [] })
    expect(lines.length).toBeGreaterThan(100)
    expect(Why.verdict({ ...checked, placements: 43_538 })).toBe("43 538 placements, 0 differ")
  })

  it("reads gzip of many members, whatever it is called", async () => {
    const members = [lines.slice(0, 9), lines.slice(9)].map((some) => gzipSync(`${some.join("\n")}\n`))
    writeFileSync(at("packed"), Buffer.concat(members))
    expect(await Recompute.check(at("packed"))).toMatchObject({ placements: lines.length, differ: 0 })
  })

  it("finds a worker, an overlap, a rate and a term that were changed since, and names line and time", async () => {
    const times = (by: number) => (value: number) => value * by
    const tampered: ReadonlyArray<readonly [change: (told: Decisions.Told) => unknown, says: RegExp]> = [
      [(told) => ({ ...told, slot: (told.slot + 1) % 4 }), /worker \d was chosen, recomputed it is \d/],
      [
        (told) => ({ ...told, cachedTokens: told.cachedTokens.map((tokens) => tokens + 16) }),
        /ownMs of worker 0 was [\d.]+, recomputed/
      ],
      [(told) => ({ ...told, rates: { ...told.rates, fleet: told.rates.fleet.map(times(1.001)) } }), /ownMs of worker/],
      [
        (told) => ({ ...told, terms: { ...told.terms, decodeMs: told.terms.decodeMs.map(times(2)) } }),
        /decodeMs of worker/
      ]
    ]
    for (const [change, says] of tampered) {
      const { differ, first, placements } = await Recompute.check(changed(90, change))
      expect([placements, differ]).toEqual([lines.length, 1])
      const [remade] = first
      const told = JSON.parse(lines[89]!) as Decisions.Told
      expect(Why.difference(remade!)).toContain(`Line 90, at ${(told.atMs / 1_000).toFixed(3)} s: `)
      expect(Why.difference(remade!)).toMatch(says)
    }
  })

  it("names the first few only, and how many more there are", async () => {
    writeFileSync(at("all.jsonl"), lines.map((line) => line.replace(/"slot":\d/, '"slot":7')).join("\n"))
    const checked = await Recompute.check(at("all.jsonl"))
    expect(checked.differ).toBe(lines.length)
    const said = Why.verdict(checked).split("\n")
    expect(said).toHaveLength(8)
    expect(said[1]).toMatch(/^Line 1, at .* s: worker 7 was chosen, recomputed it is 0\.$/)
    expect(said[6]).toBe(`… and ${lines.length - 5} more.`)
  })

  it("shows why one worker was chosen and what the others lost by", async () => {
    const number = lines.findIndex((line) => {
      const { cachedTokens, slot } = JSON.parse(line) as Decisions.Told
      return cachedTokens.every((tokens, at) => at === slot || tokens < cachedTokens[slot]! - 4_000)
    })
    const told = JSON.parse(lines[number]!) as Decisions.Told
    const remade = await Recompute.one(at("whole.jsonl"), number + 1)
    expect(remade.told).toEqual(told)
    const rows = Why.text(remade, none).split("\n")
    expect(rows[0]).toMatch(new RegExp(`^Placement ${number + 1}, .* tokens to worker ${told.slot}$`))
    const workers = rows.filter((row) => /^│ [▶ ] │ +\d │/.test(row))
    expect(workers).toHaveLength(4)
    expect(workers[told.slot]).toMatch(/^│ ▶ .*│ chosen/)
    for (const row of workers.toSpliced(told.slot, 1))
      expect(row).toMatch(/│ \+[\d. ]+: (own|others|wait) \+[\d. ]+ +│$/)
  })

  it("says what is wrong with a file, on which line, and what would do", async () => {
    const first = lines[0]!
    const bad: ReadonlyArray<readonly [text: string, says: RegExp]> = [
      ["", /there is no placement in it\. Accepted: what `warmpath replay TRACE --decisions FILE` writes/],
      [`${first}\n{"atMs": 3`, /line 2: no JSON object, or half of one/],
      [`${first}\n${first.replace('"rotation"', '"rotated"')}`, /line 2: .*rotation.*replay the trace once more/],
      [
        first.replace('"queuedUs":[0,', '"queuedUs":['),
        /line 1: load\.queuedUs holds 3 numbers where there should be 4/
      ]
    ]
    for (const [text, says] of bad) {
      writeFileSync(at("bad.jsonl"), text)
      await expect(Recompute.check(at("bad.jsonl"))).rejects.toThrow(says)
    }
    await expect(Recompute.check(at("missing.jsonl"))).rejects.toThrow(/there is no such file/)
    await expect(Recompute.one(at("whole.jsonl"), 1e6)).rejects.toThrow(`it ends at line ${lines.length}`)
    writeFileSync(at("cut.gz"), gzipSync(lines.join("\n")).subarray(0, 5_000))
    await expect(Recompute.check(at("cut.gz"))).rejects.toThrow(/ends early/)
  })
})
