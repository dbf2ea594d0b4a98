import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Collector, type Options } from "../../actors/Collector.ts"
import { PrefixIndex } from "../../actors/PrefixIndex.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import type { EventSource } from "../../src/domain/Worker.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import { EventStream, memory } from "../../src/ports/EventStream.ts"
import * as Vllm from "../support/VllmPublisher.ts"

const hasher = BlockHash.make()
const slot = 2
const source = (rank = 0, replay = true): EventSource => ({
  endpoint: `mem://${rank}`,
  replayEndpoint: replay ? `mem://${rank}/replay` : null,
  topic: "",
  rank
})

/** An engine, its wire, and the whole way into the index; the body drives them. */
const rig = <A, E>(
  given: {
    readonly bufferMax?: number
    readonly options?: Partial<Options>
    readonly bus?: Layer.Layer<EventBus>
    readonly stream?: (real: Layer.Layer<EventStream>) => Layer.Layer<EventStream>
  },
  body: (parts: {
    readonly hub: ReturnType<typeof memory>
    readonly engine: Vllm.VllmPublisher
    readonly follow: (sources?: ReadonlyArray<EventSource>) => Effect.Effect<void>
    readonly state: () => NonNullable<ReturnType<Collector["Service"]["state"]>>
    readonly indexed: Effect.Effect<ReadonlyArray<string>>
    readonly collector: Collector["Service"]
    readonly index: PrefixIndex["Service"]
  }) => Effect.Effect<A, E, never>
) =>
  Effect.gen(function* () {
    const hub = memory(given.bufferMax)
    const layers = Layer.mergeAll(
      PrefixIndex.layer({ workersMax: 8, blocksMax: 10_000 }),
      Collector.layer({ hasher, ...given.options })
    ).pipe(
      Layer.provideMerge(
        Layer.mergeAll(given.bus ?? EventBus.layerMemory, (given.stream ?? ((real) => real))(hub.layer))
      )
    )
    return yield* Effect.gen(function* () {
      const collector = yield* Collector
      const index = yield* PrefixIndex
      return yield* body({
        hub,
        collector,
        index,
        engine: Vllm.make(hasher, "m", "map"),
        follow: (sources = [source()]) =>
          collector
            .start({ id: "w", slot, model: "m", sources, blockSize: null, decode })
            .pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(TestClock.adjust(0))),
        state: () => collector.state("w")!,
        indexed: Effect.map(index.settled, () => Vllm.keyNames(index.dump(slot)))
      })
    }).pipe(Effect.provide(layers))
  })

