import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import type { Worker } from "../../actors/FleetEntry.ts"
import type { State } from "../../actors/Followed.ts"
import { Guesses } from "../../actors/Guesses.ts"
import * as Pictures from "../../actors/Pictures.ts"
import { PrefixIndex } from "../../actors/PrefixIndex.ts"
import * as WarmStart from "../../actors/WarmStart.ts"
import { DEVICE, GUESS, HOST, layersMax, type Layer as Tier } from "../../src/domain/Tier.ts"
import type { WorkerFacts } from "../../src/domain/Worker.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import { facts } from "../support/FakeEngine.ts"

const workersMax = 4
const stride = 32

/** A chain of keys; those of one name that share a beginning are of one chain. */
const chain = (name: number, count: number) =>
  Int32Array.from({ length: 2 * count }, (_, i) =>
    Math.imul(name * 1_000 + (i >> 1) + 1, i % 2 === 0 ? 0x9e37_79b1 : 1)
  )

const worker = (id: string, slot: number, more: Partial<WorkerFacts> = {}) =>
  ({
    slots: [slot],
    spec: { id, url: `http://${id}` },
    engine: {},
    facts: facts({ startedAtMs: null, ...more }),
    model: "m"
  }) as unknown as Worker

interface Rig {
  readonly hub: StateStoreMemory.Hub
  readonly client: StateStoreMemory.Client
  /** Written and settled as a router that saw it would. */
  readonly remember: (
    name: string,
    keys: Int32Array,
    layer?: Tier,
    without?: ReadonlyArray<number>
  ) => Effect.Effect<void>
  readonly join: (worker: Worker) => void
  readonly change: (worker: Worker) => void
  readonly vacate: (slot: number) => void
  /** What its events tell of themselves. */
  readonly state: (slot: number, state: Partial<State>) => void
  /** Leading blocks that the index believes a slot holds by guess, once it has taken everything. */
  readonly guessed: (slot: number, keys: Int32Array) => Effect.Effect<number>
  readonly held: (slot: number) => Effect.Effect<number>
  readonly warm: WarmStart.WarmStart
  /** Slots that nobody waits for any more, as they came. */
  readonly done: ReadonlyArray<number>
  readonly pictures: Pictures.Pictures
}

const rig = <A>(body: (rig: Rig) => Effect.Effect<A, unknown, Scope.Scope>) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(1_000_000_000)
    const hub = StateStoreMemory.make({ random: () => 0.5 })
    const writer = hub.client()
    const client = hub.client()
    const services = yield* Layer.build(
      Layer.mergeAll(PrefixIndex.layer({ workersMax, blocksMax: 200_000 }), Guesses.layer).pipe(
        Layer.provide(EventBus.layerMemory)
      )
    )
    const index = Context.get(services, PrefixIndex)
    const guesses = Context.get(services, Guesses)
    const workers = new Map<number, Worker>()
    const done: Array<number> = []
    let onState: (slot: number, state: State) => void = () => {}
    const nothing = () => {}
    const pictures = Pictures.make({
      workersMax,
      collector: {
        start: () => Effect.void,
        stop: () => Effect.void,
        state: () => null,
        resync: nothing,
        onState: (listener: typeof onState) => {
          onState = listener
        }
      },
      trust: {
        join: nothing,
        leave: nothing,
        health: nothing,
        restarted: nothing,
        onChange: nothing,
        onSuspect: nothing
      },
      ledger: { join: nothing, leave: nothing, setEligible: nothing, setPriority: nothing, setCapacity: nothing },
      guesses,
      index,
      workerOf: (slot: number) => workers.get(slot),
      describe: () => null,
      fork: nothing
    } as unknown as Pictures.Deps)
    const warm = yield* WarmStart.make({
      store: client.store,
      pictures,
      guesses,
      workerOf: (slot) => workers.get(slot),
      done: (slot) => void done.push(slot)
    })
    const remember: Rig["remember"] = (name, keys, layer = DEVICE, without = []) =>
      Effect.gen(function* () {
        const { store } = writer
        const tenure = yield* store.enter(name)
        const count = keys.length / 2
        for (let at = 0; at < count; at += stride) {
          const own = keys.slice(2 * at, 2 * Math.min(count, at + stride))
          let held = 0
          for (let i = 0; i < own.length / 2; i++) if (!without.includes(at + i)) held |= 1 << i
          const told = own.length === 2 * stride ? -1 : 2 ** (own.length / 2) - 1
          const parent = at === 0 ? null : keys.slice(2 * at - 2, 2 * at)
          yield* store.write([{ tenure, layer, stride, piece: at / stride, parent, keys: own, told, held }])
        }
      }).pipe(Effect.orDie)
    return yield* body({
      hub,
      client,
      remember,
      warm,
      done,
      pictures,
      join: (each) => {
        for (const slot of each.slots) workers.set(slot, each)
        pictures.join(each)
        warm.join(each)
      },
      change: (each) => {
        const before = workers.get(each.slots[0]!)!
        for (const slot of each.slots) workers.set(slot, each)
        pictures.change(each, before, false)
        warm.change(each)
      },
      vacate: (slot) => {
        workers.delete(slot)
        pictures.vacate(slot)
      },
      state: (slot, state) =>
        onState(slot, { health: "whole", why: "", complete: true, restarts: 0, blockSize: 16, ...state } as State),
      guessed: (slot, keys) =>
        Effect.map(index.settled, () => {
          const out = new Uint32Array(layersMax * workersMax)
          return index.depths(keys, keys.length / 2, out) ? out[GUESS * workersMax + slot]! : 0
        }),
      held: (slot) => Effect.map(index.settled, () => index.heldBy(slot, GUESS))
    })
  })

