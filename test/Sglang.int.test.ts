import OpenAI, { APIError } from "openai"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as Chats from "./support/Chats.ts"
import * as EngineProxy from "./support/EngineProxy.ts"
import * as Processes from "./support/Processes.ts"
import * as TestRouter from "./support/TestRouter.ts"

describe("SGLang, from the command line", () => {
  const running: Array<Processes.Running> = []
  let router: Processes.Running
  let urls: ReadonlyArray<string>
  let adminUrl: string
  let client: OpenAI
  const run = (...args: ReadonlyArray<string>): Processes.Running => {
    const started = Processes.warmpath(args)
    running.push(started)
    return started
  }

  beforeAll(async () => {
    const sim = run("sim-engine", "--dialect", "sglang", "--engines", "2", "--port", "0", "--speed", "20")
    const [, listed] = await sim.says(/warmpath serve ((?:--worker \S+ ?)+)/)
    urls = [...listed!.matchAll(/--worker (\S+)/g)].map(([, url]) => url!)
    const workers = urls.flatMap((url) => ["--worker", url])
    router = run("serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0", ...workers)
    const [, url, admin] = await router.says(/at (http:\S+)\/v1 · admin at (http:\/\/[^\s/]+)/)
    adminUrl = admin!
    client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 })
    await router.says(/tokenised here/)
    for (const each of urls) await router.says(new RegExp(`"${TestRouter.idOf(each)}" is ready`))
  })
  afterAll(async () => {
    await Promise.all(running.map((each) => each.stop()))
  })

  const admin = async (path: string) => (await fetch(adminUrl + path)).text()
  const workers = async () =>
    (JSON.parse(await admin("/admin/workers")) as { workers: ReadonlyArray<TestRouter.AdminWorker> }).workers
  const long = "Tell me all there is to know about the sea, and leave out nothing. ".repeat(12)
  const messages = [{ role: "user" as const, content: long }]

  it("serves the official OpenAI client, whole and streamed, from the same cache", async () => {
    const whole = await client.chat.completions.create({ model: Chats.model, messages, max_tokens: 12 })
    expect(whole.usage?.completion_tokens).toBe(12)
    let text = ""
    let usage: OpenAI.CompletionUsage | null | undefined
    const stream = await client.chat.completions.create({
      model: Chats.model,
      messages,
      max_tokens: 12,
      stream: true,
      stream_options: { include_usage: true }
    })
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ""
      usage = chunk.usage ?? usage
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    expect(usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(0.9 * whole.usage!.prompt_tokens)
    let plain = ""
    let records = 0
    for await (const chunk of await client.chat.completions.create({
      model: Chats.model,
      messages,
      max_tokens: 12,
      stream: true
    })) {
      records++
      expect(chunk.choices).toHaveLength(1)
      expect(chunk.usage ?? null).toBeNull()
      plain += chunk.choices[0]!.delta.content ?? ""
    }
    expect(plain).toBe(text)
    expect(records).toBeGreaterThan(3)
    const completion = await client.completions.create({ model: Chats.model, prompt: long, max_tokens: 5 })
    expect(completion.usage?.completion_tokens).toBe(5)
  })

  it("gives its flat errors the form that OpenAI clients read", async () => {
    const refused = client.chat.completions.create({ model: Chats.model, messages, max_tokens: 10_000_000 })
    const error = await refused.then(
      () => null,
      (cause: unknown) => cause as APIError
    )
    expect(error).toBeInstanceOf(APIError)
    expect(error).toMatchObject({ status: 400, type: "BadRequestError" })
    expect(error!.message).toContain("maximum context length")
    // The engine itself says it flat.
    const flat = await fetch(`${urls[0]}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: Chats.model, messages, max_tokens: 10_000_000 })
    })
    expect(await flat.json()).toMatchObject({ object: "error", code: 400 })
  })

  it("is shown for what it is, and known exactly, by every conversation", async () => {
    const talks = Array.from({ length: 6 }, (_, i) => Chats.conversation(() => client.baseURL.slice(0, -3), `Sea ${i}`))
    // All at once, so that both workers get some.
    const homes = (await Promise.all(talks.map(({ turn }) => turn()))).map(({ worker }) => worker)
    expect(new Set(homes).size).toBe(2)
    for (const [i, { turn }] of talks.entries()) {
      const { cachedTokens, promptTokens, worker } = await turn()
      expect(worker).toBe(homes[i])
      expect(cachedTokens).toBeGreaterThan(0.6 * promptTokens)
    }
    for (const { blockSize, engine, ranks } of await workers()) {
      expect([engine, blockSize]).toEqual(["sglang", 16])
      expect(ranks[0]).toMatchObject({
        trust: "exact",
        why: "",
        credit: 1,
        events: { health: "whole", complete: true, hashing: "sglang" }
      })
    }
  })

  it("has its secrets neither shown nor logged", async () => {
    const info = await (await fetch(`${urls[0]}/server_info`)).text()
    expect(info).toContain("sim-secret")
    const shown = await Promise.all(["/admin/workers", "/admin/config", "/metrics"].map(admin))
    for (const text of [...shown, router.output()]) expect(text).not.toContain("sim-secret")
  })

  it("keeps its log short: a few lines for each worker, none for requests", async () => {
    const lines = () => router.output().split("\n").length
    const before = lines()
    for (let i = 0; i < 10; i++) {
      await client.chat.completions.create({
        model: Chats.model,
        messages: [{ role: "user", content: `${i} ${long}` }],
        max_tokens: 3
      })
    }
    expect(lines()).toBe(before)
    for (const url of urls) {
      const said = router
        .output()
        .split("\n")
        .filter((line) => line.includes(`Blocks of ${TestRouter.idOf(url)} are hashed with`))
      expect(said).toHaveLength(1)
    }
  })
})

describe("a fleet of several engines", () => {
  let stop: Array<() => Promise<void>> = []
  afterEach(async () => {
    for (const close of stop.reverse()) await close()
    stop = []
  })

  const engine = async (options: Partial<SimOptions>) => {
    const fleet = await SimFleet.start({ speed: 20, ...options })
    stop.push(fleet.close)
    const proxy = await EngineProxy.start(fleet.urls[0]!)
    stop.push(proxy.close)
    return { engine: fleet.engines[0]!, proxy }
  }

  it("of vLLM and SGLang takes one order of priorities, and gives each engine its own", async () => {
    const [one, two] = [
      await engine({ priorityScheduling: true }),
      await engine({ dialect: "sglang", blockSize: 32, blocks: 1_000, priorityScheduling: true })
    ]
    const router = await TestRouter.start({
      workers: [one, two].map(({ proxy }) => proxy.url).join(","),
      policy: "round-robin"
    })
    stop.push(router.close)
    for (const priority of [3, -2, 0, 3, -2, 0]) {
      await Chats.ask(router.url, { messages: [{ role: "user", content: "quick" }], priority })
    }
    const priorities = ({ proxy }: typeof one) =>
      proxy.asked.map(({ body }) => (JSON.parse(body) as { priority: number }).priority)
    expect(priorities(one)).toEqual([3, 0, -2])
    expect(priorities(two)).toEqual([2, -3, 0])
  })

  it("of vLLM and SGLang, whose blocks have different sizes, keeps each conversation where it is", async () => {
    const [one, two] = [await engine({}), await engine({ dialect: "sglang", blockSize: 64, blocks: 1_000 })]
    const router = await TestRouter.start({ workers: [one, two].map(({ proxy }) => proxy.url).join(",") })
    stop.push(router.close)
    const talks = Array.from({ length: 6 }, (_, i) => Chats.conversation(() => router.url, `Hill ${i}`, 60))
    const homes = (await Promise.all(talks.map(({ turn }) => turn()))).map(({ worker }) => worker)
    expect(new Set(homes).size).toBe(2)
    for (let round = 0; round < 3; round++) {
      for (const [i, { turn }] of talks.entries()) {
        const { cachedTokens, promptTokens, worker } = await turn()
        expect(worker).toBe(homes[i])
        expect(cachedTokens).toBeGreaterThan(0.6 * promptTokens)
      }
    }
    for (const { blockSize, engine, ranks } of await router.workers()) {
      expect(blockSize).toBe(engine === "sglang" ? 64 : 16)
      expect(ranks[0]).toMatchObject({ trust: "exact", credit: 1, error: { overTokens: 0 } })
    }
  })

  it("with random hash seeds works as any, and each worker's is told of once", async () => {
    const fleet = await SimFleet.start({ engines: 2, speed: 20, hashSeed: null })
    stop.push(fleet.close)
    const workers = fleet.urls.flatMap((url) => ["--worker", url])
    const router = Processes.warmpath([
      ...["serve", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--policy", "round-robin"],
      ...workers
    ])
    stop.push(router.stop)
    const [, url, adminUrl] = await router.says(/at (http:\S+)\/v1 · admin at (http:\/\/[^\s/]+)/)
    await router.says(/tokenised here/)
    for (const each of fleet.urls)
      await router.says(new RegExp(`cache of worker "${TestRouter.idOf(each)}" is known exactly`))
    const talks = [0, 1, 2].map((i) => Chats.conversation(() => url!, `Well ${i}`))
    // Three conversations over two workers: each comes to both.
    for (let round = 0; round < 6; round++) for (const { turn } of talks) await turn()
    const shown = (await (await fetch(`${adminUrl}/admin/workers`)).json()) as {
      workers: ReadonlyArray<TestRouter.AdminWorker>
    }
    for (const { id, ranks } of shown.workers) {
      expect(ranks[0]).toMatchObject({ trust: "exact", error: { deliveredShare: 1 } })
      expect(ranks[0]!.events!.hashing).toBe("random or unknown hash seed")
      expect(ranks[0]!.error.samples).toBeGreaterThan(3)
      const said = router
        .output()
        .split("\n")
        .filter((line) => line.includes(`Blocks of ${id} are hashed with: random`))
      expect(said).toHaveLength(1)
    }
  })
})
