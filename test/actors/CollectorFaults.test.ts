import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { hasher, rig, slot, source } from "../support/EventRig.ts"
import * as Vllm from "../support/VllmPublisher.ts"

const yes = { health: "whole", complete: true, why: "" } as const

describe("Collector under faults of the wire", () => {
  it.effect("heals a gap by replay, broken meanwhile", () =>
    rig({}, ({ collector, engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        const told: Array<string> = []
        collector.onState((_, { health, why }) => told.push(`${health} ${why}`))
        yield* follow()
        told.length = 0
        wire.publish(engine.store([1, 2]))
        wire.publish(engine.store([1, 2, 3]), true)
        wire.publish(engine.store([1, 2, 3, 4]))
        assert.deepInclude(state(), { health: "broken", why: "sequence gap at 1" })
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, gaps: 1, purges: 0 })
        // The first is the block size becoming known.
        assert.deepStrictEqual(told, ["whole ", "broken sequence gap at 1", "whole "])
      })
    )
  )

  it.effect("finds out that the very last message was lost, once it is quiet", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        wire.publish(engine.store([2]), true)
        assert.notDeepEqual(yield* indexed, engine.keys())
        yield* TestClock.adjust("6 seconds")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, gaps: 0, purges: 0 })
      })
    )
  )

  it.effect("looks at a quiet publisher ever more rarely, and hears it all the same", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        yield* TestClock.adjust("15 minutes")
        assert.isAtMost(wire.asked, 10)
        wire.publish(engine.store([2]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), yes)
      })
    )
  )

  it.effect("starts from empty when the engine restarts, told by nothing but its numbers", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        for (let i = 1; i < 6; i++) wire.publish(engine.store([i]))
        engine.restart()
        wire.restart()
        wire.publish(engine.store([7, 8]), true)
        wire.publish(engine.store([7, 9]))
        assert.deepInclude(state(), { health: "broken", why: "the engine has restarted" })
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, restarts: 1 })
      })
    )
  )

  it.effect("recognises a restart behind numbers that went on, or beyond", () =>
    Effect.forEach([3, 4, 9], (published) =>
      rig({}, ({ engine, follow, indexed, state, wire }) =>
        Effect.gen(function* () {
          yield* follow()
          for (let i = 1; i < 5; i++) wire.publish(engine.store([i]))
          wire.disconnect()
          engine.restart()
          wire.restart()
          for (let i = 0; i < published; i++) wire.publish(engine.store([100 + i]), true)
          wire.connect()
          wire.publish(engine.store([50]))
          yield* TestClock.adjust(0)
          assert.deepStrictEqual(yield* indexed, engine.keys())
          assert.deepInclude(state(), { ...yes, restarts: 1 })
        })
      )
    )
  )

  it.effect("is broken while disconnected, and looks again on the way back", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        wire.disconnect()
        assert.deepInclude(state(), { health: "broken", why: "disconnected" })
        wire.publish(engine.store([5, 6]), true)
        wire.connect()
        assert.deepInclude(state(), { health: "broken", why: "reconnected" })
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, purges: 0 })
      })
    )
  )

  it.effect("asks nothing of an engine it cannot reach, and forgets nothing meanwhile, though a hole is open", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        for (let i = 1; i < 5; i++) wire.publish(engine.store([i]))
        wire.publish(engine.store([5]), true)
        wire.failReplays = 1_000
        wire.publish(engine.store([6]))
        wire.disconnect()
        yield* TestClock.adjust("2 minutes")
        assert.isAtMost(wire.asked, 2)
        assert.deepInclude(state(), { health: "broken", why: "disconnected", purges: 0 })
        wire.failReplays = 0
        wire.connect()
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, purges: 0 })
      })
    )
  )

  it.effect("joins slowly: what is published before and while it reads is there, once", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        for (let i = 0; i < 20; i++) wire.publish(engine.store([1, i]))
        wire.replayMs = 1_000
        yield* follow()
        assert.strictEqual(state().recovery.phase, "replaying")
        for (let i = 20; i < 30; i++) wire.publish(engine.store([1, i]))
        assert.deepInclude(state(), { lagEvents: 10, health: "absent" })
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        wire.publish(engine.evict([1, 25]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, purges: 0, lagEvents: 0 })
      })
    )
  )

  it.effect("admits lost history when the ring is too short, and counts what hangs in the air", () =>
    rig({ bufferMax: 2 }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        for (let i = 1; i < 5; i++) wire.publish(engine.store([1, 2, 3, 4, 5].slice(0, i)))
        wire.publish(engine.store([8]))
        yield* follow()
        wire.publish(engine.store([8, 9]))
        assert.strictEqual((yield* indexed).length, 2)
        assert.deepInclude(state(), {
          health: "whole",
          why: "batches before 3 are lost",
          complete: false,
          unknownParents: 1,
          lost: 1
        })
        wire.publish(engine.clear())
        wire.publish(engine.store([6]))
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), yes)
      })
    )
  )

  it.effect("without a replay address rebuilds from live events after a gap or a reconnect", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow({ source: source(0, false) })
        wire.publish(engine.store([1, 2]))
        wire.publish(engine.store([3]), true)
        wire.publish(engine.store([4, 5]))
        assert.strictEqual((yield* indexed).length, 2)
        assert.deepInclude(state(), { health: "whole", complete: false, gaps: 1, replays: 0 })
        wire.disconnect()
        wire.connect()
        assert.deepStrictEqual(yield* indexed, [])
        wire.publish(engine.store([6]))
        assert.strictEqual((yield* indexed).length, 1)
        yield* TestClock.adjust("15 minutes")
        assert.deepInclude(state(), { health: "whole", complete: false, replays: 0 })
      })
    )
  )

  it.effect("retries a failing replay with growing pauses, then goes on without", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        wire.failReplays = 2
        wire.publish(engine.store([2]), true)
        wire.publish(engine.store([3]))
        yield* TestClock.adjust(0)
        assert.deepInclude(state(), {
          health: "broken",
          why: "sequence gap at 1; replay failed: told to fail",
          replayFailures: 1
        })
        assert.deepStrictEqual(state().recovery, { phase: "waiting", attempt: 1, nextTryInMs: 250, replaysLeft: 6 })
        yield* TestClock.adjust(250)
        assert.strictEqual(state().replayFailures, 2)
        assert.deepInclude(state().recovery, { attempt: 2, nextTryInMs: 500 })
        yield* TestClock.adjust(500)
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), yes)
        wire.failReplays = 100
        wire.publish(engine.store([4]), true)
        wire.publish(engine.store([5]))
        yield* TestClock.adjust("1 minute")
        wire.publish(engine.store([6]))
        assert.strictEqual((yield* indexed).length, 1)
        assert.deepInclude(state(), {
          health: "whole",
          complete: false,
          lost: 1,
          why: "sequence gap at 3, and its replay fails"
        })
      })
    )
  )

  it.effect("lives with a replay that answers once and never again", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        wire.answersLeft = 1
        wire.publish(engine.store([1]))
        yield* follow()
        assert.deepInclude(state(), yes)
        wire.publish(engine.store([2]), true)
        wire.publish(engine.store([3]))
        yield* TestClock.adjust("4 seconds")
        assert.deepInclude(state(), { health: "whole", complete: false, replayFailures: 3 })
        assert.deepStrictEqual(yield* indexed, [])
        // A later hole is asked for once.
        for (let i = 4; i < 10; i++) wire.publish(engine.store([i]), i === 6)
        yield* TestClock.adjust("4 seconds")
        wire.publish(engine.store([20]))
        assert.strictEqual((yield* indexed).length, 1)
        assert.deepInclude(state(), { health: "whole", replayFailures: 4, gaps: 2 })
        yield* TestClock.adjust("15 minutes")
        assert.isAtMost(wire.asked, 20)
        assert.strictEqual(state().health, "whole")
      })
    )
  )

  it.effect.each(["hang", "cut", "garble"] as const)("gets over replays that %s", (fault) =>
    rig({ options: { replayMsMax: 2_000 } }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        for (let i = 0; i < 8; i++) wire.publish(engine.store([1, i]))
        wire.replayFault = fault
        wire.publish(engine.store([2]), true)
        wire.publish(engine.store([3]))
        assert.strictEqual(state().health, "broken")
        yield* TestClock.adjust("5 minutes")
        assert.isAtMost(wire.asked, 40)
        assert.strictEqual(state().recovery.phase, "none")
        wire.replayFault = "none"
        engine.restart()
        wire.restart()
        wire.publish(engine.store([4]))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), yes)
      })
    )
  )

  it.effect("goes on when the publisher itself has lost a number", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        wire.skip()
        wire.publish(engine.store([2]))
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* indexed).length, 1)
        assert.deepInclude(state(), { health: "whole", complete: false, why: "batches before 2 are lost" })
        assert.isAtMost(state().replays, 3)
      })
    )
  )

  it.effect("starts no replay for each of many reconnects, and is whole again in the end", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1, 2]))
        for (let i = 0; i < 100; i++) {
          wire.disconnect()
          wire.connect()
          wire.publish(engine.store([1, 2, i]), i % 2 === 0)
          yield* TestClock.adjust(50)
        }
        assert.deepInclude(state(), { health: "broken", why: "100 reconnects in 5 s" })
        assert.isAtMost(wire.asked, 9)
        assert.strictEqual(state().recovery.phase, "waiting")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, purges: 0 })
      })
    )
  )

  it.effect("asks no more often than its budget allows, however many holes there are, and loses nothing by it", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        for (let i = 0; i < 600; i++) {
          wire.publish(engine.store([i]), i % 3 === 0)
          yield* TestClock.adjust(100)
        }
        assert.isAtMost(wire.asked, 8 + 60 / 5)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, purges: 0 })
      })
    )
  )

  it.effect("holds back what it can while a replay runs, and asks for the rest", () =>
    rig({ options: { heldMax: 10 } }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        wire.replayMs = 1_000
        wire.publish(engine.store([2]), true)
        wire.publish(engine.store([3]))
        yield* TestClock.adjust(0)
        for (let i = 4; i < 500; i++) wire.publish(engine.store([i]))
        assert.strictEqual(state().lagEvents, 10)
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, purges: 0 })
      })
    )
  )

  it.effect("starts over when a store's parent never comes, though nothing seemed lost", () =>
    rig({ options: { parkedBatches: 2 } }, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        const shadow = Vllm.make(hasher, "m", "map")
        shadow.store([50])
        wire.publish(shadow.store([50, 51]))
        for (let i = 2; i < 6; i++) wire.publish(engine.store([i]))
        assert.deepInclude(state(), { health: "broken", why: "unknown parent" })
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        // Its own replay says the same: that is then how it is.
        assert.deepInclude(state(), { health: "whole", why: "unknown parent", complete: false, orphansDropped: 2 })
        const { purges } = state()
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(state().purges, purges)
      })
    )
  )

  it.effect("counts payloads it cannot read, says so, and lives on", () =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        wire.publish(Uint8Array.of(0xc1))
        assert.strictEqual(state().health, "broken")
        assert.match(state().why, /^its events cannot be read: ./)
        assert.deepStrictEqual(yield* indexed, [])
        wire.publish(engine.store([2]))
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* indexed).length, 1)
        assert.deepInclude(state(), {
          decodeErrors: 1,
          complete: false,
          health: "whole",
          why: "a batch could not be read"
        })
        const before = wire.asked
        for (let i = 0; i < 1_000; i++) wire.publish(Uint8Array.of(0xc1))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(state().health, "broken")
        assert.strictEqual(wire.asked, before)
      })
    )
  )

  it.effect("does not believe a publisher that is silent though its worker works, and gives it up after a minute", () =>
    rig({}, ({ collector, engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        yield* TestClock.adjust("3 seconds")
        // It was heard while that request ran.
        collector.expected(slot, 4_000)
        yield* TestClock.adjust("20 seconds")
        assert.deepInclude(state(), yes)
        collector.expected(slot, 4_000)
        yield* TestClock.adjust("9 seconds")
        assert.deepInclude(state(), yes)
        yield* TestClock.adjust("2 seconds")
        assert.deepInclude(state(), { health: "broken", why: "silent though its worker works" })
        assert.strictEqual((yield* indexed).length, 1)
        yield* TestClock.adjust("50 seconds")
        assert.deepInclude(state(), {
          health: "absent",
          why: "silent though its worker works, for 60 s",
          complete: false
        })
        assert.deepStrictEqual(yield* indexed, [])
        const { asked } = wire
        yield* TestClock.adjust("15 minutes")
        assert.strictEqual(wire.asked, asked)
        wire.publish(engine.store([2]))
        assert.strictEqual(state().health, "broken")
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), yes)
      })
    )
  )

  it.effect("reads by replay what a publisher is silent about, when that still works", () =>
    rig({}, ({ collector, engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        yield* follow()
        wire.publish(engine.store([1]))
        for (let i = 2; i < 20; i++) {
          yield* TestClock.adjust("10 seconds")
          wire.publish(engine.store([i]), true)
          collector.expected(slot, 1_000)
        }
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.notStrictEqual(state().health, "absent")
      })
    )
  )

  it.effect.each([1, 2, 3, 4])("ends with the engine's own cache after any losses, seed %i", (seed) =>
    rig({}, ({ engine, follow, indexed, state, wire }) =>
      Effect.gen(function* () {
        let random = seed
        const next = (n: number) => {
          random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
          return (random >>> 8) % n
        }
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
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(yield* indexed, engine.keys())
        assert.deepInclude(state(), { ...yes, lagEvents: 0, unknownParents: 0 })
      })
    )
  )
})