/** Lets what was gathered be asked about, and every slice of it be taken. */
const warmed = (warm: WarmStart.WarmStart) =>
  Effect.gen(function* () {
    yield* TestClock.adjust(110)
    while (warm.isWarming()) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  })

describe("WarmStart", () => {
  it.effect("believes by guess what the store says a worker held, on whatever tier, or was guessed to hold", () =>
    rig(({ done, guessed, join, remember, warm }) =>
      Effect.gen(function* () {
        yield* remember("a", chain(1, 100))
        yield* remember("a", chain(2, 40), HOST)
        yield* remember("a?", chain(3, 50), GUESS)
        yield* remember("b", chain(1, 70))
        yield* remember("c", chain(4, 10))
        join(worker("a", 0))
        join(worker("b", 1))
        assert.isTrue(warm.awaits("a"))
        yield* warmed(warm)
        assert.isFalse(warm.awaits("a"))
        assert.deepStrictEqual(done, [0, 1])
        assert.strictEqual(yield* guessed(0, chain(1, 100)), 100)
        assert.strictEqual(yield* guessed(1, chain(1, 100)), 70)
        assert.strictEqual(yield* guessed(0, chain(2, 40)), 40)
        assert.strictEqual(yield* guessed(0, chain(3, 50)), 50)
        assert.strictEqual(yield* guessed(1, chain(4, 10)), 0)
        assert.deepInclude(warm.stats(), { asked: 2, outlived: 0, blocks: 260 })
      })
    )
  )

  it.effect("ends a chain where the worker held a block no more", () =>
    rig(({ guessed, held, join, remember, warm }) =>
      Effect.gen(function* () {
        yield* remember("a", chain(1, 100), DEVICE, [45])
        join(worker("a", 0))
        yield* warmed(warm)
        assert.strictEqual(yield* guessed(0, chain(1, 100)), 45)
        assert.strictEqual(yield* held(0), 45)
      })
    )
  )

  it.effect("keeps what was used last where not all of it fits", () =>
    rig(({ guessed, held, join, remember, warm }) =>
      Effect.gen(function* () {
        yield* remember("a", chain(1, 60))
        yield* TestClock.adjust(5_000)
        yield* remember("a", chain(2, 60))
        yield* TestClock.adjust(5_000)
        yield* remember("a", chain(3, 60))
        join(worker("a", 0, { blockCount: 140 }))
        yield* warmed(warm)
        assert.strictEqual(yield* held(0), 140)
        assert.strictEqual(yield* guessed(0, chain(3, 60)), 60)
        assert.strictEqual(yield* guessed(0, chain(2, 60)), 60)
        assert.strictEqual(yield* guessed(0, chain(1, 60)), 20)
      })
    )
  )

  it.effect("lets the oldest of it go first when new prompts need the room", () =>
    rig(({ guessed, held, join, pictures, remember, warm }) =>
      Effect.gen(function* () {
        yield* remember("a", chain(1, 60))
        yield* TestClock.adjust(5_000)
        yield* remember("a", chain(2, 60))
        join(worker("a", 0, { blockCount: 120 }))
        // Meanwhile it serves, also what is remembered.
        pictures.computed(0, [chain(5, 10)], true)!({ cachedTokens: null, outputTokens: 1, promptTokens: 160 })
        yield* warmed(warm)
        pictures.computed(0, [chain(6, 20)], true)!({ cachedTokens: null, outputTokens: 1, promptTokens: 320 })
        assert.isAtMost(yield* held(0), 120)
        assert.strictEqual(yield* guessed(0, chain(2, 60)), 60)
        assert.strictEqual(yield* guessed(0, chain(6, 20)), 20)
        assert.strictEqual(yield* guessed(0, chain(5, 10)), 10)
        const left = yield* guessed(0, chain(1, 60))
        assert.isAbove(left, 20)
        assert.isBelow(left, 40)
      })
    )
  )

  it.effect("forgets it when events tell all there is, and not before", () =>
    rig(({ guessed, held, join, remember, state, warm }) =>
      Effect.gen(function* () {
        yield* remember("a", chain(1, 50))
        yield* remember("b", chain(1, 50))
        join(worker("a", 0))
        state(0, { complete: false })
        join(worker("b", 1))
        state(1, {})
        yield* warmed(warm)
        assert.deepStrictEqual([yield* held(0), yield* held(1)], [50, 0])
        state(0, { complete: false, why: "its ring is too short" })
        assert.strictEqual(yield* guessed(0, chain(1, 50)), 50)
        state(0, { complete: true })
        assert.strictEqual(yield* held(0), 0)
      })
    )
  )

  it.effect("takes nothing from a former life of an engine, also where another worker wrote the same later", () =>
    rig(({ change, held, join, remember, warm }) =>
      Effect.gen(function* () {
        for (const name of ["a", "b", "c"]) yield* remember(name, chain(1, 40))
        yield* remember("a", chain(2, 40))
        yield* TestClock.adjust(60_000)
        yield* remember("c", chain(1, 40))
        yield* remember("c", chain(1, 40))
        join(worker("a", 0, { startedAtMs: 1_000_030_000 }))
        join(worker("b", 1))
        join(worker("c", 2, { startedAtMs: 999_000_000 }))
        yield* warmed(warm)
        assert.deepStrictEqual([yield* held(0), yield* held(1), yield* held(2)], [0, 40, 40])
        // It could not be told at first.
        change(worker("b", 1, { startedAtMs: 1_000_090_000 }))
        assert.deepStrictEqual([yield* held(1), yield* held(2)], [0, 40])
        assert.strictEqual(warm.stats().outlived, 2)
      })
    )
  )

  it.effect("waits for a store that is away, and does without one that never answers", () =>
    rig(({ client, done, held, join, remember, vacate, warm }) =>
      Effect.gen(function* () {
        yield* remember("a", chain(1, 40))
        yield* remember("b", chain(1, 40))
        client.cut(true)
        join(worker("a", 0))
        yield* TestClock.adjust(3_600_000)
        assert.isTrue(warm.awaits("a"))
        client.cut(false)
        yield* TestClock.adjust(500)
        yield* warmed(warm)
        assert.strictEqual(yield* held(0), 40)
        client.slow(true)
        join(worker("b", 1))
        yield* TestClock.adjust(20_000)
        assert.isFalse(warm.isWarming())
        assert.deepStrictEqual([done, warm.stats().missed], [[0, 1], 1])
        client.slow(false)
        // Asked about once only: what it holds is known better by now.
        vacate(0)
        join(worker("a", 0))
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual([yield* held(0), yield* held(1)], [0, 0])
      })
    )
  )

  it.effect("gives what one worker held to no other that took its slot meanwhile", () =>
    rig(({ client, held, join, remember, vacate, warm }) =>
      Effect.gen(function* () {
        yield* remember("a", chain(1, 40))
        client.cut(true)
        join(worker("a", 0))
        yield* TestClock.adjust(200)
        vacate(0)
        join(worker("z", 0))
        client.cut(false)
        yield* TestClock.adjust(500)
        yield* warmed(warm)
        assert.strictEqual(yield* held(0), 0)
      })
    )
  )
})
