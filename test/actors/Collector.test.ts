import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Collector } from "../../actors/Collector.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import { EndpointInvalid, EventStream } from "../../src/ports/EventStream.ts"
import { hasher, rig, slot, source } from "../support/EventRig.ts"
import * as Vllm from "../support/VllmPublisher.ts"

describe("Collector", () => {
  it.effect("indexes what the engine holds, and knows what came before it joined", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        wire.publish(engine.store([1, 2, 3]))
        wire.publish(engine.store([1, 2, 4]))
        yield* follow()
        wire.publish(engine.store([1, 2, 3, 5]))
        wire.publish(engine.evict([1, 2, 4]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), {
          health: "whole",
          why: "",
          complete: true,
          blockSize: 4,
          gaps: 0,
          purges: 0,
          lagEvents: 0,
          lastSeq: 3
        })
        wire.publish(engine.clear())
        assert.deepStrictEqual(yield* indexed, [])
        wire.publish(engine.store([9]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
      })
    )
  )

  it.effect("is absent before anything is heard, and tells of every change", () =>
    rig({}, ({ collector, engine, follow, state, wire }) =>
      Effect.gen(function* () {
        const told: Array<string> = []
        collector.onState((at, { blockSize, health, why }) => told.push(`${at} ${health} ${blockSize} ${why}`))
        yield* follow({ source: source(0, false) })
        assert.deepInclude(state(), { health: "absent", why: "nothing heard yet" })
        wire.publish(engine.store([1]))
        wire.disconnect()
        assert.deepStrictEqual(told, [
          "2 absent null not connected yet",
          "2 absent null nothing heard yet",
          "2 whole 4 ",
          "2 broken 4 disconnected"
        ])
      })
    )
  )

  it.effect("reads a publisher anew when its subscription dies", () => {
    let opened = 0
    const dying = (real: Layer.Layer<EventStream>) =>
      Layer.effect(
        EventStream,
        Effect.gen(function* () {
          const stream = yield* EventStream
          return EventStream.of({
            open: (at, listener, who) => (++opened === 1 ? Effect.die("a defect") : stream.open(at, listener, who))
          })
        })
      ).pipe(Layer.provide(real))
    return rig({ stream: dying }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        wire.publish(engine.store([1, 2, 3]))
        yield* follow()
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.strictEqual(state().health, "whole")
      })
    )
  })

  it.effect("reads a publisher anew when applying its events dies half-way", () => {
    let deadly = 1
    const mined = Layer.effect(
      EventBus,
      Effect.gen(function* () {
        const bus = yield* EventBus
        return EventBus.of({
          ...bus,
          publish: (delta) => {
            if (delta._tag === "Stored" && deadly-- > 0) throw new Error("a defect")
            return bus.publish(delta)
          }
        })
      })
    ).pipe(Layer.provide(EventBus.layerMemory))
    return rig({ bus: mined }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1, 2, 3]))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.strictEqual(state().health, "whole")
      })
    )
  })

  it.effect("keeps copies apart from repeats on the wire", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        const first = engine.store([1, 2])
        const again = engine.store([1, 2])
        wire.publish(first)
        wire.publish(again)
        wire.inject(0, first)
        wire.inject(1, again)
        assert.strictEqual(state().duplicates, 2)
        for (const left of [2, 1]) {
          wire.publish(engine.evict([1, 2]))
          assert.strictEqual((yield* indexed).length, left)
          assert.deepStrictEqual(yield* indexed, engine.keys())
        }
      })
    )
  )

  it.effect("takes repeats for reports where requests ask for full reports", () =>
    rig({}, ({ collector, engine, follow, indexed, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        const report = engine.store([1])
        wire.publish(report)
        collector.refreshes(slot)
        wire.publish(report)
        wire.publish(engine.evict([1]))
        assert.deepStrictEqual(yield* indexed, [])
      })
    )
  )

  it.effect("finds out by itself that an engine repeats what it reuses, and counts anew", () => {
    const lines: Array<string> = []
    const logger = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
    return rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow({ blockCount: 3 })
        const report = engine.store([1])
        wire.publish(report)
        for (let i = 0; i < 3; i++) wire.publish(report)
        assert.deepInclude(state(), { health: "broken", why: "counted more blocks than its cache has" })
        yield* TestClock.adjust("1 second")
        assert.deepInclude(state(), { health: "whole", complete: true, purges: 2 })
        for (let i = 0; i < 9; i++) wire.publish(report)
        wire.publish(engine.evict([1]))
        assert.deepStrictEqual(yield* indexed, [])
        assert.strictEqual(lines.filter((line) => line.includes("repeats what it reuses")).length, 1)
      })
    ).pipe(Effect.provide(logger))
  })

  it.effect("follows the ranks of a worker apart", () =>
    rig({}, ({ collector, engine, follow, hub, index, indexed, wire }) =>
      Effect.gen(function* () {
        const other = Vllm.make(hasher, "m", "array", 1)
        yield* follow()
        yield* follow({ name: "w/dp1", slot: slot + 1, source: source(1) })
        wire.publish(engine.store([1, 2]))
        hub.publisher("mem://1").publish(other.store([1, 2]))
        wire.publish(engine.evict([1, 2]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepStrictEqual(Vllm.keyNames(index.dump(slot + 1, 0)), other.keys())
        yield* collector.stop(slot)
        assert.isNull(collector.state(slot))
        assert.strictEqual(collector.state(slot + 1)?.health, "whole")
      })
    )
  )

  it.effect("withdraws a publisher that is stopped, and follows it anew without leftovers", () =>
    rig({}, ({ collector, engine, follow, index, indexed, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1, 2]))
        yield* indexed
        yield* follow()
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.strictEqual(wire.listeners(), 1)
        yield* collector.stop(slot)
        assert.deepStrictEqual(yield* indexed, [])
        assert.isTrue(index.reusable(slot))
        assert.isNull(collector.state(slot))
        assert.strictEqual(wire.listeners(), 0)
      })
    )
  )

  it.effect("is silent about a slot from the moment it is told to stop, however slowly the socket closes", () => {
    // Two leave at once, as when a worker changes and is removed in the same moment; the slot has its next tenant then.
    const closing = Deferred.makeUnsafe<void>()
    const stream = (real: Layer.Layer<EventStream>) =>
      Layer.effect(
        EventStream,
        Effect.map(EventStream, (inner) =>
          EventStream.of({
            open: (from, listener, who) =>
              Effect.tap(inner.open(from, listener, who), () => Effect.addFinalizer(() => Deferred.await(closing)))
          })
        )
      ).pipe(Layer.provide(real))
    return rig({ stream }, ({ collector, engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const told: Array<string> = []
        yield* follow({ name: "former", source: source(1) })
        const former = hub.publisher("mem://1")
        const publisher = Vllm.make(hasher, "m", "map")
        former.publish(publisher.store([7, 8]))
        yield* Effect.forkChild(collector.stop(slot), { startImmediately: true })
        yield* Effect.forkChild(collector.stop(slot), { startImmediately: true })
        assert.isNull(collector.state(slot))
        assert.deepStrictEqual(yield* indexed, [])
        collector.onState((_, { health }) => told.push(health))
        former.publish(publisher.store([7, 8, 9]))
        assert.deepStrictEqual(told, [])
        yield* follow()
        hub.publisher("mem://0").publish(engine.store([1, 2]))
        former.publish(publisher.store([7, 9]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        yield* Deferred.succeed(closing, undefined)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { health: "whole", complete: true })
        assert.strictEqual(former.listeners(), 0)
      }).pipe(Effect.ensuring(Deferred.succeed(closing, undefined)))
    )
  })

  it.effect("reads everything again when told that the index was lost", () =>
    rig({}, ({ collector, engine, follow, index, indexed, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1, 2]))
        yield* indexed
        index.drop(slot)
        collector.resync()
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, engine.keys())
      })
    )
  )

  it.effect("reads a large fleet a few at a time, each in its turn", () =>
    rig({ options: { concurrentReplays: 3 } }, ({ collector, follow, hub }) =>
      Effect.gen(function* () {
        const slots = [0, 1, 2, 3, 4, 5, 6, 7]
        for (const at of slots) {
          const engine = Vllm.make(hasher, "m", "map")
          const wire = hub.publisher(`mem://${at}`)
          wire.publish(engine.store([1, 2]))
          wire.replayMs = 1_000
          yield* follow({ slot: at, source: source(at) })
        }
        const done = () => slots.filter((at) => collector.state(at)?.complete)
        assert.deepStrictEqual(
          slots.map((at) => collector.state(at)?.recovery.phase),
          slots.map((at) => (at < 3 ? "replaying" : "queued"))
        )
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(done(), [0, 1, 2])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(done(), [0, 1, 2, 3, 4, 5])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(done(), slots)
        assert.strictEqual(hub.replaysAtOnce(), 3)
      })
    )
  )

  it.effect("names once what events carry that it does not know, and how they are hashed", () => {
    const lines: Array<string> = []
    const logger = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
    const describeHash = (known: boolean) =>
      rig({}, ({ engine, follow, state, wire }) =>
        Effect.gen(function* () {
          yield* follow({
            decode: (payload) => ({ ...decode(payload), unknown: ["field BlockStored.foo"] }),
            describe: () => (known ? "sha256, PYTHONHASHSEED=0" : null)
          })
          assert.isNull(state().hashing)
          wire.publish(engine.store([1]))
          wire.publish(engine.store([2]))
          assert.deepStrictEqual(state().unknown, { "field BlockStored.foo": 2 })
          return state().hashing
        })
      ).pipe(Effect.provide(logger))
    return Effect.gen(function* () {
      assert.strictEqual(yield* describeHash(true), "sha256, PYTHONHASHSEED=0")
      assert.deepStrictEqual(lines, [
        "KV events of w carry `field BlockStored.foo`, which this version does not know; ignored",
        "Blocks of w are hashed with: sha256, PYTHONHASHSEED=0"
      ])
      assert.strictEqual(yield* describeHash(false), "random or unknown hash seed")
    })
  })

  it.effect("remembers a bounded number of unknown names", () =>
    rig({}, ({ engine, follow, state, wire }) =>
      Effect.gen(function* () {
        let n = 0
        yield* follow({ decode: (payload) => ({ ...decode(payload), unknown: [`field ${n++}`] }) })
        for (let i = 0; i < 200; i++) wire.publish(engine.store([i]))
        assert.strictEqual(Object.keys(state().unknown).length, 64)
      })
    )
  )

  it.effect("starts the slot over when the bus had no room, and leaves it alone while there is none", () => {
    let room = true
    const sent: Array<KvDelta["_tag"]> = []
    const narrow = Layer.effect(
      EventBus,
      Effect.gen(function* () {
        const bus = yield* EventBus
        return EventBus.of({
          ...bus,
          publish: (delta) => {
            sent.push(delta._tag)
            return (room || delta._tag === "Cleared") && bus.publish(delta)
          }
        })
      })
    ).pipe(Layer.provide(EventBus.layerMemory))
    return rig({ bus: narrow }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        room = false
        wire.publish(engine.evict([1]))
        for (let i = 2; i < 50; i++) wire.publish(engine.store([i]))
        assert.deepInclude(state(), {
          health: "broken",
          why: "more events than the index takes",
          complete: false,
          overflows: 1,
          shed: 48,
          lagEvents: 0
        })
        assert.strictEqual(state().recovery.phase, "shedding")
        // One refusal, one word that all is forgotten, and no more.
        assert.deepStrictEqual(sent, ["Stored", "Removed", "Cleared"])
        assert.deepStrictEqual(yield* indexed, [])
        room = true
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { health: "whole", complete: true, overflows: 1 })
      })
    )
  })

  it.effect("goes on from what comes when fresh starts do not fit the bus, and tries again when it is calm", () => {
    let room = true
    const narrow = Layer.effect(
      EventBus,
      Effect.map(EventBus, (bus) =>
        EventBus.of({ ...bus, publish: (delta) => (room || delta._tag === "Cleared") && bus.publish(delta) })
      )
    ).pipe(Layer.provide(EventBus.layerMemory))
    return rig({ bus: narrow }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        room = false
        wire.publish(engine.store([1]))
        yield* TestClock.adjust("10 seconds")
        assert.isAtMost(state().replays, 6)
        assert.deepStrictEqual(yield* indexed, [])
        wire.publish(engine.store([2]))
        const { replays } = state()
        yield* TestClock.adjust("10 minutes")
        // A fresh start after one, three and seven minutes.
        assert.isAtMost(state().replays - replays, 8)
        room = true
        wire.publish(engine.store([3]))
        assert.strictEqual((yield* indexed).length, 1)
        assert.deepInclude(state(), { health: "whole", complete: false, why: "more events than the index takes" })
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { health: "whole", complete: true })
      })
    )
  })

  it.effect("logs an address it cannot read, and believes nothing of that worker", () => {
    const broken = Layer.succeed(
      EventStream,
      EventStream.of({
        open: ({ endpoint }) => Effect.fail(new EndpointInvalid({ endpoint, reason: "no such protocol" }))
      })
    )
    return rig({ stream: () => broken }, ({ follow, state }) =>
      Effect.gen(function* () {
        yield* follow()
        yield* TestClock.adjust("1 minute")
        assert.deepInclude(state(), { health: "absent", connected: false, why: "no such protocol", replays: 0 })
      })
    )
  })

  it.effect("needs nothing of a slot that is not followed", () =>
    Effect.gen(function* () {
      const collector = yield* Collector
      collector.resync(7)
      collector.refreshes(7)
      collector.expected(7, 1_000)
      yield* collector.stop(7)
      assert.isNull(collector.state(7))
    }).pipe(
      Effect.provide(
        Collector.layer({ hasher }).pipe(
          Layer.provide(
            Layer.merge(EventBus.layerMemory, Layer.succeed(EventStream, EventStream.of({ open: () => Effect.never })))
          )
        )
      )
    )
  )
})
