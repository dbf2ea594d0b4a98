import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import * as SimFleet from "../../../../loadtest/fleet/SimFleet.ts"
import * as Live from "../../../../loadtest/replay/live/Live.ts"
import type { Arrivals, Sessions } from "../../../../loadtest/replay/Trace.ts"
import * as TestRouter from "../../../support/TestRouter.ts"

const blockSize = 32
const speed = 20

let fleet: SimFleet.SimFleet
let router: TestRouter.TestRouter

beforeAll(async () => {
  // Blocks of another size than the trace's: ids alone decide what is shared.
  fleet = await SimFleet.start({ engines: 2, speed, blocks: 2_000, blockSize: 16 })
  router = await TestRouter.start({ workers: fleet.urls.join(",") })
})

afterAll(async () => {
  await router.close()
  await fleet.close()
})

const options = (durationMs: number): Live.Options => ({
  url: router.url,
  model: "sim/qwen3",
  workers: fleet.urls.map(TestRouter.idOf),
  strategy: "warmpath",
  seed: 1,
  speed,
  durationMs,
  live: 3,
  coldMs: () => 1_000
})

describe("Live.replay", () => {
  it("finds in the caches what the trace says was there before, and tells times as the trace's", async () => {
    // Eight conversations of five turns, each with all of the one before and two blocks more; a second apart.
    const requests = Array.from({ length: 40 }, (_, i) => {
      const session = i % 8
      const blocks = Array.from({ length: 40 + 2 * Math.floor(i / 8) }, (_, at) => session * 1_000 + at)
      const promptTokens = blocks.length * blockSize + 10
      return { session, atMs: 1_000 * i, promptTokens, outputTokens: 200, blocks: Float64Array.from(blocks) }
    })
    const trace: Arrivals = { kind: "arrivals", blockSize, durationMs: 40_000, requests }
    // One engine keeps everything: what the trace implies, to the token.
    const { url } = fleet.engines[0]!
    const alone = await Live.replay(trace, { ...options(40_000), url, workers: [url] })
    expect(alone.problem).toBeNull()
    const counted = requests.slice(8)
    const prompt = counted.reduce((sum, each) => sum + each.promptTokens, 0)
    const seen = counted.reduce((sum, { blocks }) => sum + (blocks.length - 2) * blockSize, 0)
    expect(alone.result.hitRate).toBeCloseTo(seen / prompt, 9)
    expect(fleet.engines[0]!.reset()).toBe(true)

    const { lateMsP99, problem, result } = await Live.replay(trace, options(40_000))
    expect(problem).toBeNull()
    // The first fifth, the first turn of each, is not counted.
    expect(result).toMatchObject({ strategy: "warmpath", workers: 2, seed: 1, requests: 32, failed: 0 })
    // A router may move a conversation to the other engine: never for more than a few of them.
    expect(result.hitRate).toBeLessThanOrEqual(seen / prompt + 1e-9)
    expect(result.hitRate).toBeGreaterThan(0.8 * (seen / prompt))
    expect(result.byWorker.reduce((sum, { promptTokens }) => sum + promptTokens, 0)).toBe(prompt)
    expect(result.byWorker.reduce((sum, { requests: ofIt }) => sum + ofIt, 0)).toBe(32)
    // 200 tokens, a step of 18 ms at least for each: a twentieth of that on these engines.
    expect(result.ttftMs.p50).toBeGreaterThan(18)
    expect(result.e2eMs.p50).toBeGreaterThan(200 * 18)
    const outstanding = result.series.outstanding.flat().reduce((sum, each) => sum + each, 0)
    expect(outstanding * result.series.stepMs).toBeGreaterThan(36 * 200 * 18)
    expect(lateMsP99).toBeGreaterThanOrEqual(0)
  })

  it("is not held back by answers: all of a burst is on its way before the first of it ends", async () => {
    const requests = Array.from({ length: 30 }, (_, i) => ({
      ...{ session: null, atMs: 10_000 + i, promptTokens: 2 * blockSize, outputTokens: 2_000 },
      blocks: Float64Array.of(50_000 + i, 60_000 + i)
    }))
    const { result } = await Live.replay({ kind: "arrivals", blockSize, durationMs: 20_000, requests }, options(20_000))
    expect(result.requests).toBe(30)
    expect(fleet.engines.reduce((sum, engine) => sum + engine.state().received, 0)).toBeGreaterThanOrEqual(30)
    // 2 000 tokens take 36 s: none ended within the time of the trace.
    const most = result.series.outstanding.map((ofSlot) => Math.max(...ofSlot))
    expect(most.reduce((sum, each) => sum + each, 0)).toBeCloseTo(30, 6)
  })

  it("keeps sessions waiting for their answers, and breaks them off at the end", async () => {
    const turns = Array.from({ length: 50 }, (_, turn) => ({
      ...{ session: null, promptTokens: (turn + 1) * blockSize + 5, outputTokens: 20, thinkMs: 500 },
      blocks: Float64Array.from({ length: turn + 1 }, (_, at) => 7_000 + at)
    }))
    const trace: Sessions = { kind: "sessions", blockSize, sessions: [[{ after: null, turns }]] }
    const { problem, result } = await Live.replay(trace, options(20_000))
    expect(problem).toBeNull()
    // A turn takes its pause and 20 steps of 18 ms at least; three sessions at once.
    expect(result.requests).toBeGreaterThan(3)
    expect(result.requests).toBeLessThanOrEqual((3 * 20_000) / (500 + 20 * 18))
    expect(result.hitRate).toBeGreaterThan(0.5)
    await vi.waitFor(async () => {
      expect((await router.workers()).map(({ inFlight }) => inFlight)).toEqual([0, 0])
    })
  })

  it("counts what fails, and says why", async () => {
    const request = { session: null, atMs: 9, promptTokens: blockSize, outputTokens: 1, blocks: Float64Array.of(1) }
    const trace: Arrivals = { kind: "arrivals", blockSize, durationMs: 10, requests: [request] }
    const { problem, result } = await Live.replay(trace, { ...options(10), model: "no such model" })
    expect(result).toMatchObject({ requests: 0, failed: 1 })
    expect(problem).toContain("no such model")
  })
})
