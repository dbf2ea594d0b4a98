/** One engine, its wire with all its faults, and the whole way into the index: for tests that drive them by hand. */
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Collector, type Options } from "../../actors/Collector.ts"
import type { Followed, State } from "../../actors/Followed.ts"
import { PrefixIndex } from "../../actors/PrefixIndex.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import { DEVICE } from "../../src/domain/Tier.ts"
import type { EventSource } from "../../src/domain/Worker.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import { type EventStream, type Memory, type MemoryPublisher, memory } from "../../src/ports/EventStream.ts"
import * as Vllm from "./VllmPublisher.ts"

export const hasher = BlockHash.make()
export const slot = 2

export const source = (rank = 0, replay = true): EventSource => ({
  endpoint: `mem://${rank}`,
  replayEndpoint: replay ? `mem://${rank}/replay` : null,
  topic: "",
  rank
})

export interface Rig {
  readonly hub: Memory
  readonly wire: MemoryPublisher
  readonly engine: Vllm.VllmPublisher
  readonly follow: (given?: Partial<Followed>) => Effect.Effect<void>
  readonly state: () => State
  /** Keys the index holds for the slot, sorted, once it has applied all it was told. */
  readonly indexed: Effect.Effect<ReadonlyArray<string>>
  readonly collector: Collector["Service"]
  readonly index: PrefixIndex["Service"]
}

export interface Given {
  readonly bufferMax?: number
  readonly options?: Partial<Options>
  readonly bus?: Layer.Layer<EventBus>
  readonly stream?: (real: Layer.Layer<EventStream>) => Layer.Layer<EventStream>
}

export const rig = <A, E>(given: Given, body: (parts: Rig) => Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const hub = memory(given.bufferMax)
  const layers = Layer.mergeAll(
    PrefixIndex.layer({ workersMax: 8, blocksMax: 10_000 }),
    Collector.layer({ hasher, ...given.options })
  ).pipe(
    Layer.provideMerge(Layer.mergeAll(given.bus ?? EventBus.layerMemory, (given.stream ?? ((real) => real))(hub.layer)))
  )
  return Effect.gen(function* () {
    const collector = yield* Collector
    const index = yield* PrefixIndex
    return yield* body({
      hub,
      wire: hub.publisher("mem://0"),
      collector,
      index,
      engine: Vllm.make(hasher, "m", "map"),
      follow: (more = {}) =>
        collector
          .start({ name: "w", slot, model: "m", source: source(), blockSize: null, blockCount: null, decode, ...more })
          .pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(TestClock.adjust(0))),
      state: () => collector.state(slot)!,
      indexed: Effect.map(index.settled, () => Vllm.keyNames(index.dump(slot, DEVICE)))
    })
  }).pipe(Effect.provide(layers))
}
