import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import { freePort } from "../loadtest/servers/ServerProcess.ts"
import type { LiveWorker } from "../src/domain/Live.ts"
import * as Chats from "./support/Chats.ts"
import * as Processes from "./support/Processes.ts"
import * as Pty from "./support/Pty.ts"
import { idOf } from "./support/TestRouter.ts"

const soon = { timeout: 20_000 }

describe("warmpath top", () => {
  let fleet: SimFleet.SimFleet
  let adminPort: number
  let router: { readonly process: Processes.Running; readonly url: string }
  let stop: Array<() => Promise<void>> = []
  const admin = () => `http://127.0.0.1:${adminPort}`
  const serve = async () => {
    const process = Processes.warmpath([
      ...["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", String(adminPort)],
      ...fleet.urls.flatMap((each) => ["--worker", each])
    ])
    const [, url] = await process.says(/at (http:\S+)\/v1/)
    for (const each of fleet.urls) await process.says(new RegExp(`cache of worker "${idOf(each)}" is known exactly`))
    await process.says(/tokenised here/)
    return { process, url: url! }
  }
  const ran = async (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
    const top = Processes.warmpath(["top", ...args], env)
    return { code: await top.ended, text: top.standard(), errors: top.errors() }
  }
  beforeAll(async () => {
    fleet = await SimFleet.start({ engines: 3, speed: 50 })
    adminPort = await freePort()
    router = await serve()
    const talk = Chats.conversation(() => router.url, "The tide")
    for (let i = 0; i < 3; i++) await talk.turn()
    const messages = [{ role: "user", content: "A last one" }]
    const streamed = { model: Chats.model, messages, stream: true, max_tokens: 3 }
    await (await fetch(`${router.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(streamed) })).text()
  })
  afterEach(async () => {
    for (const each of stop) await each()
    stop = []
  })
  afterAll(async () => {
    await router.process.stop()
    await fleet.close()
  })

  it("prints the fleet once where nobody watches: totals, a row for each worker, no colours", async () => {
    const { code, errors, text } = await ran([], { WARMPATH_ADMIN_PORT: String(adminPort) })
    expect([code, errors]).toEqual([0, ""])
    const [head, figures, empty, names, ...rows] = text.trimEnd().split("\n")
    expect(head).toMatch(new RegExp(`^Warmpath at ${admin()} · 3 workers: 3 ready · \\d\\d:\\d\\d:\\d\\d$`))
    expect(figures).toMatch(
      /^\d\.\d requests\/s · hit rate \d+ % · TTFT p50 \d+ ms · p90 \d+ ms · 0 in flight · 0 errors · last \d+ s$/
    )
    expect(empty).toBe("")
    expect(names).toMatch(/^worker +state +trust +queued +active +wait +in flight +blocks +hit rate +delivered +engine/)
    expect(rows.map((row) => row.split(/ {2,}/).slice(0, 3))).toEqual(
      fleet.urls.map((url) => [idOf(url), "ready", "exact"]).sort()
    )
    // One of them has had the conversation.
    expect(rows.filter((row) => / [1-9]\d* % +100 % +vllm/.test(row))).toHaveLength(1)
    expect(text).not.toContain("\u001b")
  })

  it("gives the same as JSON", async () => {
    const { code, text } = await ran(["--admin", `127.0.0.1:${adminPort}`, "--json"])
    expect(code).toBe(0)
    const { totals, workers } = JSON.parse(text) as {
      totals: { requests: number; errors: number }
      workers: ReadonlyArray<LiveWorker>
    }
    expect(totals).toMatchObject({ requests: 4, errors: 0 })
    expect(workers.map(({ state, trust, url }) => [url, state, trust])).toEqual(
      [...fleet.urls].sort().map((url) => [url, "ready", "exact"])
    )
  })

  it("says what to do where no router is, or something else", async () => {
    const closed = `http://127.0.0.1:${await freePort()}`
    const [nobody, front, engine, nowhere] = await Promise.all(
      [closed, router.url, fleet.urls[0]!, "http://"].map((given) => ran(["--admin", given]))
    )
    expect(nobody!.code).toBe(1)
    expect(nobody!.errors).toMatch(/No router answers at .*ECONNREFUSED.*Is one running there\?.*--admin http:/s)
    expect(front!.errors).toMatch(/There is no GET \/admin\/live here/)
    expect(engine!.errors).toMatch(/it answers 404 to GET \/admin\/live: Not Found\b/)
    expect(nowhere!.errors).toMatch(/--admin http:\/\/ is no address/)
  })

  it("is live in a terminal: follows the fleet, obeys keys, fits, survives its router, and leaves the terminal as it was", async () => {
    const top = Pty.warmpath(["top", "--admin", admin()], 120, 12)
    stop.push(top.stop)
    const rows = () => top.frame().filter((line) => fleet.urls.some((url) => line.startsWith(idOf(url))))
    await expect.poll(rows, soon).toHaveLength(3)
    expect(top.written()).toContain("\u001b[?1049h")
    expect(top.written()).toContain("\u001b[32mready")

    fleet.engines[0]!.crash()
    await expect.poll(() => top.frame()[0], soon).toMatch(/2 ready, 1 open/)
    top.press("ssss")
    await expect.poll(() => top.frame().at(-1), soon).toMatch(/s sort: name/)
    top.press("s")
    await fleet.engines[0]!.restart()
    await expect.poll(() => top.frame()[0], soon).toMatch(/3 ready/)

    top.press("p")
    await expect.poll(() => top.frame().at(-1), soon).toMatch(/^PAUSED · .*p go on/)
    const [held] = top.frame()
    await Chats.ask(router.url, { messages: [{ role: "user", content: "Once more" }] })
    top.press("p")
    await expect.poll(() => top.frame()[1], soon).toMatch(/requests\/s/)
    await expect.poll(() => top.frame()[0], soon).not.toBe(held)

    top.resize(60, 9)
    await expect.poll(() => top.frame().at(-1), soon).toMatch(/^1–2 of 3 · q quit/)
    expect(top.frame()).toHaveLength(9)
    expect(Math.max(...top.frame().map((line) => line.length))).toBeLessThanOrEqual(60)
    const [first] = rows()
    top.press("\u001b[B")
    await expect.poll(() => top.frame().at(-1), soon).toMatch(/^2–3 of 3/)
    expect(rows()[0]).not.toBe(first)
    top.resize(120, 12)

    await router.process.stop()
    await expect.poll(() => top.frame()[2], soon).toMatch(/^No word from the router for \d+ s, asking again: .*REFUSED/)
    router = await serve()
    await expect.poll(() => top.frame()[2], soon).toBe("")
    await expect.poll(() => top.frame()[0], soon).toMatch(/3 ready/)

    top.press("q")
    expect(await top.ended).toBe(0)
    expect(top.written()).toMatch(/\u001b\[\?25h\u001b\[\?1049l\s*$/)
  }, 90_000)

  it("leaves the terminal as it was on Ctrl-C, too", async () => {
    const top = Pty.warmpath(["top", "--admin", admin()], 80, 24)
    stop.push(top.stop)
    await expect.poll(() => top.frame().length, soon).toBeGreaterThan(3)
    top.press("\u0003")
    expect(await top.ended).toBe(0)
    expect(top.written()).toMatch(/\u001b\[\?1049l\s*$/)
  })
})
