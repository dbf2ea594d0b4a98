import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as Chats from "./support/Chats.ts"
import * as Processes from "./support/Processes.ts"
import { idOf } from "./support/TestRouter.ts"

interface Line {
  readonly time: string
  readonly level: string
  readonly message: string
}

const lines = (router: Processes.Running) =>
  router
    .errors()
    .split("\n")
    .filter((text) => text !== "")
    .map((text) => JSON.parse(text) as Line)

/** Longer than a block. */
const long = (question: string) => `${question}? ${"Tell me more of it. ".repeat(10)}`

describe("the log of warmpath serve", () => {
  let fleet: SimFleet.SimFleet
  let router: Processes.Running
  let url: string
  let admin: string
  const soon = { timeout: 20_000 }
  beforeAll(async () => {
    fleet = await SimFleet.start({ engines: 2, speed: 200 })
    router = Processes.warmpath([
      ...["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--log-format", "json"],
      ...["--probe-interval-ms", "200", "--breaker-open-ms-min", "100", "--breaker-open-ms-max", "200"],
      ...fleet.urls.flatMap((each) => ["--worker", each])
    ])
    const found = await router.says(/at (http:\S+)\/v1 · admin at (http:\/\/[^\s/]+)/)
    url = found[1]!
    admin = found[2]!
    await router.says(/tokenised here/)
    while (said("is known exactly").length < 2) await new Promise((done) => setTimeout(done, 20))
    // How its blocks are hashed is told of each engine once, with its first.
    for (let i = 0; said("are hashed with").length < 2; i++) {
      await Promise.all(
        [0, 1, 2, 3].map((j) => Chats.ask(url, { messages: [{ role: "user", content: long(`${i} ${j}`) }] }))
      )
    }
  })
  afterAll(async () => {
    await router.stop()
    await fleet.close()
  })
  const said = (text: string) => lines(router).filter(({ message }) => message.includes(text))
  const state = async (id: string) =>
    ((await (await fetch(`${admin}/admin/workers/${encodeURIComponent(id)}`)).json()) as { state: string }).state

  it("is JSON on standard error, an object a line, each with time, level and message, and standard output has none of it", () => {
    const all = lines(router)
    expect(all.length).toBeGreaterThanOrEqual(5)
    for (const { level, message, time } of all) {
      expect(new Date(time).toISOString()).toBe(time)
      expect(["info", "warn"]).toContain(level)
      expect(message).not.toBe("")
    }
    expect(router.standard().trim().split("\n")).toHaveLength(1)
    expect(router.standard()).toMatch(/^Warmpath routes 2 workers/)
  })

  it("has no line for a thousand requests", async () => {
    const before = lines(router).length
    let next = 0
    const client = async () => {
      while (next < 1_000) {
        await Chats.ask(url, { messages: [{ role: "user", content: long(`Question ${next++}`) }], max_tokens: 1 })
      }
    }
    await Promise.all(Array.from({ length: 16 }, client))
    expect(lines(router).slice(before)).toEqual([])
  }, 60_000)

  it("has a line for each thing that changed when an engine dies and comes back, and no more", async () => {
    const [engine] = fleet.engines
    const id = idOf(engine!.url)
    const before = lines(router).length
    engine!.crash()
    await expect.poll(() => state(id), soon).toBe("open")
    // Probes go on, and find it as it was.
    await expect.poll(() => said(`"${id}" is open`), soon).toHaveLength(1)
    await new Promise((done) => setTimeout(done, 1_500))
    await engine!.restart()
    await expect.poll(() => state(id), soon).toBe("ready")
    await expect.poll(() => said(`cache of worker "${id}" is known exactly`), soon).toHaveLength(2)
    await new Promise((done) => setTimeout(done, 1_500))
    const told = lines(router).slice(before)
    expect(told.map(({ level, message }) => `${level} ${message.replace(`"${id}"`, "W")}`)).toEqual([
      expect.stringMatching(/^warn Worker W is open \(was ready\): .+\. It gets no requests until it answers again$/),
      expect.stringMatching(/^warn The cache of worker W is degraded: .+/),
      expect.stringMatching(/^info Worker W restarted$/),
      expect.stringMatching(/^info Worker W is ready \(was open\): .+/),
      expect.stringMatching(/^info The cache of worker W is known exactly$/)
    ])
  }, 60_000)

  it("says of a worker that is sick that it is out, and that it is back, and nothing of the tries between", async () => {
    const [, engine] = fleet.engines
    const id = idOf(engine!.url)
    const before = lines(router).length
    const opened = async () =>
      (
        (await (await fetch(`${admin}/admin/workers/${encodeURIComponent(id)}`)).json()) as {
          breaker: { timesOpened: number }
        }
      ).breaker.timesOpened
    // It answers probes, and fails every request.
    engine!.setFaults({ error: { probability: 1, status: 500 } })
    let over = false
    const clients = Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        for (let n = 0; !over; n++) {
          // Some answers are its errors.
          await Chats.ask(url, { messages: [{ role: "user", content: `${i}: ${n}` }] }).catch(() => null)
        }
      })
    )
    await expect.poll(opened, soon).toBeGreaterThanOrEqual(4)
    engine!.setFaults({ error: { probability: 0 } })
    await expect.poll(() => state(id), soon).toBe("ready")
    over = true
    await clients
    const told = lines(router)
      .slice(before)
      .filter(({ message }) => message.includes(`"${id}"`))
    // Out and back, in turn, and nothing of the tries between.
    expect(told.length).toBeGreaterThanOrEqual(2)
    expect(told.length % 2).toBe(0)
    for (const [i, { level, message }] of told.entries()) {
      expect(`${level} ${message.replace(`"${id}"`, "W")}`).toMatch(
        i % 2 === 0 ? /^warn Worker W is open \(was ready\): / : /^info Worker W is ready \(was open\): /
      )
    }
  }, 60_000)

  it("takes its level and format from flags and variables, of a memory node too, and says what they may be", async () => {
    const quiet = Processes.warmpath(
      ["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--log-level", "error"],
      { WARMPATH_LOG_FORMAT: "json" }
    )
    await quiet.says(/admin at/)
    quiet.process.kill("SIGTERM")
    expect([await quiet.ended, quiet.errors()]).toEqual([0, ""])
    const wrong = Processes.warmpath(["memory-node", "--log-format", "xml"])
    expect(await wrong.ended).toBe(1)
    expect(wrong.output()).toMatch(/--log-format is "xml".*"auto".*"pretty".*"json"/s)
  })
})
