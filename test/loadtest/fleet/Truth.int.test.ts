import { describe, expect, it } from "vitest"
import type { SimEngine } from "../../../loadtest/fleet/SimEngine.ts"
import type { SimOptions } from "../../../loadtest/fleet/SimOptions.ts"
import * as Random from "../../../loadtest/Random.ts"
import { apply, type Batch } from "../../support/EventFollower.ts"
import { another, complete, history, idle, json, only, post, start } from "./Simulated.ts"

const isDevice = ({ medium, type }: { readonly medium: string | null; readonly type: string }) =>
  medium === "GPU" || type === "AllBlocksCleared"
const ofTier = (medium: string) => (event: { readonly medium: string | null; readonly type: string }) =>
  event.medium === medium || event.type === "AllBlocksCleared"

/** What following a medium's events says is held there, by hash. */
const heldIn = (batches: ReadonlyArray<Batch>, medium: string): ReadonlyArray<string> =>
  [...apply(only(batches, (event) => ofTier(medium)(event) && event.group === 0)).keys()].sort()

/** Prompts that share, branch and overflow: a few families, cut and grown at random. */
const traffic = async (engine: SimEngine, requests: number, extras: () => object = () => ({})): Promise<void> => {
  const random = Random.make(11)
  const headers: ReadonlyArray<Record<string, string>> = Array.from({ length: engine.options.ranks }, (_, rank) => ({
    "X-Data-Parallel-Rank": String(rank)
  }))
  for (let i = 0; i < requests; i += 4) {
    await Promise.all(
      Array.from({ length: 4 }, () => {
        const prompt = new Array<number>(1 + Math.floor(random() * 200)).fill(100 + Math.floor(random() * 6))
        const named = engine.options.ranks === 1 ? {} : headers[Math.floor(random() * headers.length)]!
        return complete(engine, prompt, { max_tokens: 20, ...extras() }, named)
      })
    )
  }
  await idle(engine)
}

const dialects: ReadonlyArray<readonly [string, Partial<SimOptions>]> = [
  ["SGLang's maps", { dialect: "sglang" }],
  ["SGLang's arrays", { dialect: "sglang", eventEncoding: "array" }],
  ["SGLang's pages of one token", { dialect: "sglang", blockSize: 1, blocks: 600 }],
  ["TensorRT-LLM's maps", { dialect: "trtllm" }],
  ["vLLM's of three ranks", { ranks: 3 }],
  ["SGLang's of three ranks", { dialect: "sglang", ranks: 3 }]
]

describe("the events of a simulated engine", () => {
  it.each(dialects)("describe what each rank holds: %s", async (_name, options) => {
    const engine = await start(options)
    const salts = [undefined, undefined, "tenant"]
    const random = Random.make(5)
    await traffic(engine, 60, () => ({ cache_salt: salts[Math.floor(random() * 3)] }))
    for (let rank = 0; rank < engine.options.ranks; rank++) {
      const batches = await history(engine, rank)
      const held = apply(batches)
      const truth = engine.cache(rank)
      expect(truth.length).toBeGreaterThan(10)
      expect(held.size).toBe(truth.length)
      for (const { copies, hash, parentHash, tokenIds } of truth) {
        expect(held.get(hash)).toEqual({ parent: parentHash, tokenIds, copies })
        if (engine.options.dialect !== "vllm") expect(copies).toBe(1)
      }
      const bare = engine.options.dialect === "sglang" && engine.options.ranks === 1
      expect(new Set(batches.map((batch) => batch.rank))).toEqual(new Set([bare ? null : rank]))
      expect(batches.flatMap(({ events }) => events).some(({ type }) => type === "BlockRemoved")).toBe(true)
    }
  })

  it("name the same block otherwise on each rank when no seed is given, as processes of their own do", async () => {
    const hashes = async (hashSeed: string | null) => {
      const engine = await start({ ranks: 2, hashSeed })
      const prompt = another(20)
      for (const rank of ["0", "1"]) await complete(engine, prompt, {}, { "X-data-parallel-rank": rank })
      return engine.cache().map(({ hash }) => hash)
    }
    expect(new Set(await hashes(null)).size).toBe(2)
    expect(new Set(await hashes("0")).size).toBe(1)
  })

  it("keep adapters apart: in SGLang's hashes, since it writes maps", async () => {
    const engine = await start({ dialect: "sglang", loras: ["sql"] })
    const prompt = another(40)
    await complete(engine, prompt)
    expect(await complete(engine, prompt, { lora_path: "sql" })).toBe(0)
    expect(await complete(engine, prompt, { model: "sim/qwen3:sql" })).toBe(32)
    const truth = engine.cache()
    expect(new Set(truth.map(({ hash }) => hash)).size).toBe(4)
    expect(apply(await history(engine)).size).toBe(4)
    expect(truth.map(({ lora }) => lora)).toEqual([null, null, "sql", "sql"])
  })
})

