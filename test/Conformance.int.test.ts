/**
 * Every dialect × every fault, on simulated engines of all dialects behind one router, over real sockets.
 *
 * In each case all engines suffer the same fault while requests go round them; no request may fail; and when it is over
 * the router's view of every engine must equal its true cache again. How long that took is printed at the end.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { FaultSpec } from "../loadtest/fleet/Faults.ts"
import type { SimEngine } from "../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../loadtest/fleet/SimOptions.ts"
import * as Random from "../loadtest/Random.ts"
import * as TestRouter from "./support/TestRouter.ts"
import * as TrueKeys from "./support/TrueKeys.ts"

const model = "sim/qwen3"

const dialects: Readonly<Record<string, Partial<SimOptions>>> = {
  "vLLM, arrays": { eventEncoding: "array", hashForm: "int" },
  "vLLM, maps, digests, any seed": { hashForm: "bytes", hashSeed: null },
  "vLLM, sliding window beside": { slidingWindow: 64 },
  "vLLM, host and disk by hash": { blocks: 110, hostBlocks: 60, diskBlocks: 40 },
  "vLLM, two ranks": { ranks: 2 },
  "SGLang, arrays": { dialect: "sglang", eventEncoding: "array", blockSize: 8, blocks: 300 },
  "SGLang, maps, host": { dialect: "sglang", blocks: 110, hostBlocks: 60 },
  "TensorRT-LLM": { dialect: "trtllm", blockSize: 32, blocks: 80 }
}
const common: Partial<SimOptions> = { speed: 40, blocks: 160, maxModelLen: 1_200, outputTokens: 20 }

/** Conversations that share, grow and branch; `fresh` ones share nothing with what was before. Seeded. */
const traffic = () => {
  const random = Random.make(11)
  const below = (count: number) => Math.floor(random() * count)
  const topics = Array.from({ length: 6 }, (_, i) => `You are assistant ${i}. `.repeat(4 + i))
  const open: Array<Array<{ role: string; content: string }>> = []
  let count = 0
  return (fresh: boolean): Record<string, unknown> => {
    count++
    const rest = { model, max_tokens: 1 + below(20), ...(below(8) === 0 ? { cache_salt: `tenant-${below(2)}` } : {}) }
    if (fresh) {
      return {
        ...rest,
        messages: [{ role: "user", content: `${count}: ${`fresh ${count} `.repeat(100 + below(60))}` }]
      }
    }
    if (open.length < 8) open.push([{ role: "system", content: topics[below(topics.length)]! }])
    const messages = open[below(open.length)]!
    messages.push({ role: "user", content: `Question ${count}: ${"why? ".repeat(1 + below(30))}` })
    if (messages.length > 9) open.splice(open.indexOf(messages), 1)
    return { ...rest, messages: [...messages] }
  }
}

interface Case {
  readonly name: string
  /** Strikes before the requests of the case are sent. */
  readonly strike: (engine: SimEngine) => unknown
  /** Strikes while they are under way. */
  readonly during?: (engine: SimEngine) => unknown
  /** What stays wrong while the view heals, and is made good when the case is over. */
  readonly stays?: FaultSpec
  /** What is lost for good: only when the cache has turned over are all its blocks announced again. */
  readonly loses?: boolean
}

const over: FaultSpec = {
  drop: { probability: 0 },
  duplicate: { probability: 0 },
  reorder: { probability: 0 },
  garbage: { probability: 0 },
  silent: false,
  delayMs: 0,
  failReplays: 0,
  breakReplays: 0
}

/** Those that need many replays first: each publisher's budget of them is full then, and fills again slowly. */
const cases: ReadonlyArray<Case> = [
  { name: "evictions only", strike: () => {} },
  {
    name: "no replay service",
    strike: (engine) => engine.setFaults({ replay: "absent", drop: { next: 2 } }),
    stays: { replay: "absent" },
    loses: true
  },
  {
    name: "replay answers once only",
    strike: (engine) => engine.setFaults({ replay: "oneShot", drop: { probability: 0.2 } }),
    stays: { replay: "oneShot" },
    loses: true
  },
  {
    name: "events lost, doubled, overtaken",
    strike: (engine) =>
      engine.setFaults({ drop: { probability: 0.2 }, duplicate: { probability: 0.1 }, reorder: { probability: 0.1 } })
  },
  { name: "events late", strike: (engine) => engine.setFaults({ delayMs: 150 }) },
  { name: "silence to the end", strike: (engine) => engine.setFaults({ silent: true }) },
  {
    name: "replays fail, then break off",
    strike: (engine) => engine.setFaults({ drop: { next: 3 }, failReplays: 1, breakReplays: 1 })
  },
  { name: "sockets flap", strike: (engine) => engine.setFaults({ flap: { everyMs: 120, forMs: 1_200 } }) },
  { name: "cache reset", strike: (engine) => expect.poll(() => engine.reset()).toBe(true) },
  { name: "flood of events", strike: (engine) => engine.setFaults({ flood: { batches: 3_000, blocks: 16 } }) },
  { name: "engine restarts", strike: (engine) => engine.restart() },
  {
    name: "buffer too short",
    strike: (engine) => engine.setFaults({ silent: true }),
    during: (engine) => engine.setFaults({ ringShort: 1 }),
    loses: true
  },
  { name: "payloads no msgpack", strike: (engine) => engine.setFaults({ garbage: { next: 2 } }), loses: true }
]

