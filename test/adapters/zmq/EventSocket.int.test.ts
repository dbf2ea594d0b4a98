import { Deferred, Effect, Exit, Fiber, Layer, ManagedRuntime, Scope } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Collector } from "../../../actors/Collector.ts"
import { PrefixIndex } from "../../../actors/PrefixIndex.ts"
import { decode } from "../../../src/adapters/kvevents/KvEvents.ts"
import * as EventSocket from "../../../src/adapters/zmq/EventSocket.ts"
import * as BlockHash from "../../../src/hot/BlockHash.ts"
import { EventBus } from "../../../src/ports/EventBus.ts"
import { EventStream, type Subscription } from "../../../src/ports/EventStream.ts"
import * as Vllm from "../../support/VllmPublisher.ts"
import * as Zmq from "../../support/ZmqPublisher.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (payload: Uint8Array) => new TextDecoder().decode(payload)

let opened: Array<Zmq.ZmqPublisher>
let scope: Scope.Closeable

const publisher = async (...given: Parameters<typeof Zmq.open>): Promise<Zmq.ZmqPublisher> => {
  const made = await Zmq.open(...given)
  opened.push(made)
  return made
}

/** A subscription and all it heard. */
const subscribe = async (to: Pick<Zmq.ZmqPublisher, "endpoint"> & { replayEndpoint: string | null }, topic = "") => {
  const heard: Array<readonly [number, string]> = []
  const signals: Array<string> = []
  const layer = EventSocket.layerWith({ replayTimeoutMs: 300, reconnectMsMin: 20, reconnectMsMax: 50 })
  const subscription: Subscription = await Effect.runPromise(
    EventStream.pipe(
      Effect.flatMap((stream) =>
        stream.open(
          { endpoint: to.endpoint, replayEndpoint: to.replayEndpoint, topic, rank: 0 },
          {
            message: (seq, payload) => heard.push([seq, text(payload)]),
            connected: () => signals.push("connected"),
            disconnected: () => signals.push("disconnected")
          },
          { name: "w", model: "m" }
        )
      ),
      Effect.provide(layer),
      Scope.provide(scope)
    )
  )
  const replay = async (from: number) => {
    const batches: Array<readonly [number, string]> = []
    const exit = await Effect.runPromiseExit(
      subscription.replay(from, (seq, payload) => batches.push([seq, text(payload)]))
    )
    return { batches, exit }
  }
  /** Begins a replay; what it answers ends it. */
  const abort = (from: number) => {
    const fiber = Effect.runFork(subscription.replay(from, () => {}))
    return () => Effect.runPromise(Fiber.interrupt(fiber))
  }
  /** As much of a replay as is wanted. */
  const first = async (from: number, batchesMax: number) => {
    const seqs: Array<number> = []
    const enough = Deferred.makeUnsafe<void>()
    const take = (seq: number) => {
      seqs.push(seq)
      if (seqs.length === batchesMax) Deferred.doneUnsafe(enough, Effect.void)
    }
    await Effect.runPromise(Effect.raceFirst(subscription.replay(from, take, batchesMax), Deferred.await(enough)))
    return seqs.slice(0, batchesMax)
  }
  return { heard, signals, replay, first, abort }
}

/** Publishing reaches a subscriber only once its subscription has: says hello until it is heard. */
const joined = (p: Zmq.ZmqPublisher, heard: ReadonlyArray<readonly [number, string]>) =>
  Zmq.until("the subscription to take effect", async () => {
    await p.raw(["kv-events", Zmq.seqFrame(999), bytes("hello")])
    return heard.some(([, payload]) => payload === "hello")
  })

