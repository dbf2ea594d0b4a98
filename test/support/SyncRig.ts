/** One router's index and what it writes behind of it, in virtual time; turns of the index are taken at once. */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as MetadataSync from "../../actors/MetadataSync.ts"
import * as PrefixIndex from "../../actors/PrefixIndex.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
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
  readonly workersMax?: number
  readonly index?: Partial<PrefixIndex.Options>
}

export const start = Effect.fnUntraced(function* (client: Client, options: Options = {}) {
  const { index: given, workersMax = 4, ...rest } = options
  const turns: Array<() => void> = []
  const index = PrefixIndex.make(
    { workersMax, holdersMax: 6 * workersMax, blocksMax: 100_000, blocksPerSpan: 0.1, ...given },
    (turn) => turns.push(turn),
    (error) => {
      throw error
    }
  )
  const settle = (): void => {
    for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) turn()
  }
  const scope = yield* Scope.make()
  const services = yield* Layer.build(
    MetadataSync.MetadataSync.layer({ random: () => 0.5, ...rest }).pipe(
      Layer.provide(client.layer),
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

/** Lets virtual time pass, and what waits for it take its turns. */
export const pass = (ms: number, stepMs = 5): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let left = ms; left > 0; left -= stepMs) yield* TestClock.adjust(Math.min(left, stepMs))
  })