describe("the router's view of every engine, whatever happens to its events", () => {
  const engines = new Map<string, SimEngine>()
  const closing: Array<() => Promise<void>> = []
  const healedMs = new Map<string, Map<string, number>>()
  const next = traffic()
  let router: TestRouter.TestRouter

  beforeAll(async () => {
    for (const [name, options] of Object.entries(dialects)) {
      const fleet = await SimFleet.start({ ...common, ...options })
      closing.push(fleet.close)
      engines.set(name, fleet.engines[0]!)
      healedMs.set(name, new Map())
    }
    const workers = [...engines.values()].map(({ eventEndpoint, options, replayEndpoint, url }) =>
      // Nothing it answers says where its events are.
      options.dialect === "trtllm"
        ? { url, events: { endpoint: eventEndpoint, replayEndpoint, topic: options.topic } }
        : { url }
    )
    router = await TestRouter.start({
      workers,
      policy: "round-robin",
      hashSeed: 0,
      replayCheckMs: 200,
      replayTimeoutMs: 300,
      probeIntervalMs: 100,
      breakerOpenMsMin: 100,
      joinRetryMsMin: 50
    })
    closing.push(router.close)
  })
  afterAll(async () => {
    for (const close of closing.reverse()) await close()
    const names = cases.map(({ name }) => name)
    const wide = Math.max(...names.map((name) => name.length))
    const heads = [...healedMs.keys()]
    console.log(
      [
        "Time to heal, ms, from the end of the fault to the view that equals the cache",
        ...heads.map((head, i) => `  ${i + 1} ${head}`)
      ].join("\n")
    )
    console.log([" ".repeat(wide), ...heads.map((_, i) => String(i + 1).padStart(7))].join(""))
    for (const name of names) {
      const row = heads.map((head) => String(Math.round(healedMs.get(head)!.get(name) ?? Number.NaN)).padStart(7))
      console.log(name.padEnd(wide) + row.join(""))
    }
  })

  /** Sends requests, some at once; each must be answered. */
  const send = async (count: number, fresh = false): Promise<void> => {
    let left = count
    const one = async (): Promise<void> => {
      while (left-- > 0) {
        const response = await fetch(`${router.url}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(next(fresh))
        })
        expect(response.status, await response.text()).toBe(200)
      }
    }
    await Promise.all([one(), one(), one(), one()])
  }

  const isTrue = async (engine: SimEngine): Promise<boolean> => {
    const id = TestRouter.idOf(engine.url)
    for (let rank = 0; rank < engine.options.ranks; rank++) {
      for (const tier of ["device", "host", "disk"] as const) {
        const view = await router.blocks(id, `?rank=${rank}&tier=${tier}`)
        const truth = TrueKeys.within(engine, rank, tier)
        if (view.length !== truth.length) return false
        const sorted = [...view].sort()
        if (truth.some((key, i) => key !== sorted[i])) return false
      }
    }
    return true
  }

  /** Polls all engines until each view is its cache, and notes when each was so first. */
  const healed = async (name: string, beganMs: number, patienceMs: number): Promise<ReadonlyArray<string>> => {
    const wrong = new Set(engines.keys())
    const until = performance.now() + patienceMs
    while (wrong.size > 0 && performance.now() < until) {
      for (const dialect of wrong) {
        if (!(await isTrue(engines.get(dialect)!))) continue
        wrong.delete(dialect)
        healedMs.get(dialect)!.set(name, performance.now() - beganMs)
      }
      if (wrong.size > 0) await sleep(20)
    }
    return [...wrong]
  }

  /** What is different, and what the router thinks of it. */
  const describeWrong = async (dialect: string): Promise<string> => {
    const engine = engines.get(dialect)!
    const id = TestRouter.idOf(engine.url)
    const lines = [dialect]
    for (const { blocks, events, rank, trust, why } of (await router.worker(id)).ranks) {
      const view = new Set(await router.blocks(id, `?rank=${rank ?? 0}`))
      const truth = TrueKeys.within(engine, rank ?? 0, "device")
      const missing = truth.filter((key) => !view.has(key)).length
      const invented = [...view].filter((key) => !truth.includes(key)).length
      lines.push(
        `  rank ${rank}: ${trust} (${why}), blocks ${JSON.stringify(blocks)}, on the device ${missing} missing, ${invented} invented; ${JSON.stringify(events)}`
      )
    }
    return lines.join("\n")
  }

  const all = (act: (engine: SimEngine) => unknown) => Promise.all([...engines.values()].map(act))

  it.each(cases)("heals after: $name", async ({ during, loses, name, stays, strike }) => {
    await all(strike)
    const work = send(10 * engines.size)
    if (during !== undefined) {
      await work
      await all(during)
    }
    await work
    await all((engine) => engine.setFaults({ ...over, ...stays }))
    const beganMs = performance.now()
    // Something new is announced, by which a hole before it shows.
    await send(2 * engines.size)
    let wrong = await healed(name, beganMs, loses === true ? 500 : 40_000)
    if (loses === true) {
      // What was held once and is held still is not announced again: it has to go before the view can be whole.
      for (let round = 0; round < 20 && wrong.length > 0; round++) {
        await send(3 * engines.size, true)
        wrong = await healed(name, beganMs, round === 19 ? 10_000 : 200)
      }
    }
    expect(await Promise.all(wrong.map(describeWrong))).toEqual([])
    await all((engine) => engine.setFaults({ replay: "serve" }))
  })
})
