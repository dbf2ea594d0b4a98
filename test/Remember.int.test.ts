import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as TestRouter from "./support/TestRouter.ts"

const model = "sim/qwen3"
const tokens = (name: number, count: number) =>
  Array.from({ length: count }, (_, i) => 1_000 + ((name * 7_919 + i) % 9_000))

type Blocks = Readonly<Record<"device" | "host" | "disk" | "external" | "guess", number>>

interface Held {
  readonly blocks: Blocks
  readonly tokens: Blocks
}

/** What `/admin/prefix` answers. */
interface Shown {
  readonly tokens: number
  readonly prompt: ReadonlyArray<{ readonly blockSize: number; readonly blocks: number }>
  readonly workers: ReadonlyArray<{ readonly id: string; readonly index: Held; readonly store: Held | null }>
  readonly elsewhere: ReadonlyArray<unknown>
}

interface Usage {
  readonly usage: {
    readonly prompt_tokens: number
    readonly prompt_tokens_details: { readonly cached_tokens: number } | null
  }
}

describe("a router with a store", () => {
  let stop: Array<() => Promise<void>> = []
  afterEach(async () => {
    for (const close of stop.reverse()) await close()
    stop = []
  })

  /** Two engines, and routers before them one after the other, with one file for a store. */
  const setUp = async (sim: Partial<SimOptions>, hasStore = true) => {
    const fleet = await SimFleet.start({ engines: 2, speed: 80, blocks: 1_000, maxModelLen: 4_000, ...sim })
    stop.push(fleet.close)
    const ids = fleet.urls.map(TestRouter.idOf)
    const dir = await mkdtemp(join(tmpdir(), "warmpath-"))
    stop.push(() => rm(dir, { recursive: true }))
    const store = hasStore ? `sqlite:${join(dir, "store.db")}` : "none"
    const start = async (knobs: Readonly<Record<string, unknown>> = {}) => {
      const given = { workers: fleet.urls.join(","), hashSeed: 0, store, storeLookupMs: 1_000, ...knobs }
      const router = await TestRouter.start(given)
      let isOpen = true
      const close = async () => {
        if (isOpen) await router.close()
        isOpen = false
      }
      stop.push(close)
      const admin = async (path: string, body?: unknown) => {
        const headers = { "content-type": "application/json" }
        const sent = body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) }
        const response = await fetch(`${router.adminUrl}${path}`, sent)
        return { status: response.status, ...((await response.json()) as Shown) }
      }
      /** What the index, or the store, says that each engine holds of a prompt, at its device or by guess. */
      const held = async (prompt: ReadonlyArray<number>, source: "index" | "store") => {
        const { workers } = await admin("/admin/prefix", { model, tokens: prompt })
        return ids.map((id) => {
          const { device = -1, guess = -1 } = workers.find((each) => each.id === id)?.[source]?.blocks ?? {}
          return Math.max(device, guess)
        })
      }
      const ask = async (prompt: ReadonlyArray<number>, url = router.url) => {
        const response = await fetch(`${url}/v1/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model, prompt, max_tokens: 2 })
        })
        const { usage } = (await response.json()) as Usage
        return {
          worker: response.headers.get("x-warmpath-worker"),
          cached: usage.prompt_tokens_details?.cached_tokens
        }
      }
      const rank = async (id: string) => (await router.worker(id)).ranks[0]!
      return { router, admin, ask, close, held, rank }
    }
    return { fleet, ids, start }
  }

  it("finds after a restart what engines hold that tell nothing", async () => {
    const { ids, start } = await setUp({ events: false })
    const first = await start()
    const prompts = [0, 1, 2, 3, 4, 5].map((name) => tokens(name, 1_200))
    const homes: Array<number> = []
    for (const prompt of prompts) homes.push(ids.indexOf((await first.ask(prompt)).worker!))
    const there = homes.map((home) => ids.map((_, i) => (i === home ? 75 : 0)))
    expect(new Set(homes).size).toBe(2)
    await expect.poll(() => Promise.all(prompts.map((prompt) => first.held(prompt, "store")))).toEqual(there)
    await first.close()
    const second = await start()
    await expect.poll(() => Promise.all(prompts.map((prompt) => second.held(prompt, "index")))).toEqual(there)
    for (const [i, prompt] of prompts.entries()) {
      const { cached, worker } = await second.ask([...prompt, ...tokens(50 + i, 40)])
      expect([worker, cached]).toEqual([ids[homes[i]!], 1_200])
    }
    // What it recalled it remembers, in its turn.
    await expect.poll(() => second.held(prompts[0]!, "store")).toEqual(there[0])
    await second.close()
    const third = await start()
    await expect.poll(() => Promise.all(prompts.map((prompt) => third.held(prompt, "index")))).toEqual(there)
  })

  it("knows after a restart what engines held whose events do not reach back far enough", async () => {
    const { fleet, ids, start } = await setUp({ bufferSteps: 3, stepTokens: 256 })
    const first = await start()
    const prompts = [0, 1].map((name) => tokens(name, 1_200))
    for (const [i, prompt] of prompts.entries()) await first.ask(prompt, fleet.urls[i]!)
    for (const [i, prompt] of prompts.entries()) {
      await expect.poll(async () => (await first.held(prompt, "store"))[i]).toBe(75)
    }
    await first.close()
    const second = await start()
    for (const id of ids) {
      await expect.poll(async () => (await second.rank(id)).events).toMatchObject({ health: "whole", complete: false })
      await expect.poll(async () => (await second.rank(id)).blocks["guess"]).toBeGreaterThan(74)
    }
    for (const [i, prompt] of prompts.entries()) {
      expect(await second.ask([...prompt, ...tokens(50 + i, 40)])).toEqual({ worker: ids[i], cached: 1_200 })
    }
  })

  it("believes events that tell all there is, and not what was remembered", async () => {
    const { fleet, ids, start } = await setUp({})
    const first = await start()
    await first.ask(tokens(0, 1_200), fleet.urls[0]!)
    await expect.poll(() => first.held(tokens(0, 1_200), "store")).toEqual([75, 0])
    await first.close()
    // While no router listens, the engine drops it for others.
    for (let name = 1; name < 20; name++) await first.ask(tokens(name, 1_200), fleet.urls[0]!)
    const second = await start()
    await expect.poll(async () => (await second.rank(ids[0]!)).events).toMatchObject({ complete: true })
    await expect.poll(async () => (await second.rank(ids[0]!)).blocks["guess"]).toBe(0)
    expect(await second.held(tokens(0, 1_200), "index")).toEqual([0, 0])
  })

  it("takes nothing from the former life of an engine that restarted while no router was there", async () => {
    const { fleet, ids, start } = await setUp({ events: false })
    const first = await start()
    const prompts = [0, 1, 2, 3, 4, 5].map((name) => tokens(name, 1_200))
    const homes: Array<number> = []
    for (const prompt of prompts) homes.push(ids.indexOf((await first.ask(prompt)).worker!))
    const there = homes.map((home) => ids.map((_, i) => (i === home ? 75 : 0)))
    expect(new Set(homes).size).toBe(2)
    await expect.poll(() => Promise.all(prompts.map((prompt) => first.held(prompt, "store")))).toEqual(there)
    await first.close()
    const written = Math.floor(Date.now() / 1_000)
    // Stores tell seconds.
    await expect.poll(() => Math.floor(Date.now() / 1_000), { timeout: 3_000 }).toBeGreaterThan(written)
    await fleet.engines[0]!.restart()
    const second = await start()
    await expect
      .poll(() => Promise.all(prompts.map((prompt) => second.held(prompt, "index"))))
      .toEqual(there.map(([, other]) => [0, other]))
  })

  it("asks the store for what its index has no room for", async () => {
    const { fleet, ids, start } = await setUp({ blocks: 2_000 })
    // Room for some four hundred runs of blocks.
    const { ask, held } = await start({ indexBytesMax: 1 << 20, workersMax: 8_192 })
    const prompts = [1, 2, 3, 4].map((name) => tokens(name, 1_600))
    const there = [0, 1, 0, 1].map((home) => (home === 0 ? [100, 0] : [0, 100]))
    for (const [i, prompt] of prompts.entries()) await ask(prompt, fleet.urls[i % 2]!)
    await expect.poll(() => Promise.all(prompts.map((prompt) => held(prompt, "store")))).toEqual(there)
    for (let i = 0; i < 600; i += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, n) => ask(tokens(100 + i + n, 34), fleet.urls[n % 2]!)))
    }
    await expect
      .poll(async () => (await Promise.all(prompts.map((prompt) => held(prompt, "index")))).flat())
      .toEqual(new Array(8).fill(0))
    for (const [i, prompt] of prompts.entries()) {
      expect(await ask([...prompt, ...tokens(50 + i, 20)])).toEqual({ worker: ids[i % 2], cached: 1_600 })
    }
  })

  it("says who holds a prompt as a request has it: its messages, its tools and its salt", async () => {
    const { start } = await setUp({}, false)
    const { admin, router } = await start()
    const messages = [
      { role: "system", content: "You answer in one word. ".repeat(40) },
      { role: "user", content: "Is it warm?" }
    ]
    const tools = [{ type: "function", function: { name: "warmth", parameters: { type: "object", properties: {} } } }]
    const body = { model, messages, tools, cache_salt: "mine" }
    const sent = await fetch(`${router.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...body, max_tokens: 2 })
    })
    const worker = sent.headers.get("x-warmpath-worker")
    const { usage } = (await sent.json()) as Usage
    const held = ({ workers }: Shown) => workers.find(({ id }) => id === worker)!.index.blocks.device
    await expect.poll(async () => held(await admin("/admin/prefix", body))).toBe(Math.floor(usage.prompt_tokens / 16))
    const shown = await admin("/admin/prefix", body)
    expect(shown).toMatchObject({ status: 200, tokens: usage.prompt_tokens, exact: true, store: null })
    expect(held(await admin("/admin/prefix", { ...body, cache_salt: "another" }))).toBe(0)
    const query = new URLSearchParams({ model, messages: JSON.stringify(messages), cache_salt: "mine" })
    const plain = await admin(`/admin/prefix?${query}`)
    // Tools come behind the system's message.
    expect(plain.tokens).toBeLessThan(shown.tokens)
    expect(held(plain)).toBeLessThan(held(shown))
    expect(held(plain)).toBeGreaterThan(5)
    const text = await admin(`/admin/prefix?${new URLSearchParams({ model, prompt: "Is it warm? ".repeat(90) })}`)
    expect(text.prompt.map(({ blocks }) => blocks > 10)).toEqual([true])
  })
})