describe("Collector", () => {
  it.effect("indexes what the engine holds, and knows what came before it joined", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        wire.publish(engine.store([1, 2, 3]))
        wire.publish(engine.store([1, 2, 4]))
        yield* follow()
        wire.publish(engine.store([1, 2, 3, 5]))
        wire.publish(engine.evict([1, 2, 4]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", complete: true, blockSize: 4, gaps: 0, purges: 0, lagEvents: 0 })
        assert.deepStrictEqual(state().lastSeq, [3])
        wire.publish(engine.clear())
        assert.deepStrictEqual(yield* indexed, [])
        wire.publish(engine.store([9]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
      })
    )
  )

  it.effect("reads a worker anew when its subscription dies", () => {
    let opened = 0
    const dying = (real: Layer.Layer<EventStream>) =>
      Layer.effect(
        EventStream,
        Effect.gen(function* () {
          const stream = yield* EventStream
          return EventStream.of({
            open: (at, listener) => (++opened === 1 ? Effect.die("a defect") : stream.open(at, listener))
          })
        })
      ).pipe(Layer.provide(real))
    return rig({ stream: dying }, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        hub.publisher("mem://0").publish(engine.store([1, 2, 3]))
        yield* follow()
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.strictEqual(state().trust, "exact")
      })
    )
  })

  it.effect("heals a gap by replay, degraded meanwhile", () =>
    rig({}, ({ collector, engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        const trusts: Array<string> = []
        collector.onTrust((_, trust) => trusts.push(trust))
        yield* follow()
        wire.publish(engine.store([1, 2]))
        wire.publish(engine.store([1, 2, 3]), true)
        wire.publish(engine.store([1, 2, 3, 4]))
        assert.strictEqual(state().trust, "degraded")
        assert.strictEqual(state().lagEvents, 1)
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", complete: true, gaps: 1, purges: 0 })
        // The second `exact` is the block size becoming known.
        assert.deepStrictEqual(trusts, ["none", "exact", "exact", "degraded", "exact"])
      })
    )
  )

  it.effect("finds out that the very last message was lost, once it is quiet", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        wire.publish(engine.store([1]))
        wire.publish(engine.store([2]), true)
        assert.notDeepEqual(yield* indexed, engine.keys())
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", gaps: 0, purges: 0 })
      })
    )
  )

  it.effect("keeps copies apart from repeats on the wire", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
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

  it.effect("starts from empty when the engine restarts, told by nothing but its numbers", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        for (let i = 1; i < 6; i++) wire.publish(engine.store([i]))
        engine.restart()
        wire.restart()
        wire.publish(engine.store([7, 8]), true)
        wire.publish(engine.store([7, 9]))
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", complete: true, restarts: 1 })
      })
    )
  )

  it.effect("is degraded while disconnected, and looks again on the way back", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        wire.publish(engine.store([1]))
        wire.disconnect()
        assert.strictEqual(state().trust, "degraded")
        engine.restart()
        wire.restart()
        wire.publish(engine.store([5, 6]), true)
        wire.connect()
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", complete: true })
      })
    )
  )

  it.effect("admits lost history when the ring is too short, and counts what hangs in the air", () =>
    rig({ bufferMax: 2 }, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        for (let i = 1; i < 5; i++) wire.publish(engine.store([1, 2, 3, 4, 5].slice(0, i)))
        wire.publish(engine.store([8]))
        yield* follow()
        wire.publish(engine.store([8, 9]))
        assert.strictEqual((yield* indexed).length, 2)
        assert.deepInclude(state(), { trust: "exact", complete: false, unknownParents: 1, lost: 1 })
        wire.publish(engine.clear())
        wire.publish(engine.store([6]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.isTrue(state().complete)
      })
    )
  )

  it.effect("without a replay address rebuilds from live events after a gap", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow([source(0, false)])
        assert.strictEqual(state().trust, "none")
        wire.publish(engine.store([1, 2]))
        wire.publish(engine.store([3]), true)
        wire.publish(engine.store([4, 5]))
        assert.strictEqual((yield* indexed).length, 2)
        assert.deepInclude(state(), { trust: "exact", complete: false, gaps: 1, replays: 0 })
      })
    )
  )

  it.effect("retries a failing replay with growing pauses, then goes on without", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        wire.publish(engine.store([1]))
        wire.failReplays = 2
        wire.publish(engine.store([2]), true)
        wire.publish(engine.store([3]))
        yield* TestClock.adjust(0)
        assert.deepInclude(state(), { trust: "degraded", replayFailures: 1 })
        yield* TestClock.adjust(250)
        assert.strictEqual(state().replayFailures, 2)
        yield* TestClock.adjust(500)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", complete: true })
        wire.failReplays = 100
        wire.publish(engine.store([4]), true)
        wire.publish(engine.store([5]))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual((yield* indexed).length, 1)
        assert.deepInclude(state(), { trust: "exact", complete: false, lost: 1 })
      })
    )
  )

  it.effect("starts over when a store's parent never comes, though nothing seemed lost", () =>
    rig({ options: { parkedBatches: 2 } }, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        wire.publish(engine.store([1]))
        const shadow = Vllm.make(hasher, "m", "map")
        shadow.store([50])
        wire.publish(shadow.store([50, 51]))
        for (let i = 2; i < 6; i++) wire.publish(engine.store([i]))
        assert.strictEqual(state().trust, "degraded")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        // Its own replay says the same: that is then how it is.
        assert.deepInclude(state(), { trust: "exact", purges: 1, orphansDropped: 2 })
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(state().purges, 1)
      })
    )
  )

  it.effect("counts payloads it cannot read, and lives on", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        wire.publish(engine.store([1]))
        wire.publish(Uint8Array.of(0xc1))
        wire.publish(engine.store([2]))
        assert.strictEqual((yield* indexed).length, 1)
        assert.deepInclude(state(), { decodeErrors: 1, complete: false, trust: "exact" })
      })
    )
  )

  it.effect("starts the worker over when the bus had no room", () => {
    let room = true
    const taken: Array<KvDelta> = []
    const narrow = Layer.effect(
      EventBus,
      Effect.gen(function* () {
        const bus = yield* EventBus
        return EventBus.of({
          ...bus,
          publish: (delta) => {
            if (!room && delta._tag !== "Cleared") return false
            taken.push(delta)
            return bus.publish(delta)
          }
        })
      })
    ).pipe(Layer.provide(EventBus.layerMemory))
    return rig({ bus: narrow }, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        wire.publish(engine.store([1]))
        room = false
        wire.publish(engine.evict([1]))
        wire.publish(engine.store([2]))
        assert.deepInclude(state(), { trust: "degraded", overflows: 1 })
        room = true
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", complete: true, overflows: 1 })
      })
    )
  })

  it.effect("merges the ranks of a worker: a block is held while one of them holds it", () =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        const [a, b] = [hub.publisher("mem://0"), hub.publisher("mem://1")]
        const other = Vllm.make(hasher, "m", "array", 1)
        yield* follow([source(0), source(1)])
        a.publish(engine.store([1, 2]))
        b.publish(other.store([1, 2]))
        a.publish(engine.evict([1, 2]))
        assert.deepStrictEqual(yield* indexed, other.keys())
        other.restart()
        b.restart()
        b.publish(other.store([7]))
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, [...engine.keys(), ...other.keys()].sort())
        assert.deepStrictEqual(state().lastSeq, [1, 0])
      })
    )
  )

  it.effect("withdraws a worker that is stopped, and follows it anew without leftovers", () =>
    rig({}, ({ collector, engine, follow, hub, index, indexed }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
        yield* follow()
        wire.publish(engine.store([1, 2]))
        yield* indexed
        yield* follow()
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.strictEqual(wire.listeners(), 1)
        yield* collector.stop("w")
        assert.deepStrictEqual(yield* indexed, [])
        assert.isTrue(index.reusable(slot))
        assert.isNull(collector.state("w"))
        assert.strictEqual(wire.listeners(), 0)
      })
    )
  )

  it.effect("reads everything again when told that the index was lost", () =>
    rig({}, ({ collector, engine, follow, hub, index, indexed }) =>
      Effect.gen(function* () {
        const wire = hub.publisher("mem://0")
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

  it.effect.each([1, 2, 3, 4])("ends with the engine's own cache after any losses, seed %i", (seed) =>
    rig({}, ({ engine, follow, hub, indexed, state }) =>
      Effect.gen(function* () {
        let random = seed
        const next = (n: number) => {
          random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
          return (random >>> 8) % n
        }
        const wire = hub.publisher("mem://0")
        yield* follow()
        const chains: Array<ReadonlyArray<number>> = []
        for (let i = 0; i < 400; i++) {
          const lost = next(8) === 0
          if (next(4) > 0 || chains.length === 0) {
            const chain = Array.from({ length: 1 + next(6) }, (_, depth) => next(3) + depth * 10)
            if (chains.some((known) => known.join().startsWith(chain.join()))) continue
            chains.push(chain)
            wire.publish(engine.store(chain), lost)
          } else {
            const chain = chains.splice(next(chains.length), 1)[0]!
            if (chains.some((other) => other.join().startsWith(chain.join()))) continue
            wire.publish(engine.evict(chain), lost)
          }
          if (next(10) === 0) yield* TestClock.adjust(next(300))
          if (next(80) === 0) wire.failReplays = next(3)
          if (next(100) === 0) {
            engine.restart()
            wire.restart()
            chains.length = 0
          }
        }
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { trust: "exact", complete: true, lagEvents: 0, unknownParents: 0 })
      })
    )
  )

  it.effect("logs an address it cannot read, and believes nothing of that worker", () =>
    Effect.gen(function* () {
      const { EndpointInvalid } = yield* Effect.promise(() => import("../../src/ports/EventStream.ts"))
      const broken = Layer.succeed(
        EventStream,
        EventStream.of({
          open: ({ endpoint }) => Effect.fail(new EndpointInvalid({ endpoint, reason: "no such protocol" }))
        })
      )
      yield* Effect.gen(function* () {
        const collector = yield* Collector
        yield* collector.start({ id: "w", slot, model: "m", sources: [source()], blockSize: null, decode })
        assert.deepInclude(collector.state("w"), { trust: "none", connected: false })
      }).pipe(
        Effect.provide(Collector.layer({ hasher }).pipe(Layer.provide(Layer.merge(EventBus.layerMemory, broken))))
      )
    })
  )
})