describe("blocks below the device", () => {
  const tiers: ReadonlyArray<readonly [string, Partial<SimOptions>, readonly [string, string]]> = [
    ["vLLM by hash alone", { offloadEvents: "empty" }, ["CPU", "STORAGE"]],
    ["vLLM described", { offloadEvents: "described" }, ["CPU", "STORAGE"]],
    ["vLLM described, in arrays", { offloadEvents: "described", eventEncoding: "array" }, ["CPU", "STORAGE"]],
    ["SGLang", { dialect: "sglang" }, ["CPU_PINNED", "DISK"]]
  ]

  it.each(tiers)("are told of, each medium by itself: %s", async (_name, options, [host, disk]) => {
    const engine = await start({ ...options, blocks: 40, hostBlocks: 24, diskBlocks: 24 })
    await traffic(engine, 80)
    const batches = await history(engine)
    const truth = engine.cache()
    const on = (tier: "device" | "host" | "disk") =>
      truth
        .filter(({ tiers }) => tiers![tier] > 0)
        .map(({ hash }) => hash)
        .sort()
    expect(on("host")).toHaveLength(24)
    expect(on("disk")).toHaveLength(24)
    expect(heldIn(batches, "GPU")).toEqual(on("device"))
    expect(heldIn(batches, host)).toEqual(on("host"))
    expect(heldIn(batches, disk)).toEqual(on("disk"))
    for (const { copies, tiers } of truth) expect(copies).toBe(tiers!.device)
    const bare = batches
      .flatMap(({ events }) => events)
      .filter(({ medium, type }) => medium === host && type === "BlockStored")
    const described = options.offloadEvents !== "empty"
    expect(new Set(bare.map(({ blockSize, tokenIds }) => [blockSize, tokenIds.length].join()))).toEqual(
      new Set([described ? "16,16" : "0,0"])
    )
    expect(engine.state().loadedTokens).toBeGreaterThan(0)
  })

  it("lie outside, too, with SGLang", async () => {
    const engine = await start({ dialect: "sglang", blocks: 24, hostBlocks: 8, diskBlocks: 8, externalBlocks: 16 })
    await traffic(engine, 60)
    const outside = engine.cache().filter(({ tiers }) => tiers!.external === 1)
    expect(outside).toHaveLength(16)
    expect(heldIn(await history(engine), "EXTERNAL")).toEqual(outside.map(({ hash }) => hash).sort())
    await expect(start({ externalBlocks: 8 })).rejects.toThrow("only sglang tells of such a store")
  })

  it("are hits that are copied back to the device", async () => {
    const engine = await start({ hostBlocks: 100, blocks: 16 })
    const prompt = another(81)
    await complete(engine, prompt, { max_tokens: 1 })
    // Fills the device, so that the first prompt leaves it.
    await complete(engine, another(240), { max_tokens: 1 })
    const before = engine.cache().filter(({ copies }) => copies === 0)
    expect(before.length).toBeGreaterThanOrEqual(4)
    expect(await complete(engine, prompt, { max_tokens: 1 })).toBe(80)
    expect(engine.state().loadedTokens).toBeGreaterThanOrEqual(64)
    expect(engine.cache().filter(({ tiers }) => tiers!.device > 0 && tiers!.host === 1).length).toBeGreaterThanOrEqual(
      4
    )
    expect(heldIn(await history(engine), "CPU").length).toBe(
      engine.cache().filter(({ tiers }) => tiers!.host === 1).length
    )
  })

  it("are forgotten with the rest by a reset", async () => {
    const engine = await start({ hostBlocks: 100, blocks: 16 })
    for (let i = 0; i < 3; i++) await complete(engine, another(200))
    await idle(engine)
    expect((await post(engine, "/reset_prefix_cache", {})).status).toBe(200)
    expect([engine.cache(), engine.truth()]).toEqual([[], []])
    expect(await complete(engine, another(20))).toBe(0)
  })
})

describe("a second KV group with a sliding window", () => {
  it("says nothing about the first, and takes back what its window has passed", async () => {
    const engine = await start({ slidingWindow: 40, blocks: 48 })
    await traffic(engine, 60)
    const batches = await history(engine)
    const held = apply(only(batches, (event) => isDevice(event) && event.group === 0))
    const truth = engine.cache()
    expect([...held.keys()].sort()).toEqual(truth.map(({ hash }) => hash).sort())
    const windowed = batches.flatMap(({ events }) => events).filter(({ group }) => group === 1)
    const masked = windowed.filter(
      (event) => event.type === "BlockStored" && event.tokenIds.length > event.hashes.length * 16
    )
    expect(masked.length).toBeGreaterThan(0)
    expect(windowed.some(({ type }) => type === "BlockRemoved")).toBe(true)
    // It never takes back more than it announced, nor keeps what the engine lost.
    const open = new Map<string, number>()
    for (const { hashes, type } of windowed) {
      for (const hash of hashes) open.set(hash, (open.get(hash) ?? 0) + (type === "BlockStored" ? 1 : -1))
    }
    expect([...open.values()].every((count) => count >= 0)).toBe(true)
    const left = [...open].filter(([, count]) => count > 0).map(([hash]) => hash)
    expect(left.length).toBeGreaterThan(0)
    expect(left.every((hash) => held.has(hash))).toBe(true)
  })

  it("is refused where events have no groups", async () => {
    await expect(start({ dialect: "sglang", slidingWindow: 40 })).rejects.toThrow("only vllm tells of such a group")
  })
})

