import { describe, expect, it, vi } from "vitest"
import type { SimEngine } from "../../../loadtest/fleet/SimEngine.ts"
import * as Random from "../../../loadtest/Random.ts"
import { apply, type Batch, replay } from "../../support/EventFollower.ts"
import { another as anew, caughtUp, complete, faults, follow, start } from "./Simulated.ts"

/** A client that goes away in the middle of its answer. */
const abandon = async (engine: SimEngine, prompt: ReadonlyArray<number>): Promise<void> => {
  const body = JSON.stringify({ prompt, max_tokens: 300, ignore_eos: true, stream: true })
  const response = await fetch(`${engine.url}/v1/completions`, { method: "POST", body })
  const reader = response.body!.getReader()
  await reader.read()
  await reader.cancel()
}

/** One full block, so one batch. */
const another = (): ReadonlyArray<number> => anew(20)

const seqs = (batches: ReadonlyArray<Batch>): ReadonlyArray<number> => batches.map(({ seq }) => seq)

/** What following the batches says the engine holds must be what it holds. */
const expectTruth = (engine: SimEngine, batches: ReadonlyArray<Batch>): void => {
  const held = apply(batches)
  const truth = engine.cache()
  expect(held.size).toBe(truth.length)
  for (const { hash, parentHash, tokenIds, copies } of truth) {
    expect(held.get(hash)).toEqual({ parent: parentHash, tokenIds, copies })
  }
}

