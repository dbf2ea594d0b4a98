import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { KeyLanes } from "../../src/domain/Block.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { DEVICE, GUESS, HOST, type Layer, layersMax } from "../../src/domain/Tier.ts"
import { type Interface, StoreError, type Stretch } from "../../src/ports/StateStore.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import { extend, forest, random } from "../support/Chains.ts"
import { pass, start } from "../support/SyncRig.ts"

const none = new Int32Array(0)
const chain = (count: number, seed = 1): KeyLanes => extend(none, 0, count, random(seed))
const part = (keys: KeyLanes, from: number, to: number): KeyLanes => keys.subarray(from * 2, to * 2)
const stored = (worker: number, keys: KeyLanes, from = 0, to = keys.length / 2, layer: Layer = DEVICE): KvDelta => {
  const parent = from === 0 ? null : part(keys, from - 1, from)
  return { _tag: "Stored", worker, layer, parent, keys: part(keys, from, to) }
}
const removed = (worker: number, keys: KeyLanes): KvDelta => ({ _tag: "Removed", worker, layer: DEVICE, keys })

/** Blocks of a chain within reach of the device, of the host and by guess, by name. */
const reach = (store: Interface, keys: KeyLanes) =>
  Effect.map(Effect.orDie(store.lookup(keys, keys.length / 2, 32)), (all) =>
    Object.fromEntries(all.map(({ blocks, name }) => [name, [blocks[DEVICE], blocks[HOST], blocks[GUESS]]]))
  )
const tenures = (store: Interface) =>
  Effect.map(Effect.orDie(store.names), (all) => Object.fromEntries(all.map(({ name, tenures }) => [name, tenures])))

