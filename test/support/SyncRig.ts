/** One router's index and what it writes behind of it, in virtual time; turns of the index are taken at once. */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as MetadataSync from "../../actors/MetadataSync.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { type Interface, StateStore } from "../../src/ports/StateStore.ts"
import type { Client } from "../../src/ports/StateStoreMemory.ts"

export interface Router {
  readonly client: Client
  readonly index: PrefixIndex.Interface
  readonly sync: MetadataSync.Interface
  /** Applies changes, all of them. */
  readonly tell: (...deltas: ReadonlyArray<KvDelta>) => void
  /** Takes its time to write what it can; or is gone at once. */
  readonly stop: Effect.Effect<void>
  readonly crash: Effect.Effect<void>
}

export interface Options extends MetadataSync.Options {
  /** What the way to the store takes, and the way back, each time. */
  readonly wayMs?: () => number
  readonly workersMax?: number
  readonly index?: Partial<PrefixIndex.Options>
  /** What of the index is a defect is thrown, where nobody expects one. */
  readonly defect?: (error: unknown) => void
}

export const start = Effect.fnUntraced(function* (client: Client, options: Options = {}) {
  const { defect: _, index: given, wayMs = () => 0, workersMax = 4, ...rest } = options
  const turns: Array<() => void> = []
  const index = PrefixIndex.make(
    { workersMax, holdersMax: 6 * workersMax, blocksMax: 100_000, blocksPerSpan: 0.1, ...given },
    (turn) => turns.push(turn),
    options.defect ??
      ((error) => {
        throw error
      })
  )
  const settle = (): void => {
    for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) turn()
  }
  const scope = yield* Scope.make()
  const services = yield* Layer.build(
    MetadataSync.MetadataSync.layer({ random: () => 0.5, ...rest }).pipe(
      Layer.provide(Layer.succeed(StateStore, far(client.store, wayMs))),
      Layer.provide(Layer.succeed(PrefixIndex.PrefixIndex, PrefixIndex.PrefixIndex.of(index)))
    )
  ).pipe(Scope.provide(scope))
  const router: Router = {
    client,
    index,
    sync: Context.get(services, MetadataSync.MetadataSync),
    tell: (...deltas) => {
      for (const delta of deltas) index.tell(delta)
      settle()
    },
    stop: Scope.close(scope, Exit.void),
    crash: Effect.suspend(() => {
      client.cut(true)
      return Scope.close(scope, Exit.void)
    })
  }
  return router
})

const far = (store: Interface, wayMs: () => number): Interface => {
  const way = Effect.suspend(() => {
    const ms = wayMs()
    return ms === 0 ? Effect.void : Effect.sleep(ms)
  })
  const over = <A, E>(call: Effect.Effect<A, E>) => way.pipe(Effect.andThen(call), Effect.tap(way))
  return {
    ...store,
    generation: over(store.generation),
    enter: (name) => over(store.enter(name)),
    settle: (name, tenure) => over(store.settle(name, tenure)),
    leave: (name, tenure) => over(store.leave(name, tenure)),
    write: (shares) => over(store.write(shares))
  }
}

/** Lets virtual time pass, and what waits for it take its turns. */
export const pass = (ms: number, stepMs = 5): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let left = ms; left > 0; left -= stepMs) yield* TestClock.adjust(Math.min(left, stepMs))
  })