describe("KV events of a simulated engine", () => {
  for (const eventEncoding of ["map", "array"] as const) {
    for (const hashForm of ["int", "bytes"] as const) {
      it(`describe its true cache in ${eventEncoding} form with hashes as ${hashForm}, live and replayed`, async () => {
        const engine = await start({ eventEncoding, hashForm, loras: ["sql"], hashSeed: null })
        const follower = await follow(engine)
        const random = Random.make(7)
        const salts = [undefined, undefined, "tenant"]
        const models = [undefined, undefined, "sql"]
        const pick = <A>(from: ReadonlyArray<A>): A => from[Math.floor(random() * from.length)]!
        for (let round = 0; round < 12; round++) {
          await Promise.all([
            abandon(engine, new Array<number>(1 + Math.floor(random() * 200)).fill(100)),
            ...Array.from({ length: 5 }, () => {
              const family = 100 + Math.floor(random() * 4)
              const prompt = new Array<number>(1 + Math.floor(random() * 200)).fill(family)
              return complete(engine, prompt, { cache_salt: pick(salts), model: pick(models), max_tokens: 20 })
            })
          ])
        }
        await vi.waitFor(() => expect(engine.state()).toMatchObject({ running: 0, waiting: 0, freeBlocks: 64 }))
        expect(engine.state().aborted).toBeGreaterThan(0)
        await caughtUp(engine, follower)
        const all = await replay(engine.replayEndpoint!, 0)
        expect(seqs(all.batches)).toEqual(Array.from({ length: engine.state().seq }, (_, seq) => seq))
        expect(all.frames).toEqual(new Set([eventEncoding === "map" ? 3 : 2]))
        expectTruth(engine, all.batches)
        const tail = all.batches.slice(follower.batches[0]!.seq)
        expect(follower.batches.map(({ seq, events }) => ({ seq, events }))).toEqual(
          tail.map(({ seq, events }) => ({ seq, events }))
        )
        const events = all.batches.flatMap((batch) => batch.events)
        expect(events.filter(({ type }) => type === "BlockRemoved").length).toBeGreaterThan(20)
        expect(events.some(({ loraName }) => loraName === "sql")).toBe(true)
        const salted = events.filter(({ extraKeys }) => extraKeys.some((keys) => keys?.includes("tenant")))
        expect(salted.length).toBeGreaterThan(0)
        expect(salted.every(({ parent }) => parent === null)).toBe(true)
      })
    }
  }

  it("replay from the sequence asked for, as far as the ring goes back", async () => {
    const engine = await start({ bufferSteps: 4 })
    for (let i = 0; i < 9; i++) await complete(engine, another(), { max_tokens: 1 })
    expect(engine.state().seq).toBe(9)
    expect(seqs((await replay(engine.replayEndpoint!, 0)).batches)).toEqual([5, 6, 7, 8])
    expect(seqs((await replay(engine.replayEndpoint!, 7)).batches)).toEqual([7, 8])
    expect((await replay(engine.replayEndpoint!, 9)).batches).toEqual([])
  })

  it("take the other replay layout, or no replay at all, when told to", async () => {
    const engine = await start({ replayLayout: "plain" })
    await complete(engine, another())
    expect((await replay(engine.replayEndpoint!, 0)).frames).toEqual(new Set([2]))
    expect((await start({ replay: false })).replayEndpoint).toBe(null)
    const silent = await start({ events: false })
    expect(await (await fetch(`${silent.url}/kv_event_sources`)).json()).toEqual({})
  })

  it("say that everything is gone after a reset", async () => {
    const engine = await start()
    await complete(engine, another())
    await fetch(`${engine.url}/reset_prefix_cache`, { method: "POST" })
    const { batches } = await replay(engine.replayEndpoint!, 0)
    expect(batches.at(-1)!.events.map(({ type }) => type)).toEqual(["AllBlocksCleared"])
    expect(apply(batches).size).toBe(0)
  })

  it("lose batches on the way by a drop, which replay still has", async () => {
    const engine = await start()
    const follower = await follow(engine)
    const from = engine.state().seq
    await faults(engine, { drop: { next: 2 } })
    for (let i = 0; i < 4; i++) await complete(engine, another(), { max_tokens: 1 })
    await caughtUp(engine, follower)
    expect(seqs(follower.batches).filter((seq) => seq >= from)).toEqual([from + 2, from + 3])
    expectTruth(engine, (await replay(engine.replayEndpoint!, 0)).batches)
  })

  it("come twice by a duplicate, and late by a reordering", async () => {
    const engine = await start()
    const follower = await follow(engine)
    const from = engine.state().seq
    const since = () => seqs(follower.batches).filter((seq) => seq >= from)
    await faults(engine, { duplicate: { next: 1 } })
    await complete(engine, another(), { max_tokens: 1 })
    await vi.waitFor(() => expect(since()).toEqual([from, from]))
    // A prompt block and two blocks of answer: three batches, the first overtaken by the second.
    await faults(engine, { reorder: { next: 1 } })
    await complete(engine, another(), { max_tokens: 40, ignore_eos: true })
    await vi.waitFor(() => expect(since()).toEqual([from, from, from + 2, from + 1, from + 3]))
  })

  it("send a held-back batch even when none follows", async () => {
    const engine = await start()
    const follower = await follow(engine)
    await faults(engine, { reorder: { next: 1 } })
    await complete(engine, another(), { max_tokens: 1 })
    await caughtUp(engine, follower)
    expectTruth(engine, (await replay(engine.replayEndpoint!, 0)).batches)
  })

  it("stop coming while silent, and show as a gap afterwards", async () => {
    const engine = await start()
    const follower = await follow(engine)
    const from = engine.state().seq
    await faults(engine, { silent: true })
    for (let i = 0; i < 3; i++) await complete(engine, another(), { max_tokens: 1 })
    await faults(engine, { silent: false })
    await complete(engine, another(), { max_tokens: 1 })
    await caughtUp(engine, follower)
    expect(seqs(follower.batches).filter((seq) => seq >= from)).toEqual([from + 3])
  })

  it("begin again at zero after a restart, on the same ports unless told otherwise", async () => {
    const engine = await start()
    const follower = await follow(engine)
    const { eventEndpoint, replayEndpoint, url } = engine
    await engine.restart()
    expect([engine.eventEndpoint, engine.replayEndpoint, engine.url]).toEqual([eventEndpoint, replayEndpoint, url])
    expect(engine.state()).toMatchObject({ lives: 2, seq: 0, received: 0 })
    expect(engine.cache()).toEqual([])
    const seen = follower.batches.length
    await vi.waitFor(
      async () => {
        await complete(engine, another(), { max_tokens: 1 })
        expect(follower.batches.length).toBeGreaterThan(seen)
      },
      { timeout: 10_000, interval: 20 }
    )
    expect(follower.batches.at(-1)!.seq).toBeLessThan(engine.state().seq)
    await engine.restart(true)
    expect(engine.eventEndpoint).not.toBe(eventEndpoint)
    expect(engine.url).toBe(url)
  })
})