describe("a reused prefix", () => {
  it("is announced again from the root when a request asks for it, as one ordinary store", async () => {
    const engine = await start()
    const prompt = another(70)
    await complete(engine, prompt, { max_tokens: 1 })
    await complete(engine, [...prompt, ...another(10)], { max_tokens: 1, vllm_xargs: { kv_cache_report_mode: "full" } })
    const batches = await history(engine)
    const [first] = batches[0]!.events
    const again = batches[1]!.events
    expect(again[0]).toEqual({ ...first, parent: null })
    expect(again).toHaveLength(2)
    expect(again[1]!.parent).toBe(first!.hashes.at(-1))
    expect(engine.cache().every(({ copies }) => copies === 1)).toBe(true)
    const other = await start({ dialect: "sglang" })
    await complete(other, prompt, { max_tokens: 1 })
    await complete(other, prompt, { max_tokens: 1, vllm_xargs: { kv_cache_report_mode: "full" } })
    expect(await history(other)).toHaveLength(1)
  })
})

describe("pictures", () => {
  const chat = (engine: SimEngine, url: string, words = "What is this? ".repeat(20)) =>
    json(
      post(engine, "/v1/chat/completions", {
        messages: [
          {
            role: "user",
            content: [
              { type: "image_url", image_url: { url } },
              { type: "text", text: words }
            ]
          }
        ],
        max_tokens: 1
      })
    )
  const cached = (answer: Record<string, unknown>): number =>
    (answer["usage"] as { prompt_tokens_details: { cached_tokens: number } | null }).prompt_tokens_details
      ?.cached_tokens ?? 0

  it("are refused unless the model takes them", async () => {
    const engine = await start()
    expect(JSON.stringify(await chat(engine, "http://a/1.png"))).toContain("text only")
  })

  it.each(["vllm", "sglang", "trtllm"] as const)(
    "keep prompts apart that are alike but for them: %s",
    async (dialect) => {
      const engine = await start({ dialect, imageTokens: 40 })
      const first = await chat(engine, "http://a/1.png")
      expect(cached(first)).toBe(0)
      // Twenty pads, two ends, the words; a text alone has far fewer.
      expect((first["usage"] as { prompt_tokens: number }).prompt_tokens).toBeGreaterThan(120)
      expect(cached(await chat(engine, "http://a/1.png"))).toBeGreaterThan(90)
      expect(cached(await chat(engine, "http://a/2.png"))).toBe(0)
      const truth = engine.truth()
      const touched = truth.filter(({ mm }) => mm.length > 0)
      // Two pictures of 40 tokens from token 4 or so on: three blocks each, and what stands before is in the first.
      expect(touched.length).toBe(6)
      const offsets = touched.filter(({ mm }) => mm[0]![0] === touched[0]!.mm[0]![0]).map(({ mm }) => mm[0]![1])
      expect(offsets).toEqual([offsets[0], offsets[0]! - 16, offsets[0]! - 32])
      const events = (await history(engine)).flatMap((batch) => batch.events)
      if (dialect === "vllm") {
        const told = events.flatMap(({ extraKeys }) => extraKeys).filter((keys) => keys !== null)
        expect(new Set(told.map((keys) => JSON.stringify(keys)))).toEqual(
          new Set(touched.map(({ mm }) => JSON.stringify(mm)))
        )
      }
      if (dialect === "sglang") {
        // The picture is in the tokens: numbers above the vocabulary.
        expect(new Set(events.flatMap(({ tokenIds }) => tokenIds.filter((id) => id >= 1_000_000))).size).toBe(2)
      }
    }
  )
})

describe("SimEngine.truth", () => {
  it("leads every block back to a first one, through blocks that are held no more", async () => {
    const engine = await start({ blocks: 24, ranks: 2 })
    await traffic(engine, 80, () => ({ cache_salt: "s" }))
    for (const rank of [0, 1]) {
      const truth = engine.truth(rank)
      const seen = new Set<string>()
      for (const { hash, parentHash } of truth) {
        expect(parentHash === null || seen.has(parentHash)).toBe(true)
        expect(seen.has(hash)).toBe(false)
        seen.add(hash)
      }
      const held = truth.filter(({ tiers }) => tiers.device > 0)
      expect(held.map(({ hash }) => hash).sort()).toEqual(
        engine
          .cache(rank)
          .map(({ hash }) => hash)
          .sort()
      )
      expect(truth.every(({ salt }) => salt === "s")).toBe(true)
    }
    expect(engine.truth()).toHaveLength(engine.truth(0).length + engine.truth(1).length)
    expect(await json(fetch(`${engine.url}/sim/truth?rank=1`))).toEqual(engine.truth(1))
    expect((await fetch(`${engine.url}/sim/cache?rank=2`)).status).toBe(404)
  })
})
