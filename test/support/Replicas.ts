/** Several replicas of one deployment in one process, on one broker and virtual time, each with the whole way into its index. */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Collector } from "../../actors/Collector.ts"
import type { State } from "../../actors/Followed.ts"
import { Leases } from "../../actors/Leases.ts"
import { Members } from "../../actors/Members.ts"
import { PrefixIndex } from "../../actors/PrefixIndex.ts"
import { Relay } from "../../actors/Relay.ts"
import { decode } from "../../src/adapters/kvevents/KvEvents.ts"
import { DEVICE } from "../../src/domain/Tier.ts"
import type { EventSource } from "../../src/domain/Worker.ts"
import type { Bus } from "../../src/ports/Bus.ts"
import type { Client } from "../../src/ports/BusMemory.ts"
import { EventBus } from "../../src/ports/EventBus.ts"
import type { EventStream, Memory } from "../../src/ports/EventStream.ts"
import { hasher } from "./EventRig.ts"
import { keyNames } from "./VllmPublisher.ts"

/** Publisher `n`, as every replica knows it. */
export const nameOf = (n: number): string => `10.0.0.${n}:8000`
export const sourceOf = (n: number): EventSource => ({
  endpoint: `mem://${n}`,
  replayEndpoint: `mem://${n}/replay`,
  topic: "",
  rank: 0
})

export interface Replica {
  readonly id: string
  readonly client: Client
  readonly members: Members["Service"]
  readonly leases: Leases["Service"]
  readonly relay: Relay["Service"]
  readonly collector: Collector["Service"]
  readonly index: PrefixIndex["Service"]
  /** Adds an actor to it, until it stops. */
  readonly add: <A>(
    layer: Layer.Layer<A, never, Bus | Collector | PrefixIndex | Relay>
  ) => Effect.Effect<Context.Context<A>>
  readonly follow: (n: number) => Effect.Effect<void>
  readonly state: (n: number) => State | null
  /** Keys that its index holds of a publisher, sorted, once it has applied all it was told. */
  readonly indexed: (n: number) => Effect.Effect<ReadonlyArray<string>>
  /** Orderly, unless its client is cut first: then as by a kill. */
  readonly stop: Effect.Effect<void>
}

/** A router's share of it. It has no slots but those of the publishers: 0 to `slots - 1`. */
export const start = (
  id: string,
  client: Client,
  engines: Memory,
  slots: number,
  direct: Layer.Layer<EventStream> = engines.layer
): Effect.Effect<Replica> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const shared = Leases.layer().pipe(
      Layer.provideMerge(Members.layer({ id, kind: "router", url: null, version: "test" })),
      Layer.provideMerge(client.layer)
    )
    const layers = Layer.mergeAll(
      PrefixIndex.layer({ workersMax: slots, blocksMax: 20_000 }),
      Collector.layer({ hasher })
    ).pipe(
      Layer.provide(EventBus.layerMemory),
      Layer.provideMerge(Relay.layer.pipe(Layer.provide(direct))),
      Layer.provideMerge(shared)
    )
    const services = yield* Layer.build(layers).pipe(Scope.provide(scope))
    const collector = Context.get(services, Collector)
    const index = Context.get(services, PrefixIndex)
    const members = Context.get(services, Members)
    members.setReady(true)
    return {
      id,
      client,
      collector,
      index,
      add: (layer) => Layer.build(layer.pipe(Layer.provide(Layer.succeedContext(services)))).pipe(Scope.provide(scope)),
      members,
      leases: Context.get(services, Leases),
      relay: Context.get(services, Relay),
      follow: (n) =>
        collector.start({
          name: nameOf(n),
          slot: n,
          model: "org/model",
          source: sourceOf(n),
          blockSize: null,
          blockCount: null,
          decode
        }),
      state: (n) => collector.state(n),
      indexed: (n) => Effect.map(index.settled, () => keyNames(index.dump(n, DEVICE))),
      stop: Scope.close(scope, Exit.void)
    }
  })

/** What reads a publisher beside its engine, and nothing else. */
export const startAgent = (
  id: string,
  client: Client,
  engines: Memory,
  n: number
): Effect.Effect<Pick<Replica, "members" | "relay" | "stop">> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const layers = Relay.layerWith({ follows: false }).pipe(
      Layer.provide(engines.layer),
      Layer.provideMerge(Leases.layer()),
      Layer.provideMerge(Members.layer({ id, kind: "agent", url: null, version: "test" })),
      Layer.provide(client.layer)
    )
    const services = yield* Layer.build(layers).pipe(Scope.provide(scope))
    const relay = Context.get(services, Relay)
    const members = Context.get(services, Members)
    members.setReady(true)
    yield* relay.serveSource(sourceOf(n), { name: nameOf(n), model: "org/model" }).pipe(Scope.provide(scope))
    return { members, relay, stop: Scope.close(scope, Exit.void) }
  })

const turns = (count: number): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
  })

/** Lets virtual time pass, and messages arrive; `each` sees every 50 ms of it. */
export const pass = (ms: number, each: () => void = () => {}): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let left = ms; left > 0; left -= 50) {
      yield* TestClock.adjust(Math.min(left, 50))
      yield* turns(6)
      each()
    }
  })