describe("EventSocket", () => {
  beforeEach(async () => {
    opened = []
    scope = await Effect.runPromise(Scope.make())
  })
  afterEach(async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    for (const made of opened) made.close()
  })

  it("reads a publisher on an IPv6 address, live and by replay", async () => {
    const p = await publisher("with topic", "kv-events", { endpoint: "tcp://[::1]:*", replayEndpoint: "tcp://[::1]:*" })
    const { heard, replay } = await subscribe(p)
    await p.publish(bytes("a"))
    await joined(p, heard)
    expect((await replay(0)).batches).toEqual([[0, "a"]])
  })

  it("hears no number that cannot be counted on from", async () => {
    const p = await publisher("with topic")
    const { heard } = await subscribe(p)
    await joined(p, heard)
    for (const seq of [2n ** 53n, 2n ** 64n - 1n]) await p.raw(["kv-events", Zmq.seqFrame(seq), bytes("absurd")])
    await p.raw(["kv-events", Zmq.seqFrame(1000), bytes("last")])
    await Zmq.until("the last message", () => heard.some(([, payload]) => payload === "last"))
    expect(heard.filter(([, payload]) => payload === "absurd")).toEqual([])
  })

  it("delivers live messages in order, of topics that begin as asked", async () => {
    const p = await publisher("with topic", "kv-events@w1")
    const { heard, signals } = await subscribe(p, "kv-events")
    await joined(p, heard)
    await p.raw(["other", Zmq.seqFrame(1), bytes("not for us")])
    await p.raw(["kv-events", bytes("short"), bytes("not an event")])
    await p.raw(["kv-events"])
    for (let i = 0; i < 200; i++) await p.publish(bytes(`batch ${i}`))
    await Zmq.until("all messages", () => heard.at(-1)?.[1] === "batch 199")
    const batches = heard.filter(([, payload]) => payload !== "hello")
    expect(batches).toEqual(Array.from({ length: 200 }, (_, i) => [i, `batch ${i}`]))
    expect(signals).toEqual(["connected"])
  })

  it("leaves the event loop its turns, however many publishers flood it", async () => {
    const size = 8 * 1024
    const perTurn: Array<number> = []
    let running = true
    const count = () => {
      perTurn.push(0)
      if (running) setImmediate(count)
    }
    count()
    const layer = EventSocket.layerWith({ reconnectMsMin: 20 })
    const all = await Promise.all(Array.from({ length: 6 }, () => publisher("with topic")))
    let heard = 0
    const message = (_: number, payload: Uint8Array) => {
      heard++
      perTurn[perTurn.length - 1]! += payload.length
    }
    const joined = new Set<number>()
    await Effect.runPromise(
      EventStream.pipe(
        Effect.flatMap((stream) =>
          Effect.forEach(all, ({ endpoint }, i) =>
            stream.open(
              { endpoint, replayEndpoint: null, topic: "", rank: 0 },
              { message, connected: () => joined.add(i), disconnected: () => {} },
              { name: `w${i}`, model: "m" }
            )
          )
        ),
        Effect.provide(layer),
        Scope.provide(scope)
      )
    )
    await Zmq.until("all to be joined", () => joined.size === all.length)
    await Zmq.until("the flood", async () => {
      for (const p of all) for (let i = 0; i < 50; i++) await p.publish(new Uint8Array(size))
      return heard > 1_000
    })
    running = false
    expect(Math.max(...perTurn)).toBeLessThanOrEqual(EventSocket.bytesPerTurn + all.length * size)
  })

  it("reads sequence numbers beyond 32 bits", async () => {
    const p = await publisher("with topic")
    const { heard } = await subscribe(p)
    await joined(p, heard)
    await p.raw(["kv-events", Zmq.seqFrame(2n ** 40n + 7n), bytes("late")])
    await Zmq.until("the message", () => heard.at(-1)?.[1] === "late")
    expect(heard.at(-1)?.[0]).toBe(2 ** 40 + 7)
  })

  it.each(["with topic", "without topic"] as const)("replays what is buffered, replies %s", async (layout) => {
    const p = await publisher(layout)
    for (let i = 0; i < 50; i++) await p.publish(bytes(`batch ${i}`))
    const { replay } = await subscribe(p)
    const all = await replay(0)
    expect(Exit.isSuccess(all.exit)).toBe(true)
    expect(all.batches).toEqual(Array.from({ length: 50 }, (_, i) => [i, `batch ${i}`]))
    expect((await replay(48)).batches.map(([seq]) => seq)).toEqual([48, 49])
    const none = await replay(50)
    expect([none.batches, Exit.isSuccess(none.exit)]).toEqual([[], true])
  })

  it("runs one replay at a time", async () => {
    const p = await publisher("with topic")
    for (let i = 0; i < 3; i++) await p.publish(bytes(`${i}`))
    const { replay } = await subscribe(p)
    p.breakAfter = 1
    const first = replay(0)
    const second = replay(1)
    await Zmq.until("the first request", () => p.asked.length === 1)
    p.breakAfter = null
    expect(Exit.isFailure((await first).exit)).toBe(true)
    expect((await second).batches.map(([seq]) => seq)).toEqual([1, 2])
    expect(p.asked).toEqual([0, 1])
  })

  it("ends a replay that is not wanted any more, and takes the next", async () => {
    const p = await publisher("with topic")
    await p.publish(bytes("a"))
    p.breakAfter = 0
    const { abort, replay } = await subscribe(p)
    const first = abort(0)
    await Zmq.until("the first request", () => p.asked.length === 1)
    p.breakAfter = null
    await first()
    expect((await replay(0)).batches.length).toBe(1)
  })

  it("brings a long replay part by part, each in full", async () => {
    const p = await publisher("with topic")
    for (let i = 0; i < 2_500; i++) await p.publish(new Uint8Array(4_096), true)
    const { first } = await subscribe(p)
    const all: Array<number> = []
    for (let from = 0; from < 2_500; from = all.length) all.push(...(await first(from, 1_000)))
    expect(all).toEqual(Array.from({ length: 2_500 }, (_, seq) => seq))
    expect(p.asked).toEqual([0, 1_000, 2_000])
  })

  it("fails a replay that breaks off, is not served, or has no address, with words on what to do", async () => {
    const p = await publisher("without topic")
    await p.publish(bytes("a"))
    p.breakAfter = 1
    const broken = await (await subscribe(p)).replay(0)
    expect(broken.batches.length).toBe(1)
    expect(String(broken.exit)).toContain("no answer within 300 ms")
    p.close()
    const nobody = await (await subscribe(p)).replay(0)
    expect(String(nobody.exit)).toContain(p.replayEndpoint)
    expect(String(nobody.exit)).toContain("nobody listens there")
    const none = await (await subscribe({ endpoint: p.endpoint, replayEndpoint: null })).replay(0)
    expect(String(none.exit)).toContain("no replay address")
  })

  it("says when the publisher went and came back, and hears it again", async () => {
    const p = await publisher("with topic")
    const { heard, signals } = await subscribe(p)
    await joined(p, heard)
    p.close()
    await Zmq.until("the loss", () => signals.at(-1) === "disconnected")
    const again = await publisher("with topic", "kv-events", p)
    await Zmq.until("the return", () => signals.at(-1) === "connected")
    heard.length = 0
    await joined(again, heard)
    expect(signals).toEqual(["connected", "disconnected", "connected"])
  })

  it("refuses an address that cannot be one", async () => {
    await expect(subscribe({ endpoint: "nonsense", replayEndpoint: null })).rejects.toThrow('"nonsense"')
  })

  it("is silent once its scope is closed", async () => {
    const p = await publisher("with topic")
    const { heard, signals } = await subscribe(p)
    await joined(p, heard)
    await Effect.runPromise(Scope.close(scope, Exit.void))
    const before = [heard.length, signals.length]
    for (let i = 0; i < 20; i++) await p.publish(bytes("after"))
    await new Promise((resolve) => setImmediate(resolve))
    expect([heard.length, signals.length]).toEqual(before)
  })
})

