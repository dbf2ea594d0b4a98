import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { afterEach, describe, expect, it } from "vitest"
import type { SimEngine } from "../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as TrueKeys from "./support/TrueKeys.ts"

const model = "sim/qwen3"
const truthOf = (engine: SimEngine) => TrueKeys.within(engine, 0, "device")

/** A stream of conversations that share, grow, branch and overflow the caches. Seeded. */
const conversation = (seed: number) => {
  let state = seed
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return Math.floor((state / 0x80000000) * below)
  }
  const topics = Array.from({ length: 6 }, (_, i) => `You are assistant ${i}. `.repeat(4 + i))
  const open: Array<Array<{ role: string; content: string }>> = []
  return () => {
    if (open.length < 8 && (open.length === 0 || random(3) === 0)) {
      open.push([{ role: "system", content: topics[random(topics.length)]! }])
    }
    const at = random(open.length)
    const messages = open[at]!
    messages.push({ role: "user", content: `Question ${random(1000)}: ${"why? ".repeat(1 + random(30))}` })
    const body = {
      model,
      messages: [...messages],
      max_tokens: 1 + random(40),
      ...(random(10) === 0 ? { cache_salt: `tenant-${random(2)}` } : {})
    }
    const answered = (text: string) => {
      messages.push({ role: "assistant", content: text })
      if (messages.length > 12) open.splice(at, 1)
    }
    return { body, answered }
  }
}

