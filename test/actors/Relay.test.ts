import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as BusMemory from "../../src/ports/BusMemory.ts"
import { memory } from "../../src/ports/EventStream.ts"
import { hasher } from "../support/EventRig.ts"
import { nameOf, pass, type Replica, sourceOf, start } from "../support/Replicas.ts"
import * as Vllm from "../support/VllmPublisher.ts"

/** So many replicas that follow one publisher, after what it takes to agree on who reads it. */
const rig = <A>(
  replicas: number,
  body: (parts: {
    readonly hub: BusMemory.Hub
    readonly engine: Vllm.VllmPublisher
    readonly wire: ReturnType<ReturnType<typeof memory>["publisher"]>
    readonly all: Array<Replica>
    readonly join: (id: string) => Effect.Effect<Replica>
    readonly owner: () => Replica
    readonly followers: () => ReadonlyArray<Replica>
    /** Everybody's picture is complete, and is what the engine holds. */
    readonly agree: Effect.Effect<void>
  }) => Effect.Effect<A>
) =>
  Effect.gen(function* () {
    const hub = BusMemory.make()
    const engines = memory()
    const engine = Vllm.make(hasher, "org/model", "map")
    const wire = engines.publisher(sourceOf(0).endpoint)
    const all: Array<Replica> = []
    const join = (id: string) =>
      Effect.gen(function* () {
        const replica = yield* start(id, hub.client(), engines, 1)
        yield* replica.follow(0)
        all.push(replica)
        return replica
      })
    for (let i = 0; i < replicas; i++) yield* join(`r${i}`)
    yield* pass(2_000)
    const result = yield* body({
      hub,
      engine,
      wire,
      all,
      join,
      owner: () => all.find(({ relay }) => relay.roleOf(nameOf(0)) === "owner")!,
      followers: () => all.filter(({ relay }) => relay.roleOf(nameOf(0)) === "follower"),
      agree: Effect.gen(function* () {
        for (const replica of all) {
          const { complete, health, why } = replica.state(0)!
          assert.deepStrictEqual([replica.id, complete, health, why], [replica.id, true, "whole", ""])
          assert.deepStrictEqual(yield* replica.indexed(0), engine.keys(), replica.id)
        }
      })
    })
    for (const { stop } of all) yield* stop
    return result
  })

describe("Relay", () => {
  it.effect("lets one replica read an engine, and all of them know its cache", () =>
    rig(3, ({ agree, all, engine, followers, wire }) =>
      Effect.gen(function* () {
        assert.strictEqual(wire.listeners(), 1)
        assert.strictEqual(followers().length, 2)
        wire.publish(engine.store([1, 2, 3]))
        wire.publish(engine.evict([1, 2, 3]))
        wire.publish(engine.store([4]))
        yield* pass(100)
        yield* agree
        assert.deepStrictEqual(
          all.map(({ state }) => state(0)!.lastSeq),
          [2, 2, 2]
        )
      })
    )
  )
})
