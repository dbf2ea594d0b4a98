import { afterEach, describe, expect, it, vi } from "vitest"
import { Dealer, Subscriber } from "zeromq"
import type { SimEngine } from "../../../loadtest/fleet/SimEngine.ts"
import { apply, type Batch } from "../../support/EventFollower.ts"
import { another, caughtUp, complete, faults, follow, history, json, start } from "./Simulated.ts"

const sockets: Array<{ readonly close: () => void }> = []

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

const seqs = (batches: ReadonlyArray<Batch>): ReadonlyArray<number> => batches.map(({ seq }) => seq)
const one = (engine: SimEngine) => complete(engine, another(20), { max_tokens: 1 })

/** Sequence numbers of what a replay socket sends until it is quiet; "end" for the end marker. */
const asked = async (engine: SimEngine, quietMs = 300): Promise<ReadonlyArray<number | "end">> => {
  const dealer = new Dealer({ linger: 0, receiveTimeout: quietMs })
  sockets.push(dealer)
  dealer.connect(engine.eventSources[0]!.replayEndpoint!)
  await dealer.send([Buffer.alloc(0), Buffer.alloc(8)])
  const heard: Array<number | "end"> = []
  while (true) {
    const frames = await dealer.receive().catch(() => undefined)
    if (frames === undefined) return heard
    const seq = frames.at(-2)!
    if (seq.equals(Buffer.alloc(8, 0xff))) return [...heard, "end"]
    heard.push(Number(seq.readBigUInt64BE(0)))
  }
}

/** Every payload from now on, by sequence number. */
const payloads = async (engine: SimEngine): Promise<Map<number, Buffer>> => {
  const subscriber = new Subscriber({ linger: 0 })
  sockets.push(subscriber)
  subscriber.connect(engine.eventEndpoint)
  subscriber.subscribe()
  const heard = new Map<number, Buffer>()
  const hear = async () => {
    for await (const [, seq, payload] of subscriber) heard.set(Number(seq!.readBigUInt64BE(0)), payload!)
  }
  void hear()
  await vi.waitFor(
    async () => {
      await one(engine)
      expect(heard.size).toBeGreaterThan(0)
    },
    { timeout: 10_000, interval: 20 }
  )
  return heard
}

describe("faults of replay", () => {
  it("absent: none is announced, under any dialect, and none answers", async () => {
    const engine = await start()
    const { endpoint, replayEndpoint } = engine.eventSources[0]!
    await faults(engine, { replay: "absent" })
    expect(await json(fetch(`${engine.url}/kv_event_sources`))).toMatchObject({
      0: { endpoint, replay_endpoint: null }
    })
    expect([engine.replayEndpoint, engine.eventEndpoint]).toEqual([null, endpoint])
    const sglang = await start({ dialect: "sglang", faults: { replay: "absent" } })
    const { kv_events_config } = await json(fetch(`${sglang.url}/server_info`))
    expect(Object.keys(JSON.parse(kv_events_config as string) as object)).not.toContain("replay_endpoint")
    await faults(engine, { replay: "serve" })
    expect(engine.replayEndpoint).toBe(replayEndpoint)
    const asking = asked(engine)
    expect(await asking).toEqual(["end"])
  })

  it("one shot: each life answers its first request, then no more", async () => {
    const engine = await start({ faults: { replay: "oneShot" } })
    await one(engine)
    expect([await asked(engine), await asked(engine)]).toEqual([[0, "end"], []])
    await engine.restart()
    expect([await asked(engine), await asked(engine)]).toEqual([["end"], []])
  })

  it("so many are not answered, and so many break off half way", async () => {
    const engine = await start()
    for (let i = 0; i < 6; i++) await one(engine)
    await faults(engine, { failReplays: 2 })
    expect([await asked(engine), await asked(engine)]).toEqual([[], []])
    expect(await asked(engine)).toEqual([0, 1, 2, 3, 4, 5, "end"])
    await faults(engine, { breakReplays: 1 })
    expect(await asked(engine)).toEqual([0, 1, 2])
    expect(await asked(engine)).toEqual([0, 1, 2, 3, 4, 5, "end"])
  })

  it("ring short: only the newest batches are left", async () => {
    const engine = await start()
    for (let i = 0; i < 6; i++) await one(engine)
    await faults(engine, { ringShort: 2 })
    expect(await asked(engine)).toEqual([4, 5, "end"])
    await one(engine)
    expect(await asked(engine)).toEqual([4, 5, 6, "end"])
  })
})

