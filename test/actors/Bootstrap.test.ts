import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Bootstrap, type Options } from "../../actors/Bootstrap.ts"
import { Snapshots } from "../../actors/Snapshots.ts"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import { type MemoryPublisher, memory } from "../../src/ports/EventStream.ts"
import { random } from "../support/Chains.ts"
import { hasher } from "../support/EventRig.ts"
import { nameOf, pass, type Replica, sourceOf, start } from "../support/Replicas.ts"
import * as Vllm from "../support/VllmPublisher.ts"

/** Batches an engine can repeat: far fewer than it takes to tell its cache. */
const ringMax = 24
const publishers = 3

interface Engine {
  readonly cache: Vllm.VllmPublisher
  readonly wire: MemoryPublisher
  /** One more batch: a store, or an eviction. */
  readonly work: () => void
}

interface Joined extends Replica {
  readonly bootstrap: Bootstrap["Service"]
  readonly snapshots: Snapshots["Service"]
}

interface Rig {
  readonly hub: BusMemory.Hub
  readonly engines: ReadonlyArray<Engine>
  readonly join: (id: string, options?: Partial<Options>) => Effect.Effect<Joined>
  readonly work: (batches: number) => void
  /** The index of a replica holds what the engines do, and its publishers know that. */
  readonly agrees: (replica: Replica) => Effect.Effect<void>
}

const rig = <A>(body: (parts: Rig) => Effect.Effect<A>, bus: BusMemory.Options = {}): Effect.Effect<A> =>
  Effect.gen(function* () {
    const next = random(7)
    const hub = BusMemory.make(bus)
    const stream = memory(ringMax)
    const started: Array<Replica> = []
    const engines = Array.from({ length: publishers }, (_, n): Engine => {
      const cache = Vllm.make(hasher, "org/model", "map")
      const wire = stream.publisher(sourceOf(n).endpoint)
      let chains: Array<ReadonlyArray<number>> = []
      const work = () => {
        const last = chains.at(-1)
        if (last !== undefined && chains.length > 120) {
          chains = chains.filter((chain) => chain !== last)
          wire.publish(cache.evict(last))
          return
        }
        const chain = [1 + next(3), 10 + next(4), 20 + next(4), 30 + next(9)].slice(0, 1 + next(4))
        wire.publish(cache.store(chain))
        for (let length = 1; length <= chain.length; length++) {
          const part = chain.slice(0, length)
          if (!chains.some((known) => known.join() === part.join())) chains.push(part)
        }
      }
      return { cache, wire, work }
    })
    const result = yield* body({
      hub,
      engines,
      work: (batches) => {
        for (let i = 0; i < batches; i++) engines[next(publishers)]!.work()
      },
      join: (id, options = {}) =>
        Effect.gen(function* () {
          const replica = yield* start(id, hub.client(), stream, publishers)
          started.push(replica)
          const both = Snapshots.layer({ id }).pipe(Layer.provideMerge(Bootstrap.layer({ id, ...options })))
          const added = yield* replica.add(both)
          const bootstrap = Context.get(added, Bootstrap)
          const snapshots = Context.get(added, Snapshots)
          for (let n = 0; n < publishers; n++) yield* replica.follow(n)
          return { ...replica, bootstrap, snapshots }
        }),
      agrees: (replica) =>
        Effect.gen(function* () {
          for (const [n, { cache }] of engines.entries()) {
            const { complete, health, why } = replica.state(n)!
            assert.deepStrictEqual([nameOf(n), complete, health, why], [nameOf(n), true, "whole", ""], replica.id)
            assert.deepStrictEqual(yield* replica.indexed(n), cache.keys(), `${replica.id} of ${nameOf(n)}`)
          }
        })
    })
    for (const { stop } of started) yield* stop
    return result
  })

describe("Bootstrap", () => {
  it.effect("gives a late replica the picture of the first, though no engine could tell it any more", () =>
    rig(({ agrees, engines, join, work }) =>
      Effect.gen(function* () {
        const first = yield* join("a")
        yield* pass(2_000, () => work(3))
        assert.isTrue(first.bootstrap.isReady())
        yield* pass(3_000, () => work(12))
        yield* agrees(first)
        for (const { cache } of engines) assert.isAbove(cache.keys().length, 2 * ringMax)
        const late = yield* join("b")
        // Nobody waits for it: engines and the first replica go on.
        yield* pass(1_000, () => work(3))
        assert.isTrue(late.bootstrap.isReady())
        yield* pass(500)
        yield* agrees(late)
        yield* agrees(first)
        assert.deepInclude(late.bootstrap.stats(), { waiting: 0, taken: publishers, failed: 0 })
        assert.strictEqual(first.snapshots.stats().sessions, 0)
        for (let n = 0; n < publishers; n++) assert.strictEqual(late.state(n)!.purges, 0)
        yield* pass(2_000, () => work(6))
        yield* agrees(late)
        yield* agrees(first)
      })
    )
  )

  it.effect("answers at once where nobody has a picture", () =>
    rig(({ agrees, join, work }) =>
      Effect.gen(function* () {
        work(10)
        const [first, second] = [yield* join("a"), yield* join("b")]
        yield* pass(1_500)
        assert.isTrue(first.bootstrap.isReady() && second.bootstrap.isReady())
        assert.deepInclude(second.bootstrap.stats(), { waiting: 0, taken: 0, failed: 0, bytes: 0 })
        yield* pass(1_000, () => work(1))
        yield* agrees(first)
        yield* agrees(second)
      })
    )
  )
})
