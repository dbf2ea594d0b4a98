import { describe, expect, it } from "vitest"
import type { DemoReport } from "../loadtest/demo/Demo.ts"
import * as Processes from "./support/Processes.ts"

describe("warmpath demo", () => {
  it("finds at least twice as much of the agents' prompts computed as round robin does, and answers everything", async () => {
    const demo = Processes.warmpath(["demo", "--json"])
    const ended = await demo.ended
    expect(ended, demo.errors()).toBe(0)
    const { roundRobin, warmpath } = JSON.parse(demo.standard()) as DemoReport
    expect(warmpath.byLabel.agent.hitRate ?? 0).toBeGreaterThanOrEqual(2 * (roundRobin.byLabel.agent.hitRate ?? 1))
    for (const run of [warmpath, roundRobin]) expect(run).toMatchObject({ failed: 0, succeeded: 280 })
    expect(demo.errors()).toBe("")
  }, 120_000)
})