describe("MetadataSync", () => {
  it.effect("writes what a worker stores and loses, under its name, a few milliseconds behind", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const { store } = hub.client()
      const router = yield* start(hub.client())
      const keys = chain(100)
      router.sync.join(1, "w1", 16)
      router.tell(stored(1, keys))
      yield* pass(10)
      assert.deepEqual(yield* reach(store, keys), { w1: [100, 100, 0] })
      router.tell(removed(1, part(keys, 70, 100)), removed(1, part(keys, 20, 21)))
      yield* pass(10)
      assert.deepEqual(yield* reach(store, keys), { w1: [20, 20, 0] })
      router.tell(stored(1, keys, 20, 21))
      yield* pass(10)
      assert.deepEqual(yield* reach(store, keys), { w1: [70, 70, 0] })
      assert.deepEqual(yield* tenures(store), { w1: 1 })
      const { lagMs, queuedShares, resyncs, unplaced } = router.sync.stats()
      assert.deepEqual(
        { lagMs, queuedShares, resyncs, unplaced },
        { lagMs: 0, queuedShares: 0, resyncs: 1, unplaced: 0 }
      )
    })
  )

  it.effect("keeps guesses apart, under a name of their own", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client())
      const keys = chain(40)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys, 0, 10), stored(0, keys, 0, 40, GUESS))
      yield* pass(10)
      const { store } = hub.client()
      assert.deepEqual(yield* reach(store, keys), { w0: [10, 10, 0], "w0?": [0, 0, 40] })
      router.tell({ _tag: "Cleared", worker: 0, guess: true })
      yield* pass(10)
      assert.deepEqual(yield* reach(store, keys), { w0: [10, 10, 0] })
    })
  )

  it.effect("takes back at once what a worker that began again held, and tells what it stores since", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client())
      const [first, second] = [chain(60, 1), chain(60, 2)]
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, first))
      yield* pass(10)
      router.tell({ _tag: "Cleared", worker: 0, guess: false }, stored(0, second, 0, 5))
      yield* pass(10)
      const { store } = hub.client()
      assert.deepEqual(yield* reach(store, first), {})
      assert.deepEqual(yield* reach(store, second), { w0: [5, 5, 0] })
      assert.deepEqual(yield* tenures(store), { w0: 1 })
    })
  )

  it.effect("tells all of a worker anew once a deeper tier is told apart", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client())
      const keys = chain(100)
      router.sync.join(2, "w2", 16)
      router.tell(stored(2, keys))
      yield* pass(10)
      router.tell({ _tag: "Deepened", worker: 2, layer: HOST }, removed(2, part(keys, 30, 100)))
      yield* pass(20)
      assert.deepEqual(yield* reach(hub.client().store, keys), { w2: [30, 100, 0] })
      assert.strictEqual(router.sync.stats().resyncs, 2)
    })
  )

  it.effect("says of a worker that left that it holds nothing, and nothing of who has its slot then", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const { store } = hub.client()
      const router = yield* start(hub.client())
      const keys = chain(40)
      router.sync.join(0, "old", 16)
      router.tell(stored(0, keys))
      yield* pass(10)
      router.sync.leave(0)
      router.index.drop(0)
      router.sync.join(0, "new", 16)
      yield* pass(10)
      assert.deepEqual(yield* reach(store, keys), {})
      assert.deepEqual(yield* tenures(store), {})
    })
  )

  it.effect("leaves what it knows where it is when it stops, having written what was left", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client())
      const keys = chain(40)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys, 0, 20))
      yield* pass(10)
      router.tell(stored(0, keys, 20, 40))
      yield* router.stop
      assert.deepEqual(yield* reach(hub.client().store, keys), { w0: [40, 40, 0] })
    })
  )

  it.effect("believes what was told of a worker before for a minute, and then that it holds nothing", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const { store } = hub.client()
      const before = yield* start(hub.client())
      const keys = chain(40)
      before.sync.join(0, "w0", 16)
      before.tell(stored(0, keys, 0, 20))
      yield* pass(10)
      yield* before.stop
      const router = yield* start(hub.client())
      router.sync.join(0, "w0", 16)
      yield* pass(50_000, 500)
      assert.deepEqual(yield* reach(store, keys), { w0: [20, 20, 0] })
      yield* pass(15_000, 500)
      assert.deepEqual(yield* reach(store, keys), {})
    })
  )

  it.effect("writes only for slots that are its own, and all of one that becomes so", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const { store } = hub.client()
      const own = [new Set([0]), new Set<number>()]
      const routers = [
        yield* start(hub.client(), { owns: (slot) => own[0]!.has(slot) }),
        yield* start(hub.client(), { owns: (slot) => own[1]!.has(slot) })
      ]
      const keys = chain(200)
      for (const router of routers) {
        router.sync.join(0, "w0", 16)
        router.tell(stored(0, keys))
      }
      yield* pass(20)
      assert.deepEqual(yield* tenures(store), { w0: 1 })
      assert.deepInclude(routers[1]!.sync.stats().names, { foreign: 2 })
      own[1]!.add(0)
      own[0]!.delete(0)
      routers[0]!.sync.ownershipChanged(0)
      // Nobody's for a moment: what is removed now, nobody tells.
      for (const router of routers) router.tell(removed(0, part(keys, 150, 200)))
      yield* pass(20)
      assert.deepEqual(yield* reach(store, keys), { w0: [200, 200, 0] })
      routers[1]!.sync.ownershipChanged(null)
      yield* pass(20)
      assert.deepEqual(yield* reach(store, keys), { w0: [150, 150, 0] })
      assert.deepEqual(yield* tenures(store), { w0: 1 })
      for (const router of routers) router.tell(removed(0, part(keys, 100, 150)))
      yield* pass(20)
      assert.deepEqual(yield* reach(store, keys), { w0: [100, 100, 0] })
      assert.strictEqual(routers[0]!.sync.stats().fenced + routers[1]!.sync.stats().fenced, 0)
    })
  )

  it.effect("says that another router tells of the same worker, and tries again ever more rarely", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const routers = [yield* start(hub.client()), yield* start(hub.client())]
      const keys = chain(3_000)
      for (const router of routers) {
        router.sync.join(0, "w0", 16)
        router.tell(stored(0, keys))
      }
      yield* pass(60_000, 50)
      const fenced = routers[0]!.sync.stats().fenced + routers[1]!.sync.stats().fenced
      assert.isAtMost(fenced, 10)
      assert.deepEqual(yield* reach(hub.client().store, keys), { w0: [3_000, 3_000, 0] })
    })
  )

  it.effect("notices that another router told of its worker meanwhile, and tells it anew", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const { store } = hub.client()
      const keys = chain(60)
      const router = yield* start(hub.client())
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys))
      yield* pass(20)
      // It stalled, was taken for dead, and another spoke for its workers until it was back.
      const other = yield* start(hub.client())
      other.sync.join(0, "w0", 16)
      other.tell(stored(0, keys))
      yield* pass(20)
      yield* other.crash
      router.tell(removed(0, part(keys, 20, 60)))
      yield* pass(90_000, 500)
      assert.deepEqual(yield* reach(store, keys), { w0: [20, 20, 0] })
      assert.strictEqual(router.sync.stats().fenced, 1)
      yield* pass(600_000, 5_000)
      const { fenced, resyncs } = router.sync.stats()
      assert.deepEqual({ fenced, resyncs }, { fenced: 1, resyncs: 3 })
    })
  )

  it.effect("asks ever more rarely for a name that the store will not let in, or leave, and writes of others", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const client = hub.client()
      const full = new StoreError({ what: "enter w0", reason: "refused", detail: "no room for names" })
      let refused = 0
      const enter = (name: string) => {
        if (name !== "w0") return client.store.enter(name)
        refused++
        return Effect.fail(full)
      }
      const router = yield* start({ ...client, store: { ...client.store, enter } })
      const keys = chain(60)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys))
      yield* pass(600_000, 500)
      assert.isAtMost(refused, 16)
      router.sync.leave(0)
      router.index.drop(0)
      router.sync.join(1, "w1", 16)
      router.tell(stored(1, keys))
      yield* pass(10_000, 50)
      assert.deepEqual(yield* reach(hub.client().store, keys), { w1: [60, 60, 0] })
    })
  )

  it.effect("tells a store that has begun anew all there is, though nothing changes", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client())
      const keys = chain(200)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys))
      yield* pass(20)
      hub.wipe()
      yield* pass(11_000, 100)
      assert.deepEqual(yield* reach(hub.client().store, keys), { w0: [200, 200, 0] })
      assert.strictEqual(router.sync.stats().begunAnew, 1)
    })
  )

  it.effect("takes everything back when the index was lost, and tells what is stored since", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const { store } = hub.client()
      const defects: Array<unknown> = []
      const router = yield* start(hub.client(), { defect: (error) => defects.push(error) })
      const keys = chain(100)
      router.sync.join(0, "w0", 16)
      router.sync.join(1, "w1", 16)
      router.tell(stored(0, keys), stored(1, keys))
      yield* pass(20)
      const torn = () => {
        throw new Error("torn")
      }
      router.tell(Object.defineProperty({ ...stored(0, keys) }, "parent", { get: torn }))
      router.tell(stored(1, keys, 0, 30))
      yield* pass(20)
      assert.lengthOf(defects, 1)
      assert.deepEqual(yield* reach(store, keys), { w1: [30, 30, 0] })
    })
  )

  it.effect("writes everything anew before half of its time is over", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client(), { ttlMs: 60_000 })
      const keys = chain(200)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys))
      const written = () => router.sync.stats().written
      yield* pass(1_000, 100)
      const first = written()
      assert.isAbove(first, 0)
      yield* pass(29_000, 100)
      assert.isAtLeast(written(), 2 * first)
      assert.deepEqual(yield* tenures(hub.client().store), { w0: 1 })
    })
  )

  it.effect("lets nothing be missing while a worker is told anew over a slow line", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const { store } = hub.client()
      const router = yield* start(hub.client(), { ttlMs: 10_000, wayMs: () => 3 })
      const keys = chain(20_000)
      const tail = part(keys, 19_000, 20_000)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys))
      yield* pass(500)
      const tenures = new Set<number>()
      for (let ms = 0; ms < 16_000; ms += 10) {
        yield* pass(10)
        if (ms === 10_000) router.tell(removed(0, tail))
        for (const { tenure } of router.sync.names()) tenures.add(tenure)
        if (ms % 200 > 0 && router.sync.stats().queuedShares === 0) continue
        const { w0 } = yield* reach(store, keys)
        assert.isAtLeast(w0?.[0] ?? 0, 19_000)
      }
      assert.isAtLeast(tenures.size, 5)
      assert.deepEqual(yield* reach(store, keys), { w0: [19_000, 19_000, 0] })
    })
  )

  it.effect("enters nobody who is only said to have lost what was never known of it", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client())
      router.sync.join(0, "w0", 16)
      router.tell(removed(0, chain(10)), { _tag: "Cleared", worker: 0, guess: false })
      yield* pass(50)
      assert.deepEqual(yield* tenures(hub.client().store), {})
    })
  )

  it.effect("catches up with a store that was away or late, with what is so by then", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const client = hub.client()
      const router = yield* start(client)
      const keys = chain(200)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys, 0, 50))
      yield* pass(20)
      client.cut(true)
      router.tell(stored(0, keys, 50, 200))
      yield* pass(5_000, 50)
      router.tell(removed(0, part(keys, 120, 200)))
      yield* pass(100)
      assert.include(router.sync.stats().why, "away")
      assert.isAbove(router.sync.stats().lagMs, 5_000)
      client.cut(false)
      client.slow(true)
      yield* pass(10_000, 50)
      client.slow(false)
      yield* pass(4_000, 50)
      assert.deepEqual(yield* reach(hub.client().store, keys), { w0: [120, 120, 0] })
      const { lagMs, queuedShares, why } = router.sync.stats()
      assert.deepEqual({ lagMs, queuedShares, why }, { lagMs: 0, queuedShares: 0, why: "" })
    })
  )

  it.effect("drops guesses first when too much waits, then the worker with most of it, and tells those anew", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const client = hub.client()
      const router = yield* start(client, { sharesMax: 100 })
      const chains = Array.from({ length: 4 }, (_, i) => chain(32 * 60, i + 1))
      for (let slot = 0; slot < 3; slot++) router.sync.join(slot, `w${slot}`, 16)
      client.cut(true)
      router.tell(stored(0, chains[0]!, 0, 32 * 40), stored(1, chains[1]!, 0, 32 * 20))
      router.tell(stored(0, chains[3]!, 0, 32 * 39, GUESS))
      assert.deepInclude(router.sync.stats(), { queuedShares: 99, droppedGuesses: 0 })
      router.tell(stored(2, chains[2]!, 0, 32 * 10))
      assert.deepInclude(router.sync.stats(), { queuedShares: 70, droppedGuesses: 1, droppedTiers: 0 })
      router.tell(stored(2, chains[2]!, 32 * 10, 32 * 60))
      assert.deepInclude(router.sync.stats(), { droppedGuesses: 1, droppedTiers: 1 })
      assert.isAtMost(router.sync.stats().queuedShares, 100)
      client.cut(false)
      yield* pass(4_000, 20)
      const { store } = hub.client()
      assert.deepEqual(yield* reach(store, chains[0]!), { w0: [1_280, 1_280, 0] })
      assert.deepEqual(yield* reach(store, chains[1]!), { w1: [640, 640, 0] })
      assert.deepEqual(yield* reach(store, chains[2]!), { w2: [1_920, 1_920, 0] })
      assert.deepEqual(yield* reach(store, chains[3]!), { "w0?": [0, 0, 1_248] })
    })
  )

  it.effect("keeps its memory flat while the store is away for an hour, and then comes to what is so", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const client = hub.client()
      const workersMax = 8
      const router = yield* start(client, { workersMax, sharesMax: 400, bytesMax: 400_000 })
      const next = random(5)
      const pool = forest(60, 600, next)
      for (let slot = 0; slot < workersMax; slot++) router.sync.join(slot, `w${slot}`, 16)
      const churn = (times: number): void => {
        for (let i = 0; i < times; i++) {
          const slot = next(workersMax)
          const keys = pool[next(pool.length)]!
          const count = keys.length / 2
          if (next(2) === 0) router.tell(stored(slot, keys, 0, 1 + next(count), next(4) === 0 ? GUESS : DEVICE))
          else router.tell(removed(slot, part(keys, next(count), count)))
        }
      }
      churn(100)
      yield* pass(100)
      client.cut(true)
      let [shares, bytes] = [0, 0]
      for (let second = 0; second < 3_600; second += 3) {
        churn(20)
        yield* pass(3_000, 1_000)
        const { queuedBytes, queuedShares } = router.sync.stats()
        shares = Math.max(shares, queuedShares)
        bytes = Math.max(bytes, queuedBytes)
      }
      // One batch is on its way besides.
      assert.isAtMost(shares, 400 + 256)
      assert.isAtMost(bytes, 400_000)
      assert.isAbove(router.sync.stats().droppedTiers, 0)
      client.cut(false)
      yield* pass(10_000, 20)
      const { store } = hub.client()
      const depths = new Uint32Array(layersMax * workersMax)
      for (const keys of pool) {
        const isDeep = router.index.depths(keys, keys.length / 2, depths)
        const told = yield* reach(store, keys)
        for (let slot = 0; slot < workersMax; slot++) {
          assert.strictEqual(told[`w${slot}`]?.[0] ?? 0, depths[slot])
          assert.strictEqual(told[`w${slot}?`]?.[2] ?? 0, isDeep ? depths[GUESS * workersMax + slot] : 0)
        }
      }
      const { lagMs, names, why } = router.sync.stats()
      assert.deepEqual({ lagMs, live: names.live, why }, { lagMs: 0, live: 2 * workersMax, why: "" })
    })
  )

  it.effect("tells a worker anew before its time when the index could not say what is before a block", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client(), { ttlMs: 800_000 })
      const keys = chain(100)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys, 40, 100))
      router.tell(stored(0, keys, 0, 40))
      yield* pass(50)
      assert.strictEqual(router.sync.stats().unplaced, 60)
      assert.deepEqual(yield* reach(hub.client().store, keys), { w0: [40, 40, 0] })
      yield* pass(102_000, 500)
      assert.deepEqual(yield* reach(hub.client().store, keys), { w0: [100, 100, 0] })
    })
  )

  it.effect("cuts chains of large blocks into shorter pieces, from when their size is known", () =>
    Effect.gen(function* () {
      const hub = StateStoreMemory.make()
      const router = yield* start(hub.client())
      const keys = chain(40)
      router.sync.join(0, "w0", 16)
      router.tell(stored(0, keys))
      yield* pass(20)
      router.sync.setBlockSize(0, 512)
      const others = chain(20, 2)
      router.tell({ _tag: "Cleared", worker: 0, guess: false }, stored(0, others))
      yield* pass(20)
      const sizes = new Set<number>()
      const take = (all: ReadonlyArray<Stretch>) =>
        Effect.sync(() => {
          for (const { stride } of all) sizes.add(stride)
          return true
        })
      yield* Effect.orDie(hub.client().store.read(take))
      assert.deepEqual([...sizes], [8])
      assert.deepEqual(yield* reach(hub.client().store, others), { w0: [20, 20, 0] })
    })
  )
})
