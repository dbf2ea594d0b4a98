import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Collector } from "../../actors/Collector.ts"
import { defaults, type Followed } from "../../actors/Followed.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import { type Order, Publisher } from "../../actors/Publisher.ts"
import { SnapshotSession } from "../../actors/SnapshotSession.ts"
import { SnapshotTaker } from "../../actors/SnapshotTaker.ts"
import * as Random from "../../loadtest/Random.ts"
import type { EngineEvent } from "../../src/domain/KvEvent.ts"
import { DEVICE, HOST } from "../../src/domain/Tier.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { ModelEngine, model, nameOf } from "../simulation/ModelEngine.ts"

const hasher = BlockHash.make(0n)
const engines = 4

interface Batch {
  readonly seq: number
  readonly payload: Uint8Array
}

/** Payloads stand for their batches. */
const batches: Array<ReadonlyArray<EngineEvent>> = []
const payloadOf = (events: ReadonlyArray<EngineEvent>): Uint8Array => {
  const payload = new Uint8Array(8)
  new DataView(payload.buffer).setUint32(0, batches.length)
  batches.push(events)
  return payload
}

/** A replica: an index, and a publisher for each engine, on slots of its own. */
const replica = (slotOf: (engine: number) => number, ring: (engine: number) => ReadonlyArray<Batch>) => {
  const index = PrefixIndex.make(
    { workersMax: engines, holdersMax: 6 * engines, blocksMax: 20_000, blocksPerSpan: 0.2, blocksPerTurn: 32 },
    (turn) => void setImmediate(turn),
    (error) => {
      throw error
    }
  )
  const orders: Array<{ readonly engine: number; readonly order: Order }> = []
  const publishers = Array.from({ length: engines }, (_, engine) => {
    const followed: Followed = {
      name: `engine ${engine}`,
      slot: slotOf(engine),
      model,
      source: { endpoint: "tcp://e:1", replayEndpoint: "tcp://e:2", topic: "", rank: 0 },
      blockSize: null,
      blockCount: null,
      decode: (payload) => ({
        ts: 0,
        events: batches[new DataView(payload.buffer, payload.byteOffset).getUint32(0)]!,
        rank: 0,
        unknown: []
      })
    }
    const publisher = new Publisher(
      followed,
      { ...defaults, hasher },
      {
        publish: index.tell,
        replay: (order) => void orders.push({ engine, order }),
        abandon: () => {},
        say: () => {}
      },
      0
    )
    return { followed, publisher }
  })
  /** Answers the replays that are wanted. */
  const replay = () => {
    for (const { engine, order } of orders.splice(0)) {
      const { publisher } = publishers[engine]!
      publisher.feed({ _tag: "ReplayBegun", id: order.id }, 0)
      for (const { payload, seq } of ring(engine)) {
        if (seq >= order.from) publisher.feed({ _tag: "Replayed", id: order.id, seq, payload }, 0)
      }
      publisher.feed({ _tag: "ReplayDone", id: order.id }, 0)
    }
  }
  const connect = (engine: number) => publishers[engine]!.publisher.feed({ _tag: "Connected" }, 0)
  const live = (engine: number, batch: Batch) => publishers[engine]!.publisher.feed({ _tag: "Live", ...batch }, 0)
  const held = (engine: number, layer: typeof DEVICE | typeof HOST): Array<number> => {
    const keys = index.dump(slotOf(engine), layer)
    return Array.from({ length: keys.length / 2 }, (_, i) => nameOf(keys, i * 2)).sort((a, b) => a - b)
  }
  return { index, publishers, replay, connect, live, held }
}