describe("the router's picture of each worker's cache", () => {
  let stop: Array<() => Promise<void>> = []
  afterEach(async () => {
    for (const close of stop.reverse()) await close()
    stop = []
  })

  const setUp = async (options: Partial<SimOptions>, knobs: Readonly<Record<string, unknown>> = {}) => {
    const fleet = await SimFleet.start({ engines: 2, speed: 20, ...options })
    stop.push(fleet.close)
    const router = await TestRouter.start({
      workers: fleet.urls.join(","),
      policy: "round-robin",
      hashSeed: 0,
      replayCheckMs: 200,
      ...knobs
    })
    stop.push(router.close)
    const equal = async (): Promise<boolean> => {
      for (const engine of fleet.engines) {
        const truth = truthOf(engine)
        const view = [...(await router.blocks(TestRouter.idOf(engine.url)))].sort()
        if (truth.length !== view.length || truth.some((key, i) => key !== view[i])) return false
      }
      return true
    }
    const next = conversation(7)
    const send = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const { answered, body } = next()
        const response = await fetch(`${router.url}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body)
        })
        const answer = (await response.json()) as { choices: Array<{ message: { content: string } }> }
        expect(response.status, JSON.stringify(answer)).toBe(200)
        answered(answer.choices[0]!.message.content)
      }
    }
    const total = async (counter: string): Promise<number> =>
      (await router.workers()).reduce((sum, { ranks }) => sum + Number(ranks[0]?.events?.[counter] ?? 0), 0)
    return { fleet, router, equal, send, total }
  }
  const soon = { timeout: 10_000, interval: 50 }

  it.each([
    ["map events, integer hashes, evictions", { blocks: 160, maxModelLen: 1_500 }],
    [
      "array events, digests as hashes, evictions",
      { blocks: 160, maxModelLen: 1_500, eventEncoding: "array", hashForm: "bytes" }
    ],
    ["a hash seed that no two engines share", { hashSeed: null, blocks: 400, maxModelLen: 1_500 }],
    ["large blocks", { blockSize: 64, blocks: 64, maxModelLen: 1_500 }]
  ] as ReadonlyArray<[string, Partial<SimOptions>]>)("equals it: %s", async (_name, options) => {
    const { equal, fleet, send, total } = await setUp(options)
    for (let round = 0; round < 3; round++) {
      await send(25)
      await expect.poll(equal, soon).toBe(true)
    }
    expect(fleet.engines.every((engine) => engine.cache().length > 10)).toBe(true)
    expect(await total("gaps")).toBe(0)
  })

  it("equals it again after events were dropped, doubled and overtaken, and no request failed", async () => {
    const { equal, fleet, send, total } = await setUp({ blocks: 200, maxModelLen: 1_500 })
    for (const engine of fleet.engines) {
      engine.setFaults({ drop: { probability: 0.15 }, duplicate: { probability: 0.1 }, reorder: { probability: 0.1 } })
    }
    await send(60)
    for (const engine of fleet.engines) {
      engine.setFaults({ drop: { probability: 0 }, duplicate: { probability: 0 }, reorder: { probability: 0 } })
    }
    await send(4)
    await expect.poll(equal, soon).toBe(true)
    expect(await total("gaps")).toBeGreaterThan(0)
    expect(await total("replays")).toBeGreaterThan(2)
  })

  it("equals it again when the very last event was the lost one", async () => {
    const { equal, fleet, send } = await setUp({})
    await send(6)
    await expect.poll(equal, soon).toBe(true)
    for (const engine of fleet.engines) engine.setFaults({ silent: true })
    await send(4)
    expect(await equal()).toBe(false)
    await expect.poll(equal, soon).toBe(true)
  })

  it("starts over when an engine restarts, and learns it anew", async () => {
    const { equal, fleet, send } = await setUp({})
    await send(10)
    await expect.poll(equal, soon).toBe(true)
    await fleet.engines[0]!.restart()
    await expect.poll(equal, soon).toBe(true)
    await send(10)
    await expect.poll(equal, soon).toBe(true)
  })

  it("never claims more than the truth when the past is lost, and equals it once the engine's cache is reset", async () => {
    const { equal, fleet, router, send, total } = await setUp({ bufferSteps: 4 })
    await send(10)
    await expect.poll(equal, soon).toBe(true)
    for (const engine of fleet.engines) engine.setFaults({ silent: true })
    await send(20)
    for (const engine of fleet.engines) engine.setFaults({ silent: false })
    await send(6)
    await expect.poll(() => total("purges"), soon).toBeGreaterThanOrEqual(2)
    for (const engine of fleet.engines) {
      const truth = new Set(truthOf(engine))
      const view = await router.blocks(TestRouter.idOf(engine.url))
      expect(view.every((key) => truth.has(key))).toBe(true)
    }
    for (const url of fleet.urls)
      expect((await fetch(`${url}/reset_prefix_cache`, { method: "POST" })).status).toBe(200)
    await send(10)
    await expect.poll(equal, soon).toBe(true)
  })

  it("is never mixed with what was guessed before events were heard", async () => {
    const fleet = await SimFleet.start({ engines: 1, speed: 20, blocks: 100, maxModelLen: 1_500, bufferSteps: 2 })
    stop.push(fleet.close)
    const engine = fleet.engines[0]!
    // The way to the engine's events, closed for now.
    let open = false
    const sockets = new Set<Socket>()
    const gate = async (target: string) => {
      const server = createServer((inner) => {
        sockets.add(inner)
        inner.on("error", () => inner.destroy())
        if (!open) return void inner.destroy()
        const outer = connect(Number(new URL(target).port), "127.0.0.1")
        sockets.add(outer)
        outer.on("error", () => inner.destroy())
        inner.on("close", () => outer.destroy())
        inner.pipe(outer).pipe(inner)
      })
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      stop.push(async () => {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      })
      return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
    }
    const events = {
      endpoint: await gate(engine.eventEndpoint),
      replayEndpoint: await gate(engine.replayEndpoint!),
      topic: engine.options.topic
    }
    const router = await TestRouter.start({ workers: [{ url: engine.url, events }], hashSeed: 0, replayCheckMs: 200 })
    stop.push(router.close)
    const id = TestRouter.idOf(engine.url)
    const next = conversation(3)
    const send = async () => {
      const { answered, body } = next()
      const response = await fetch(`${router.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) })
      answered(
        ((await response.json()) as { choices: Array<{ message: { content: string } }> }).choices[0]!.message.content
      )
    }
    for (let i = 0; i < 20; i++) await send()
    const truth = () => new Set(truthOf(engine))
    // Guesses, some of them wrong: answers took room, too.
    const before = await router.blocks(id, "?tier=guess")
    expect(await router.blocks(id)).toEqual([])
    expect(before.length).toBeGreaterThan(60)
    expect(before.every((key) => truth().has(key))).toBe(false)
    open = true
    await expect.poll(async () => (await router.worker(id)).ranks[0]?.trust, soon).toBe("exact")
    for (let i = 0; i < 4; i++) await send()
    await expect
      .poll(async () => {
        const view = await router.blocks(id)
        const cached = truth()
        return view.length > 0 && view.every((key) => cached.has(key))
      }, soon)
      .toBe(true)
  })

  it("is a guess where there are no events, never of more than the cache has room for, and mostly right", async () => {
    const { fleet, router, send } = await setUp({ events: false, blocks: 120, maxModelLen: 1_500 })
    await send(60)
    for (const engine of fleet.engines) {
      const truth = new Set(truthOf(engine))
      const view = await router.blocks(TestRouter.idOf(engine.url), "?tier=guess")
      expect(view.length).toBeGreaterThan(60)
      expect(view.length).toBeLessThanOrEqual(120)
      // Answers take room as well, which is not guessed.
      expect(view.filter((key) => truth.has(key)).length).toBeGreaterThan(view.length / 2)
    }
  })

  it("is found by a router that came late", async () => {
    const { equal, fleet, send } = await setUp({})
    await send(20)
    await expect.poll(equal, soon).toBe(true)
    const late = await TestRouter.start({ workers: fleet.urls.join(","), hashSeed: 0 })
    stop.push(late.close)
    for (const engine of fleet.engines) {
      const truth = truthOf(engine)
      await expect.poll(async () => [...(await late.blocks(TestRouter.idOf(engine.url)))].sort(), soon).toEqual(truth)
    }
  })
})
