import { describe, expect, it } from "vitest"
import { cells } from "../../../loadtest/judge/Cell.ts"
import * as Disturbances from "../../../loadtest/judge/Disturbances.ts"
import * as Job from "../../../loadtest/judge/Job.ts"
import * as Outcome from "../../../loadtest/judge/Outcome.ts"
import { Traffic } from "../../../loadtest/judge/Traffic.ts"
import * as Generated from "../../../loadtest/replay/Generated.ts"
import * as Replay from "../../../loadtest/replay/Replay.ts"
import * as Strategies from "../../../loadtest/replay/Strategies.ts"

const [cell] = cells(["tool"], [16], [0.95], ["medium"])
const traffic = new Traffic(null)
const rivals = ["dynamo", "gie", "session-sticky", "round-robin", "least-outstanding", "llm-d-precise"]
const job: Job.Job = {
  cell: cell!,
  seed: 1,
  perSecond: traffic.saturation(cell!),
  bounds: ["pooled-cache"],
  disturbances: Disturbances.disturbances.map(({ name }) => name),
  rivals,
  margin: null,
  keepsDefaults: false
}
const run = (more: Partial<Job.Job>) => Job.run({ ...job, ...more }, traffic, () => {})

describe("A cell under one seed", () => {
  const whole = run({})

  it("has the same best rival whether or not the others give up", () => {
    const pruned = run({ margin: 1 })
    expect(Outcome.best(pruned.rivals)).toEqual(Outcome.best(whole.rivals))
    expect(pruned.rivals.some(({ isAbove }) => isAbove)).toBe(true)
    for (const each of pruned.rivals) {
      const { p90Ms } = whole.rivals.find(({ name }) => name === each.name)!
      if (each.isAbove) expect(p90Ms).toBeGreaterThan(each.p90Ms)
      else expect(p90Ms).toBe(each.p90Ms)
    }
  })

  it("has the same best rival among sessions, too", () => {
    const [agent] = cells(["agent"], [8], [76], ["medium"])
    const sessions = { cell: agent!, perSecond: null, bounds: [], disturbances: [] }
    const whole = run(sessions)
    const pruned = run({ ...sessions, margin: 1 })
    expect(Outcome.best(pruned.rivals)).toEqual(Outcome.best(whole.rivals))
    expect(pruned.rivals.some(({ isAbove }) => isAbove)).toBe(true)
  })

  it("never has a rival for the best that lets half of the sessions wait, however soon it answers the others", () => {
    const [agent] = cells(["agent"], [8], [76], ["medium"])
    const staged = traffic.stage(agent!, null, 1)
    const crowd = {
      stage: () => ({ ...staged, trace: Generated.sessions(1, 300, 40), live: 80 })
    } as unknown as Traffic
    const sessions = {
      ...job,
      cell: agent!,
      perSecond: null,
      bounds: [],
      disturbances: [],
      rivals: ["first-block-hash"]
    }
    const { ours, rivals } = Job.run(sessions, crowd, () => {})
    const strategy = Strategies.strategies.find(({ name }) => name === "first-block-hash")
    const { result } = Replay.run(crowd.stage(agent!, null, 1).trace, strategy!, staged.fleet, {
      ...staged,
      live: 80,
      seed: 1
    })
    expect(result.ttftMs.p90).toBeLessThan(ours.p90Ms)
    expect(rivals[0]).toMatchObject({ isAbove: true })
  })

  it("keeps the best default beside the best of all", () => {
    const defaults = ({ rivals }: Outcome.Outcome) => rivals.filter(({ isDefault }) => isDefault)
    const pruned = run({ rivals: ["dynamo-16", ...rivals], margin: 1, keepsDefaults: true })
    expect(Outcome.best(defaults(pruned))).toEqual(Outcome.best(defaults(whole)))
  })

  it("has figures of ours disturbed that differ from ours", () => {
    expect(whole.disturbed.map(({ name }) => name)).toEqual(job.disturbances)
    for (const each of whole.disturbed) expect(each.e2eMsMean).not.toBe(whole.ours.e2eMsMean)
  })

  it("comes out the same again", () => {
    expect(run({})).toEqual(whole)
  })
})
