import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { cells } from "../../../loadtest/judge/Cell.ts"
import type { Job } from "../../../loadtest/judge/Job.ts"
import * as Kept from "../../../loadtest/judge/Kept.ts"
import { figure, outcome, rival } from "../../support/JudgeOutcomes.ts"

const [cell] = cells(["conv"], [16], [0.8], ["medium"])
const job = (seed: number): Job => ({
  cell: cell!,
  seed,
  perSecond: 12.5,
  bounds: ["pooled-cache"],
  disturbances: [],
  rivals: ["gie"],
  margin: 1.25,
  keepsDefaults: false
})
const said = (seed: number) => outcome(cell!, seed, figure("warmpath", 100 + seed), { rivals: [rival("gie", 140)] })

describe("Outcomes that are kept", () => {
  let folder: string
  let file: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "kept-"))
    file = join(folder, "outcomes.jsonl")
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it("are there for the same job in another run, and for no other job", () => {
    Kept.open(file).add(job(1), said(1))
    const again = Kept.open(file)
    expect(again.of(job(1))).toEqual(said(1))
    expect(again.of(job(2))).toBeUndefined()
    expect(again.of({ ...job(1), margin: null })).toBeUndefined()
  })

  it("survive a line that was cut off, which is written anew", () => {
    const kept = Kept.open(file)
    kept.add(job(1), said(1))
    appendFileSync(file, '{"job":"{')
    const again = Kept.open(file)
    expect(again.of(job(1))).toEqual(said(1))
    again.add(job(2), said(2))
    expect(Kept.open(file).of(job(2))).toEqual(said(2))
    expect(readFileSync(file, "utf8").split("\n")).toHaveLength(3)
  })

  it("are not read from a file of something else", () => {
    writeFileSync(file, "notes\n")
    expect(() => Kept.open(file)).toThrow(/line 1, is no outcome of a judge/)
  })
})