describe("faults of the stream", () => {
  it("garbage: a batch that is no msgpack takes a number, and what it said is lost, replayed or not", async () => {
    const engine = await start()
    const heard = await payloads(engine)
    const { seq } = engine.state()
    await faults(engine, { garbage: { next: 1 } })
    await one(engine)
    await one(engine)
    await vi.waitFor(() => expect(heard.has(seq + 1)).toBe(true), { timeout: 10_000 })
    expect(heard.get(seq)![0]).toBe(0xc1)
    expect(heard.get(seq + 1)![0]).toBe(0x93)
    await expect(history(engine)).rejects.toThrow()
    // Once the ring has let go of it, what replay says no longer describes the cache.
    await faults(engine, { ringShort: 1 })
    expect(apply(await history(engine)).size).toBe(1)
    expect(engine.cache().length).toBe(seq + 2)
  })

  it("garbage is the same for the same seed", async () => {
    const bytes = async () => {
      const engine = await start({ seed: 9 })
      const heard = await payloads(engine)
      const { seq } = engine.state()
      await faults(engine, { garbage: { next: 1 } })
      await complete(engine, new Array<number>(20).fill(7), { max_tokens: 1 })
      await vi.waitFor(() => expect(heard.has(seq)).toBe(true), { timeout: 10_000 })
      return heard.get(seq)!.toString("hex")
    }
    expect(await bytes()).toBe(await bytes())
  })

  it("delay: batches come later, in order, and none is lost", async () => {
    const engine = await start()
    const follower = await follow(engine)
    const from = engine.state().seq
    await faults(engine, { delayMs: 1000 })
    await one(engine)
    await one(engine)
    expect(seqs(follower.batches).at(-1)).toBe(from - 1)
    await faults(engine, { delayMs: 0 })
    await one(engine)
    await caughtUp(engine, follower)
    expect(seqs(follower.batches).slice(-3)).toEqual([from, from + 1, from + 2])
  })

  it("flap: the sockets go and come back on their ports, and the cache goes on", async () => {
    const engine = await start()
    const follower = await follow(engine)
    const sources = engine.eventSources
    const from = engine.state().seq
    await faults(engine, { flap: { everyMs: 200, forMs: 900 } })
    const until = performance.now() + 900
    while (performance.now() < until) await one(engine)
    // Until a batch is heard again at once: what leaves while the sockets are closed is only in the replay.
    await vi.waitFor(
      async () => {
        await one(engine)
        await vi.waitFor(() => expect(follower.batches.at(-1)!.seq).toBe(engine.state().seq - 1), { timeout: 200 })
      },
      { timeout: 10_000 }
    )
    expect(engine.eventSources).toEqual(sources)
    const heard = seqs(follower.batches).filter((seq) => seq >= from)
    expect(heard.length).toBeLessThan(engine.state().seq - from)
    expect(apply(await history(engine)).size).toBe(engine.cache().length)
  })

  it("flood: more batches than anyone asked for, each block stored and removed, and the cache untouched", async () => {
    const engine = await start({ bufferSteps: 5000 })
    await one(engine)
    const before = engine.cache()
    await faults(engine, { flood: { batches: 2000, blocks: 4 } })
    await vi.waitFor(() => expect(engine.state().seq).toBe(1 + 2001), { timeout: 10_000 })
    expect(engine.cache()).toEqual(before)
    const batches = await history(engine)
    expect(batches.flatMap(({ events }) => events).filter(({ type }) => type === "BlockRemoved")).toHaveLength(8000)
    expect(apply(batches).size).toBe(before.length)
    expect(await one(engine)).toBe(0)
  })
})

describe("faults are refused", () => {
  it("with a sentence, when they are misspelt or lack a part", async () => {
    const engine = await start()
    const said = async (spec: object) => {
      const response = await fetch(`${engine.url}/sim/faults`, { method: "POST", body: JSON.stringify(spec) })
      expect(response.status).toBe(400)
      return ((await response.json()) as { error: { message: string } }).error.message
    }
    expect(await said({ replay: "never" })).toBe('"replay" must be one of serve, absent, oneShot.')
    expect(await said({ flap: { everyMs: 10 } })).toBe('"flap" must have "forMs".')
    expect(await said({ flood: { batches: "many" } })).toBe('"flood.batches" must be a number of at least 0.')
    expect(await said({ delayMs: -1 })).toBe('"delayMs" must be a positive number.')
  })
})