describe("KV events over ZeroMQ", () => {
  const hasher = BlockHash.make()
  const slot = 1
  let runtime: ManagedRuntime.ManagedRuntime<Collector | PrefixIndex, never>

  beforeEach(() => {
    opened = []
    runtime = ManagedRuntime.make(
      Layer.mergeAll(
        PrefixIndex.layer({ workersMax: 4, blocksMax: 10_000 }),
        Collector.layer({ hasher, quietMs: 50, backoffMsMin: 10, regainMs: 200 })
      ).pipe(
        Layer.provide([
          EventBus.layerMemory,
          EventSocket.layerWith({ replayTimeoutMs: 2_000, reconnectMsMin: 20, reconnectMsMax: 50 })
        ])
      )
    )
  })
  afterEach(async () => {
    await runtime.dispose()
    for (const made of opened) made.close()
  })

  it.each([
    ["array", "without topic"],
    ["map", "with topic"],
    ["array", "with topic"],
    ["map", "without topic"]
  ] as const)("leave the index equal to the engine, %s events, replay %s", async (form, layout) => {
    const engine = Vllm.make(hasher, "m", form)
    const p = await publisher(layout)
    const send = (payload: Uint8Array, lost = false) => p.publish(payload, lost)
    await send(engine.store([1, 2, 3]))
    const collector = await runtime.runPromise(Collector)
    const index = await runtime.runPromise(PrefixIndex)
    const equal = (what: string) =>
      Zmq.until(what, async () => {
        await runtime.runPromise(index.settled)
        return (
          collector.state(slot)?.health === "whole" &&
          JSON.stringify(Vllm.keyNames(index.dump(slot))) === JSON.stringify(engine.keys())
        )
      })
    const source = { endpoint: p.endpoint, replayEndpoint: p.replayEndpoint, topic: "", rank: 0 }
    await runtime.runPromise(
      collector.start({ name: "w", slot, model: "m", source, blockSize: null, blockCount: null, decode })
    )
    await equal("what was published before")
    for (let i = 0; i < 100; i++) await send(engine.store([1, 2, 100 + i]), i % 7 === 3)
    await send(engine.evict([1, 2, 150]))
    await equal("live events with holes")
    await send(engine.evict([1, 2, 151]), true)
    await equal("a lost last message")
    p.close()
    engine.restart()
    await Zmq.until("the loss to be noticed", () => collector.state(slot)?.health === "broken")
    const again = await publisher(layout, "kv-events", p)
    await again.publish(engine.store([7, 8]))
    await equal("a restarted engine")
    await again.publish(engine.clear())
    await again.publish(engine.store([9]))
    await equal("a cleared cache")
    expect(collector.state(slot)).toMatchObject({ complete: true, lagEvents: 0, decodeErrors: 0, lost: 0 })
  })

  it("come whole from a long ring, though the engine's socket drops what is not taken in time", async () => {
    const engine = Vllm.make(hasher, "m", "array")
    const p = await publisher("with topic")
    for (let i = 0; i < 5_000; i++) {
      await p.publish(engine.store([i % 7, 8, 9]), true)
      if (i > 0) await p.publish(engine.evict([(i - 1) % 7, 8, 9]), true)
    }
    const collector = await runtime.runPromise(Collector)
    const index = await runtime.runPromise(PrefixIndex)
    const source = { endpoint: p.endpoint, replayEndpoint: p.replayEndpoint, topic: "", rank: 0 }
    const followed = { name: "w", slot, model: "m", source, blockSize: null, blockCount: null, decode }
    await runtime.runPromise(collector.start(followed))
    await Zmq.until("the ring to be read", async () => {
      await runtime.runPromise(index.settled)
      return collector.state(slot)?.health === "whole"
    })
    expect(Vllm.keyNames(index.dump(slot))).toEqual(engine.keys())
    expect(collector.state(slot)).toMatchObject({ complete: true, lastSeq: 9_998, lost: 0, why: "" })
  })
})
