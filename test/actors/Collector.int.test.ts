import { Layer, ManagedRuntime } from "effect"
import { afterEach, describe, expect, it } from "vitest"
import { Collector } from "../../actors/Collector.ts"
import { PrefixIndex } from "../../actors/PrefixIndex.ts"
import type { CachedBlock } from "../../loadtest/fleet/EngineCore.ts"
import type { FaultSpec } from "../../loadtest/fleet/Faults.ts"
import type { SimEngine } from "../../loadtest/fleet/SimEngine.ts"
import * as SimFleet from "../../loadtest/fleet/SimFleet.ts"
import type { SimOptions } from "../../loadtest/fleet/SimOptions.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import * as EventSocket from "../../src/adapters/zmq/EventSocket.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import { qwen3 } from "../support/SimModel.ts"
import { keyNames } from "../support/VllmPublisher.ts"
import { until } from "../support/ZmqPublisher.ts"

const hasher = BlockHash.make()
const slot = 3
const open: Array<() => unknown> = []

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

const start = async (options: Partial<SimOptions>) => {
  const fleet = await SimFleet.start({ tokenizer: qwen3, speed: 100, outputTokens: 20, ...options })
  open.push(fleet.close)
  const engine = fleet.engines[0]!
  const runtime = ManagedRuntime.make(
    Layer.mergeAll(
      PrefixIndex.layer({ workersMax: 4, blocksMax: 20_000 }),
      Collector.layer({ hasher, quietMs: 50, backoffMsMin: 10, regainMs: 200 })
    ).pipe(Layer.provide([EventBus.layerMemory, EventSocket.layerWith({ reconnectMsMin: 20, reconnectMsMax: 50 })]))
  )
  open.push(() => runtime.dispose())
  const collector = await runtime.runPromise(Collector)
  const index = await runtime.runPromise(PrefixIndex)
  const source = { endpoint: engine.eventEndpoint, replayEndpoint: engine.replayEndpoint, topic: "", rank: 0 }
  const followed = { name: "w", slot, model: "m", source, blockSize: null, blockCount: null, decode }
  await runtime.runPromise(collector.start(followed))
  const equal = (what: string) =>
    until(what, async () => {
      if (engine.state().running > 0 || collector.state(slot)?.health !== "whole") return false
      await runtime.runPromise(index.settled)
      const held = new Set(keyNames(index.dump(slot)))
      const cache = engine.cache()
      // A block whose ancestors are gone cannot be named from the dump alone; it must be counted all the same.
      return held.size === cache.length && namesOf(cache).every((name) => held.has(name))
    })
  return { engine, collector, equal }
}

/** The router's own keys of the blocks of a dump whose ancestors are all in it. */
const namesOf = (cache: ReadonlyArray<CachedBlock>): ReadonlyArray<string> => {
  const keys = new Map<string, Int32Array>()
  for (const { hash, lora, parentHash, salt, tokenIds } of cache) {
    const blockSize = tokenIds.length
    const parent = parentHash === null ? hasher.root({ model: "m", lora, salt, blockSize }) : keys.get(parentHash)
    if (parent !== undefined) {
      keys.set(hash, hasher.extend(parent[0]!, parent[1]!, Uint32Array.from(tokenIds), blockSize))
    }
  }
  return [...keys.values()].flatMap(keyNames)
}

/** Requests over a few shared prefixes, several at once, more than the cache holds. */
const traffic = async (engine: SimEngine, count: number, seed: number): Promise<void> => {
  let random = seed
  const next = (n: number) => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
    return (random >>> 8) % n
  }
  const one = async () => {
    const prefix = next(6)
    const shared = Array.from({ length: 16 * (1 + next(8)) }, (_, i) => 1_000 + prefix * 500 + i)
    const own = Array.from({ length: next(40) }, () => 50_000 + next(1_000))
    const salt = next(5) === 0 ? { cache_salt: `tenant ${next(2)}` } : {}
    const lora = next(6) === 0 ? { model: "adapter" } : {}
    const body = JSON.stringify({ prompt: [...shared, ...own], max_tokens: 1 + next(40), ...salt, ...lora })
    const response = await fetch(`${engine.url}/v1/completions`, { method: "POST", body })
    await response.text()
    expect(response.status).toBe(200)
  }
  for (let i = 0; i < count; i += 6) await Promise.all(Array.from({ length: 6 }, one))
}

describe("Collector over real sockets", () => {
  it.each([
    ["map events", {}, {}],
    [
      "array events, whole digests, a root hash of its own",
      { eventEncoding: "array", hashForm: "bytes", hashSeed: null },
      {}
    ],
    [
      "dropped, doubled and reordered events",
      {},
      { drop: { probability: 0.1 }, duplicate: { probability: 0.1 }, reorder: { probability: 0.1 } }
    ],
    ["a short ring", { bufferSteps: 20 }, {}]
  ] as ReadonlyArray<readonly [string, Partial<SimOptions>, FaultSpec]>)(
    "ends equal to the engine's dump: %s",
    async (_, options, faults) => {
      const { collector, engine, equal } = await start({ blocks: 100, loras: ["adapter"], ...options })
      const told = await fetch(`${engine.url}/sim/faults`, { method: "POST", body: JSON.stringify(faults) })
      expect(told.status).toBe(200)
      for (let round = 0; round < 3; round++) {
        await traffic(engine, 24, round + 1)
        await equal(`round ${round}`)
      }
      expect(collector.state(slot)).toMatchObject({
        decodeErrors: 0,
        skipped: 0,
        unknownEvents: 0,
        lost: 0,
        complete: true
      })
      expect(collector.state(slot)!.unknownRemovals).toBe(0)
      expect(engine.cache().length).toBeGreaterThan(80)
    }
  )

  it("ends equal after the engine crashed and came back on its ports", async () => {
    const { collector, engine, equal } = await start({ blocks: 100, loras: ["adapter"] })
    await traffic(engine, 24, 1)
    await equal("before")
    const told = await fetch(`${engine.url}/sim/faults`, {
      method: "POST",
      body: JSON.stringify({ crash: { restartAfterMs: 50 } })
    })
    await told.text()
    await until("the loss to be noticed", () => collector.state(slot)?.health === "broken")
    await until("the engine to be back", () => engine.state().alive && engine.state().lives === 2)
    await traffic(engine, 24, 9)
    await equal("after")
    expect(collector.state(slot)).toMatchObject({ restarts: 1, complete: true })
  })
})
