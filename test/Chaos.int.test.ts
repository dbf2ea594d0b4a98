import { setTimeout as sleep } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as TrueKeys from "./support/TrueKeys.ts"

const model = "sim/qwen3"
const chaosMs = 9_000
const clients = 24

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

/** Heap in use once garbage is gone. */
const heldBytes = (): number => {
  collect()
  return process.memoryUsage().heapUsed
}

const randomOf = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** How a request ended. `cut`: a plain answer that had begun, whose length the client saw was not reached. */
type Ending = "whole" | "error" | "errorRecord" | "aborted" | "cut"

describe("a fleet where everything goes wrong at once", () => {
  let stop: Array<() => Promise<void>> = []
  afterEach(async () => {
    for (const close of stop.reverse()) await close()
    stop = []
  })

  it("leaves nothing behind: every request has one end, every counter returns to 0, every view is true again", async () => {
    const random = randomOf(20_261)
    const fleet = await SimFleet.start({
      engines: 4,
      speed: 20,
      blocks: 400,
      maxModelLen: 3_000,
      outputTokens: 30,
      loras: ["poet"]
    })
    stop.push(fleet.close)
    const router = await TestRouter.start({
      workers: fleet.urls.slice(0, 2).join(","),
      modelAliases: { nick: model, bard: "poet" },
      hashSeed: 0,
      replayCheckMs: 200,
      probeIntervalMs: 100,
      breakerOpenMsMin: 100,
      breakerOpenMsMax: 400,
      joinRetryMsMin: 50,
      joinRetryMsMax: 200,
      workerDrainMs: 1_000
    })
    stop.push(router.close)
    const admin = (method: string, path: string, body?: unknown) =>
      fetch(`${router.adminUrl}/admin/workers${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } })
      }).then((response) => response.text())
    const list = (url: string) => admin("POST", "", { url })

    const endings: Record<Ending, number> = { whole: 0, error: 0, errorRecord: 0, aborted: 0, cut: 0 }
    const odd: Array<string> = []
    const openings = Array.from(
      { length: 5 },
      (_, i) => `You are assistant ${i}. ${"Be kind and clear. ".repeat(9 + i)}`
    )
    const bodyOf = (pick: (below: number) => number): readonly [string, Record<string, unknown>] => {
      const rest = {
        model: [model, model, model, "nick", "poet", "bard"][pick(6)]!,
        stream: pick(2) === 0,
        max_tokens: 1 + pick(40),
        ...(pick(8) === 0 ? { cache_salt: `tenant-${pick(2)}` } : {})
      }
      const text = `${openings[pick(openings.length)]!} Question ${pick(60)}: ${"why? ".repeat(pick(60))}`
      const messages = [
        { role: "system", content: openings[pick(openings.length)]! },
        { role: "user", content: text }
      ]
      switch (pick(5)) {
        case 0:
          return ["completions", { ...rest, prompt: Array.from({ length: 1 + pick(300) }, (_, i) => 100 + (i % 90)) }]
        case 1:
          return ["completions", { ...rest, prompt: [text, `${text} Again.`] }]
        default:
          return ["chat/completions", { ...rest, messages }]
      }
    }
    const ask = async (pick: (below: number) => number, mayAbort: boolean): Promise<Ending> => {
      const [path, body] = bodyOf(pick)
      const control = new AbortController()
      if (mayAbort && pick(5) === 0) setTimeout(() => control.abort(), pick(60)).unref()
      let status = 0
      let text = ""
      try {
        const response = await fetch(`${router.url}/v1/${path}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
          signal: control.signal
        })
        status = response.status
        text = await response.text()
      } catch {
        if (control.signal.aborted) return "aborted"
        if (status !== 200 || body["stream"] === true) odd.push(`cut after ${status}: ${JSON.stringify(body)}`)
        return "cut"
      }
      if (status !== 200) {
        const { error } = JSON.parse(text) as { error?: { message?: unknown } }
        if (typeof error?.message !== "string") odd.push(`${status} ${text}`)
        return "error"
      }
      if (body["stream"] !== true) {
        if (!Array.isArray((JSON.parse(text) as { choices?: unknown }).choices)) odd.push(text)
        return "whole"
      }
      const records = text.split("\n\n").filter((record) => record !== "")
      // A record that an engine's death cut in two is the one thing that may not parse.
      const broken = records.filter((record, i) => {
        if (record === "data: [DONE]") return i !== records.length - 1
        try {
          JSON.parse(record.slice(6))
          return false
        } catch {
          return true
        }
      })
      const failed = records.at(-1)!.startsWith('data: {"error"')
      if (broken.length > (failed ? 1 : 0)) odd.push(text)
      if (failed) return "errorRecord"
      if (records.at(-1) !== "data: [DONE]") odd.push(text)
      return "whole"
    }

    for (let i = 0; i < 20; i++) await ask(random, false)
    const heapBefore = heldBytes()
    const until = performance.now() + chaosMs
    const client = async (seed: number) => {
      const pick = randomOf(seed)
      while (performance.now() < until) endings[await ask(pick, true)]++
    }
    const calm = {
      drop: {},
      duplicate: {},
      reorder: {},
      error: {},
      die: {},
      silent: false,
      slow: 1
    }
    const trouble = async () => {
      while (performance.now() < until) {
        const engine = fleet.engines[random(4)]!
        const id = TestRouter.idOf(engine.url)
        switch (random(14)) {
          case 0:
            engine.setFaults({ drop: { probability: 0.3 }, duplicate: { probability: 0.2 } })
            break
          case 1:
            engine.setFaults({ reorder: { probability: 0.3 } })
            break
          case 2:
            engine.setFaults({ error: { probability: 0.3, status: [500, 503, 429, 400][random(4)]! } })
            break
          case 3:
            engine.setFaults({ die: { probability: 0.3, bytes: random(3) * 400 } })
            break
          case 4:
            engine.setFaults({ silent: true })
            break
          case 5:
            engine.setFaults({ stallMs: 100 + random(200), slow: 1 + random(4) })
            break
          case 6:
            if (engine.alive) engine.crash({ restartAfterMs: 50 + random(300), newEventPorts: random(2) === 0 })
            break
          case 7:
            await admin("DELETE", `/${id}?drain=false`)
            break
          case 8:
            await admin("DELETE", `/${id}?drain=true`)
            break
          case 9:
          case 10:
            await list(engine.url)
            break
          case 11:
            await router.apply({
              modelAliases: random(2) === 0 ? { nick: model, bard: "poet" } : { nick: "poet", bard: model }
            })
            break
          default:
            engine.setFaults(calm)
        }
        await sleep(20 + random(40))
      }
    }
    await Promise.all([...Array.from({ length: clients }, (_, i) => client(i + 1)), trouble()])

    // Peace: every engine lives and is listed, nothing is wrong any more.
    for (const engine of fleet.engines) engine.setFaults(calm)
    await expect.poll(() => fleet.engines.every((engine) => engine.alive), { timeout: 3_000 }).toBe(true)
    const soon = { timeout: 8_000, interval: 50 }
    await expect
      .poll(async () => {
        for (const url of fleet.urls) await list(url)
        const workers = await router.workers()
        return workers.length === 4 && workers.every(({ state }) => state === "ready")
      }, soon)
      .toBe(true)

    expect(odd).toEqual([])
    expect(endings.whole).toBeGreaterThan(100)
    for (const kind of ["error", "errorRecord", "aborted"] as const)
      expect([kind, endings[kind] > 0]).toEqual([kind, true])

    const left = async () => ({
      router: (await router.workers()).map(({ inFlight, ranks: [rank] }) => [
        inFlight,
        rank?.ledger?.queued,
        rank?.ledger?.active,
        rank?.ledger?.activeTokens
      ]),
      engines: fleet.engines.map((engine) => [engine.load, engine.state().running, engine.state().waiting])
    })
    const none = { router: Array(4).fill([0, 0, 0, 0]), engines: Array(4).fill([0, 0, 0]) }
    await expect.poll(left, soon).toEqual(none)
    const metrics = async () => (await fetch(`${router.adminUrl}/metrics`)).text()
    await expect.poll(metrics, soon).toMatch(/^warmpath_requests_in_flight 0$/m)

    // What was lost while an engine's buffer was gone is not announced again: start those caches afresh.
    for (const url of fleet.urls)
      expect((await fetch(`${url}/reset_prefix_cache`, { method: "POST" })).status).toBe(200)
    for (let i = 0; i < 40; i++) expect(await ask(random, false)).toBe("whole")
    await expect.poll(left, soon).toEqual(none)
    const views = async () => {
      const out: Array<boolean> = []
      for (const engine of fleet.engines) {
        const truth = TrueKeys.within(engine, 0, "device")
        const view = [...(await router.blocks(TestRouter.idOf(engine.url)))].sort()
        out.push(truth.length === view.length && truth.every((key, i) => key === view[i]))
      }
      return out
    }
    await expect.poll(views, soon).toEqual([true, true, true, true])

    // Slots of workers that left are used again, however often they came and went.
    const slots = (await router.workers()).map((worker) => worker.ranks[0]!.slot)
    expect(slots.every((slot) => slot < 12)).toBe(true)
    expect(heldBytes() - heapBefore).toBeLessThan(100 * 2 ** 20)
  }, 60_000)
})