/** One replica's picture of some engines, taken by another while all of them go on. What came of the takings. */
const take = (seed: number) =>
  Effect.gen(function* () {
    const random = Random.make(Random.mix(0x51a9, [seed]))
    const below = (count: number) => Math.floor(random() * count)
    const rings = Array.from({ length: engines }, (): Array<Batch> => [])
    const caches = rings.map((_, engine) => {
      const hostBlocks = engine === 0 ? 0 : 60 + below(100)
      const traits = {
        blocks: 80 + below(150),
        hostBlocks,
        hostEmpty: engine === 1,
        randomSeed: false,
        windowed: engine === 2
      }
      return new ModelEngine(traits, random, hasher)
    })
    const ring = (engine: number) => rings[engine]!
    const first = replica((engine) => engine, ring)
    const second = replica((engine) => (engine + 1) % engines, ring)
    const hears = new Set<number>()
    const work = (): void => {
      const engine = below(engines)
      const cache = caches[engine]!
      const events = random() < 0.002 ? cache.clear() : cache.serve({ fresh: random() < 0.3, reports: false }).events
      if (events.length === 0) return
      const batch = { seq: rings[engine]!.length, payload: payloadOf(events) }
      rings[engine]!.push(batch)
      first.live(engine, batch)
      if (hears.has(engine)) second.live(engine, batch)
    }
    for (let engine = 0; engine < engines; engine++) first.connect(engine)
    first.replay()
    for (let i = 0; i < 150 + below(500); i++) work()

    const collector: Pick<Collector["Service"], "save"> = {
      save: (slot, hashesMax, began) =>
        Effect.sync(() => {
          began()
          const { head, pieces } = first.publishers[slot]!.publisher.save(Math.min(hashesMax, 1 + below(90)))!
          return { head, pieces: [...pieces] }
        })
    }
    let wanted = Array.from({ length: engines }, (_, engine) => engine)
    let voided = 0
    let frames = 0
    for (let tries = 0; wanted.length > 0; tries++) {
      assert.isBelow(tries, 20)
      const session = new SnapshotSession(
        {
          collector: collector as Collector["Service"],
          index: first.index,
          positionOf: () => 1,
          bytesMax: () => 6_000
        },
        wanted.map((engine) => first.publishers[engine]!.followed)
      )
      const taker = new SnapshotTaker(
        wanted.map((engine) => {
          const { followed, publisher } = second.publishers[engine]!
          const { copy } = publisher
          return {
            slot: followed.slot,
            restore: (head) =>
              copy.begin(head)
                ? {
                    piece: (words) => copy.piece(words),
                    publish: (delta) => copy.publish(delta),
                    end: () => copy.end(),
                    abandon: () => copy.abandon()
                  }
                : null
          }
        })
      )
      for (;;) {
        const frame = yield* session.next()
        if (frame === null) break
        frames++
        assert.isTrue(taker.take(frame))
        for (let i = below(5); i > 0; i--) work()
        // Indexes are slow, now and then.
        if (random() < 0.5) yield* first.index.caughtUp
        if (random() < 0.5) yield* second.index.caughtUp
      }
      assert.isTrue(taker.isOver)
      const left: Array<number> = []
      for (const [at, outcome] of taker.outcomes.entries()) {
        const engine = wanted[at]!
        if (outcome._tag === "voided") {
          left.push(engine)
          continue
        }
        assert.strictEqual(outcome._tag, "taken")
        second.connect(engine)
        hears.add(engine)
        if (random() < 0.5) work()
      }
      second.replay()
      voided += left.length
      wanted = left
    }
    for (let i = below(200); i > 0; i--) work()
    second.replay()
    yield* Effect.all([first.index.settled, second.index.settled])
    const what = (engine: number) => `seed ${seed}, engine ${engine}`
    let held = 0
    for (const [engine, cache] of caches.entries()) {
      for (const layer of [DEVICE, HOST] as const) {
        const truth = [...cache.truth(layer)].sort((a, b) => a - b)
        assert.deepStrictEqual(first.held(engine, layer), truth, `${what(engine)}, layer ${layer}`)
        assert.deepStrictEqual(second.held(engine, layer), truth, `${what(engine)}, layer ${layer}`)
        held += truth.length
      }
      // Nothing was read from the start.
      const { batches, complete, health, purges, restarts } = second.publishers[engine]!.publisher.state(0)
      assert.deepStrictEqual([complete, health, purges, restarts], [true, "whole", 0, 0], what(engine))
      if (rings[engine]!.length > 300) assert.isBelow(batches, rings[engine]!.length)
    }
    return { voided, frames, held }
  })

describe("SnapshotSession and SnapshotTaker", () => {
  it.effect("make two replicas the same, and what the engines hold, though everything goes on meanwhile", () =>
    Effect.gen(function* () {
      let [voided, frames, held] = [0, 0, 0]
      for (let seed = 0; seed < 20; seed++) {
        const came = yield* take(seed)
        voided += came.voided
        frames += came.frames
        held += came.held
      }
      assert.isAbove(voided, 3)
      assert.isAbove(frames, 1_000)
      assert.isAbove(held, 10_000)
    })
  )
})
