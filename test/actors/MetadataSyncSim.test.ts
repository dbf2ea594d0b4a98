/**
 * Seeded lives of a fleet whose events two routers hear, and of which each is told about by one of them: they are handed over,
 * cut off, crash and come back, and the store begins anew. When all is well again it says what the engines hold.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { KeyLanes } from "../../src/domain/Block.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { DEVICE, GUESS, HOST, type Layer, layersMax } from "../../src/domain/Tier.ts"
import * as StateStoreMemory from "../../src/ports/StateStoreMemory.ts"
import { extend, forest, random } from "../support/Chains.ts"
import { NaiveLayers } from "../support/NaivePrefixIndex.ts"
import { lines } from "../support/Shares.ts"
import { type Options, pass, type Router, start } from "../support/SyncRig.ts"

interface Life {
  readonly seed: number
  readonly steps: number
  readonly faults: boolean
  readonly options?: Options
}

const workersMax = 5
const part = (keys: KeyLanes, from: number, to: number): KeyLanes => keys.subarray(from * 2, to * 2)

const live = Effect.fnUntraced(function* ({ faults, options = {}, seed, steps }: Life) {
  const next = random(seed)
  const pool = forest(24, 150, next)
  const hub = StateStoreMemory.make({ random: () => next(1 << 30) / (1 << 30) })
  const world = new NaiveLayers(workersMax)
  const deepened = new Set<number>()
  const names = Array.from({ length: workersMax }, (_, slot) => `w${slot}`)
  let joined = workersMax
  /** Who tells of each slot; -1: nobody just now. */
  const owners = Array.from({ length: workersMax }, () => next(2))
  const routers: Array<Router | null> = [null, null]
  /** Who left, and of which router's; and those whose router ended before it could be sure that the store knows. */
  const left = new Map<string, number>()
  const unsaid = new Set<string>()
  /** Every block ever held, by name and layer. */
  const known = new Set<string>()

  const note = (name: string, layer: Layer, keys: KeyLanes): void => {
    const who = layer === GUESS ? `${name}?` : name
    for (let i = 0; i < keys.length / 2; i++) known.add(`${keys[2 * i]},${keys[2 * i + 1]} ${who} ${layer}`)
  }
  /** All engines' events are heard by both. Guesses are each router's own, but only their owner's count: told alike here. */
  const tell = (delta: KvDelta): void => {
    for (const router of routers) router?.tell(delta)
    if (delta._tag === "Cleared") {
      world.clear(delta.worker, delta.guess)
      if (!delta.guess) deepened.delete(delta.worker)
      return
    }
    world.apply(delta)
    if (delta._tag === "Removed") return
    note(
      names[delta.worker]!,
      delta.layer,
      delta._tag === "Stored" ? delta.keys : world.dump(delta.worker, delta.layer)
    )
  }
  const begin = Effect.fnUntraced(function* (i: number) {
    const owns = (slot: number): boolean => owners[slot] === i
    const wayMs = (): number => (faults && next(3) === 0 ? next(12) : 0)
    const router = yield* start(hub.client(), { ...options, workersMax, owns, wayMs })
    for (const [slot, name] of names.entries()) router.sync.join(slot, name, 16)
    // As from another replica's snapshot: what the world is like, in chains.
    for (let slot = 0; slot < workersMax; slot++) {
      for (const layer of [DEVICE, HOST, GUESS] as const) {
        if (layer === HOST && !deepened.has(slot)) continue
        if (layer === HOST) router.tell({ _tag: "Deepened", worker: slot, layer })
        const held = heldOf(slot, layer)
        for (const keys of pool) {
          for (let from = 0, to = 0; from < keys.length / 2; from = to + 1) {
            for (to = from; to < keys.length / 2 && held.has(nameAt(keys, to)); to++);
            if (to === from) continue
            const parent = from === 0 ? null : part(keys, from - 1, from)
            router.tell({ _tag: "Stored", worker: slot, layer, parent, keys: part(keys, from, to) })
          }
        }
      }
    }
    routers[i] = router
  })
  const nameAt = (keys: KeyLanes, i: number): string => `${keys[2 * i]},${keys[2 * i + 1]}`
  const heldOf = (slot: number, layer: Layer): Set<string> => {
    const keys = world.dump(slot, layer)
    return new Set(Array.from({ length: keys.length / 2 }, (_, i) => nameAt(keys, i)))
  }
  const change = (): void => {
    const worker = next(workersMax)
    const keys = pool[next(pool.length)]!
    const count = keys.length / 2
    const dice = next(100)
    const layer = next(5) === 0 ? GUESS : deepened.has(worker) && next(3) === 0 ? HOST : DEVICE
    if (dice < 60) {
      // Reaching the device means being within reach of the host, too.
      const stored = part(keys, 0, 1 + next(count))
      const layers: ReadonlyArray<Layer> = layer === DEVICE && deepened.has(worker) ? [DEVICE, HOST] : [layer]
      for (const each of layers) tell({ _tag: "Stored", worker, layer: each, parent: null, keys: stored })
    } else if (dice < 95) {
      const from = next(count)
      const size = next(3) === 0 ? 1 + next(3) : count - from
      const gone = part(keys, from, Math.min(count, from + size))
      const layers: ReadonlyArray<Layer> = layer === HOST ? [DEVICE, HOST] : [layer]
      for (const each of layers) tell({ _tag: "Removed", worker, layer: each, keys: gone })
    } else if (dice < 97) tell({ _tag: "Cleared", worker, guess: next(2) === 0 })
    else {
      tell({ _tag: "Deepened", worker, layer: HOST })
      deepened.add(worker)
    }
  }
  const hand = (slot: number, to: number): void => {
    owners[slot] = to
    for (const router of routers) router?.sync.ownershipChanged(next(2) === 0 ? null : slot)
  }
  const replace = (slot: number): void => {
    for (const isGuess of [true, false]) tell({ _tag: "Cleared", worker: slot, guess: isGuess })
    left.set(names[slot]!, owners[slot]!)
    names[slot] = `w${joined++}`
    for (const router of routers) {
      router?.sync.leave(slot)
      router?.index.drop(slot)
      router?.sync.join(slot, names[slot]!, 16)
    }
  }
  const fault = Effect.fnUntraced(function* () {
    const i = next(2)
    const router = routers[i]!
    const dice = next(10)
    if (dice === 0) hub.wipe()
    else if (dice < 3) router.client.cut(next(2) === 0)
    else if (dice < 5) router.client.slow(next(2) === 0)
    else if (dice < 7) hand(next(workersMax), next(3) - 1)
    else if (dice === 7) replace(next(workersMax))
    else if (dice === 8) {
      const ending = yield* Effect.forkChild(next(2) === 0 ? router.crash : router.stop)
      yield* pass(1_100, 50)
      yield* Fiber.join(ending)
      routers[i] = null
      for (const [name, owner] of left) if (owner === i) unsaid.add(name)
      for (let slot = 0; slot < workersMax; slot++) if (owners[slot] === i) hand(slot, 1 - i)
      yield* begin(i)
    }
  })
  const { store } = hub.client()
  const stretches = Effect.gen(function* () {
    const all: Array<Parameters<typeof lines>[0][number]> = []
    yield* store.read((chunk) => Effect.sync(() => all.push(...chunk) > 0))
    return all
  }).pipe(Effect.orDie)
  /** Nobody is said to hold what it never held. */
  const sound = Effect.gen(function* () {
    for (const line of lines(yield* stretches)) {
      const [block, , , , who, layer] = line.split(" ")
      assert.isTrue(known.has(`${block} ${who} ${layer}`), `seed ${seed}: ${line} was never so`)
    }
  })

  yield* begin(0)
  yield* begin(1)
  for (let step = 0; step < steps; step++) {
    for (let i = next(6); i > 0; i--) change()
    if (faults && next(8) === 0) yield* fault()
    yield* pass(next(4) === 0 ? 1_500 : next(12), 4)
    if (step % 10 === 0) yield* sound
  }
  for (const router of routers) {
    router!.client.cut(false)
    router!.client.slow(false)
  }
  for (let slot = 0; slot < workersMax; slot++) if (owners[slot]! < 0) hand(slot, next(2))
  // By then a store that began anew was seen, an owner that was fenced has tried again, and of whom nothing is known is denied.
  yield* pass(70_000, 100)
  const expected = new Uint32Array(layersMax * workersMax)
  for (const keys of [...pool, extend(pool[0]!, 10, 50, next)]) {
    const count = keys.length / 2
    world.depths(keys, count, expected)
    const told = new Map((yield* Effect.orDie(store.lookup(keys, count, 32))).map((each) => [each.name, each.blocks]))
    for (let slot = 0; slot < workersMax; slot++) {
      const tiers = told.get(names[slot]!) ?? new Array<number>(layersMax).fill(0)
      const guesses = told.get(`${names[slot]}?`) ?? new Array<number>(layersMax).fill(0)
      for (const layer of [0, 1, 2, 3]) {
        assert.strictEqual(
          tiers[layer],
          expected[layer * workersMax + slot],
          `seed ${seed}: ${names[slot]} on ${layer}`
        )
      }
      assert.strictEqual(guesses[GUESS], expected[GUESS * workersMax + slot], `seed ${seed}: ${names[slot]}, guessed`)
      told.delete(names[slot]!)
      told.delete(`${names[slot]}?`)
    }
    for (const name of told.keys()) {
      const worker = name.replace("?", "")
      assert.isTrue(unsaid.has(worker) || left.get(worker) === -1, `seed ${seed}: ${worker} left, and holds something`)
    }
  }
  for (const { name, tenures } of yield* Effect.orDie(store.names)) {
    if (names.includes(name.replace("?", ""))) assert.strictEqual(tenures, 1, `seed ${seed}: ${name}`)
  }
  for (const router of routers) {
    const { lagMs, queuedBytes, queuedShares, why } = router!.sync.stats()
    assert.deepEqual({ lagMs, queuedBytes, queuedShares, why }, { lagMs: 0, queuedBytes: 0, queuedShares: 0, why: "" })
  }
  return known.size
})

describe("MetadataSync, simulated", () => {
  for (const seed of [1, 2, 3]) {
    it.effect(`comes to what the engines hold when nothing fails, seed ${seed}`, () =>
      Effect.map(live({ seed, steps: 200, faults: false }), (known) => assert.isAbove(known, 1_000))
    )
  }
  for (const seed of [11, 12, 13, 14, 1_001, 1_033]) {
    it.effect(`comes to what the engines hold whatever failed meanwhile, seed ${seed}`, () =>
      Effect.map(live({ seed, steps: 250, faults: true }), (known) => assert.isAbove(known, 1_000))
    )
  }
  for (const seed of [21, 22, 23]) {
    it.effect(`does so with a queue that is always too small, seed ${seed}`, () =>
      Effect.map(live({ seed, steps: 200, faults: true, options: { sharesMax: 12 } }), (known) =>
        assert.isAbove(known, 1_000)
      )
    )
  }
})
