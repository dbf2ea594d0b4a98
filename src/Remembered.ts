/**
 * Remembered: what joins this router to its metadata store; built only where there is one.
 *
 * Written behind by `MetadataSync`, each worker by one of the routers that share the store; read when workers join
 * (`WarmStart`) and where the index ends before a request does (`Overflow`).
 */
import { Context, Effect, Layer, Schedule, type Scope } from "effect"
import type { Worker } from "../actors/FleetEntry.ts"
import type { Guesses } from "../actors/Guesses.ts"
import { MetadataSync } from "../actors/MetadataSync.ts"
import * as Overflow from "../actors/Overflow.ts"
import { nameOf, type Pictures } from "../actors/Pictures.ts"
import { PrefixIndex } from "../actors/PrefixIndex.ts"
import * as WarmStart from "../actors/WarmStart.ts"
import type { Config } from "./Config.ts"
import { type Interface, StateStore } from "./ports/StateStore.ts"
import type * as StoreMetrics from "./telemetry/StoreMetrics.ts"

export interface Deps {
  readonly config: Pick<Config, "storeTtlMs" | "storeLookupMs">
  readonly store: Interface
  readonly index: PrefixIndex["Service"]
  readonly pictures: Pictures
  readonly guesses: Guesses["Service"]
  readonly workerOf: (slot: number) => Worker | undefined
  /** Whether this router, of all that share the store, writes of a worker. */
  readonly writes: (name: string) => boolean
  readonly now: () => number
}

export interface Remembered {
  readonly join: (worker: Worker) => void
  readonly change: (worker: Worker) => void
  readonly leave: (slot: number) => void
  /** Null where requests never ask. */
  readonly overflow: Overflow.Overflow | null
  /** For the admin API. */
  readonly shown: () => unknown
  /** For metrics. */
  readonly numbers: () => StoreMetrics.Numbers
}

/** How late it is noticed that a worker has become this router's to write of, or that its blocks are of another size. */
const lookMs = 500

/**
 * As many times as long a request waits while workers' memory is still read: that takes a second or two, in which the store knows all
 * and the index nothing, and both are busy.
 */
const warmingTimes = 10

export const make = Effect.fnUntraced(function* (deps: Deps): Effect.fn.Return<Remembered, never, Scope.Scope> {
  const { config, guesses, index, now, pictures, store, workerOf, writes } = deps
  const names = new Map<number, string>()
  const warm: WarmStart.WarmStart = yield* WarmStart.make({
    ...{ store, pictures, guesses, workerOf },
    done: (slot) => sync.ownershipChanged(slot)
  })
  const owns = (slot: number): boolean => {
    const name = names.get(slot)
    // Its last tenure is to be read before another one settles.
    return name !== undefined && !warm.awaits(name) && writes(name)
  }
  const services = yield* Layer.build(MetadataSync.layer({ ttlMs: config.storeTtlMs, owns })).pipe(
    Effect.provideService(PrefixIndex, index),
    Effect.provideService(StateStore, store)
  )
  const sync = Context.get(services, MetadataSync)
  const overflow =
    config.storeLookupMs === 0
      ? null
      : yield* Overflow.make({
          store,
          budgetMs: () => config.storeLookupMs * (warm.isWarming() ? warmingTimes : 1),
          isShort: (lo, hi) => index.hasEvicted(lo, hi) || warm.isWarming(),
          now
        })
  yield* Effect.sync(() => {
    for (const slot of names.keys()) sync.setBlockSize(slot, pictures.blockSizes[slot]!)
    sync.ownershipChanged(null)
  }).pipe(
    Effect.repeat(Schedule.spaced(lookMs)),
    Effect.tapCause((cause) => Effect.logError("The store is no longer told of workers that change hands", cause)),
    Effect.forkScoped
  )

  return {
    join: (worker) => {
      warm.join(worker)
      for (const slot of worker.slots) {
        const name = nameOf(worker, slot)
        names.set(slot, name)
        sync.join(slot, name, pictures.blockSizes[slot]!)
        overflow?.join(slot, name)
      }
    },
    change: warm.change,
    leave: (slot) => {
      names.delete(slot)
      sync.leave(slot)
      overflow?.leave(slot)
    },
    overflow,
    shown: () => ({
      url: store.url,
      ...store.status(),
      writing: sync.stats(),
      names: sync.names(),
      recalled: warm.stats(),
      lookups: overflow?.stats() ?? null
    }),
    numbers: () => {
      const writing = sync.stats()
      const recalled = warm.stats()
      const lookups = overflow?.stats()
      return {
        totals: {
          warmpath_store_shares_written_total: writing.written,
          warmpath_store_failures_total: writing.failures,
          warmpath_store_resyncs_total: writing.resyncs,
          warmpath_store_fenced_total: writing.fenced,
          warmpath_store_begun_anew_total: writing.begunAnew,
          warmpath_store_dropped_workers_total: writing.droppedTiers,
          warmpath_store_dropped_guesses_total: writing.droppedGuesses,
          warmpath_store_unplaced_blocks_total: writing.unplaced,
          warmpath_store_recalled_blocks_total: recalled.blocks,
          warmpath_store_outlived_total: recalled.outlived,
          warmpath_store_lookups_total: lookups?.asked ?? 0,
          warmpath_store_lookups_failed_total: lookups?.failed ?? 0,
          warmpath_store_lookups_late_total: lookups?.late ?? 0,
          warmpath_store_lookups_skipped_total: lookups?.skipped ?? 0,
          warmpath_store_lookup_hits_total: lookups?.hits ?? 0,
          warmpath_store_lookup_blocks_won_total: lookups?.blocksWon ?? 0,
          warmpath_store_breaker_opens_total: lookups?.opens ?? 0
        },
        levels: {
          warmpath_store_connected: store.status().connected && writing.why === "" ? 1 : 0,
          warmpath_store_queued_shares: writing.queuedShares,
          warmpath_store_queued_bytes: writing.queuedBytes,
          warmpath_store_lag_seconds: writing.lagMs / 1_000,
          warmpath_store_workers_live: writing.names.live,
          warmpath_store_workers_filling: writing.names.filling + writing.names.filled
        }
      }
    }
  }
})
