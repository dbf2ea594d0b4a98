import { beforeAll, describe, expect, it } from "vitest"
import * as ReplicasSim from "./ReplicasSim.ts"

const seeds = [0, 1, 2, 3, 4, 5, 6, 7]

describe("replicas in trouble, in virtual time", () => {
  const runs: Array<ReplicasSim.Outcome> = []
  beforeAll(async () => {
    for (const seed of seeds) runs.push(await ReplicasSim.run(seed))
  }, 120_000)

  it("agree in the end on what every engine holds, and never leave one without a reader for long", () => {
    const wrongs = runs.flatMap(({ wrongs }, i) => wrongs.map((wrong) => `seed ${seeds[i]}, ${wrong}`))
    expect(wrongs).toEqual([])
  })

  it("never believe more than an engine holds, though engines can repeat but a few batches", async () => {
    const short: Array<ReplicasSim.Outcome> = []
    for (const seed of seeds.slice(0, 4)) short.push(await ReplicasSim.run(seed, 20))
    expect(short.flatMap(({ wrongs }, i) => wrongs.map((wrong) => `seed ${seeds[i]}, ${wrong}`))).toEqual([])
    expect(short.reduce((sum, { taken }) => sum + taken, 0)).toBeGreaterThan(20)
  }, 120_000)

  it("were put to the test", () => {
    const sums: Record<string, number> = {}
    for (const { happened } of runs) {
      for (const [what, times] of Object.entries(happened)) sums[what] = (sums[what] ?? 0) + times
    }
    for (const what of ["killed", "left", "joined", "cut", "broker away", "wiped", "truncated", "engine restarted"]) {
      expect(sums[what], what).toBeGreaterThan(3)
    }
    expect(Math.max(...runs.map(({ ownerlessMs }) => ownerlessMs))).toBeGreaterThan(1_000)
    expect(runs.reduce((sum, { fenced }) => sum + fenced, 0)).toBeGreaterThan(0)
  })
})
