/**
 * PrefixIndex: which worker holds which block.
 *
 * Owns     one `PrefixTable`; nobody else writes to it.
 * Hears    `KvDelta` from the EventBus, in order. Mailbox bounded in changes and in keys; when full, `tell` answers
 *          false. `Cleared` is never refused: it takes effect at once and drops what that worker still had queued.
 * Answers  `levels`, `overlap`, `dump`: synchronously, on the caller's turn.
 * Loses    the table, on a defect; `onReset` then tells the owners of the truth to send it again.
 *
 * Changes are applied in slices of at most about a millisecond, so that ingest never holds the event loop.
 */
import { Context, Effect, Layer } from "effect"
import type { KeyLanes } from "../src/domain/Block.ts"
import type { KvDelta } from "../src/domain/KvEvent.ts"
import * as PrefixTable from "../src/hot/PrefixTable.ts"
import { EventBus } from "../src/ports/EventBus.ts"

export interface Options extends PrefixTable.Options {
  /** Changes queued at most. */
  readonly changesMax?: number
  /** Keys in queued changes at most; 8 bytes each. */
  readonly keysMax?: number
  /** Blocks applied or swept per turn of the event loop; near 0.1 us each. */
  readonly blocksPerTurn?: number
}

export interface Stats extends ReturnType<typeof PrefixTable.stats> {
  /** Changes waiting in the mailbox, and their keys. */
  readonly queuedChanges: number
  readonly queuedKeys: number
  /** Changes applied, and changes refused because the mailbox was full. */
  readonly applied: number
  readonly overflowed: number
  /** Stores that were cut short: nothing could be evicted for them. The view holds less than the worker does. */
  readonly storesFull: number
  /** Stores whose parent the table did not hold: exact, but credited to nobody until the blocks before come back. */
  readonly storesOrphaned: number
  /** Stores to a slot that takes none; the mailbox waits for a slot to open, so this stays 0. */
  readonly storesClosed: number
  /** Times the table was lost to a defect. */
  readonly resets: number
}

export interface Interface {
  /** Queues a change. False when the mailbox is full, or the slot is out of range: the caller must resend that worker. */
  readonly tell: (delta: KvDelta) => boolean
  /** A reusable answer for `levels`. */
  readonly makeLevels: () => PrefixTable.Levels
  /** Who holds how many of the first `count` keys. Returns the deepest. */
  readonly levels: (keys: KeyLanes, count: number, out: PrefixTable.Levels) => number
  /** Writes each worker's overlap, in blocks, into `out[slot]`. */
  readonly overlap: (keys: KeyLanes, count: number, out: Uint32Array) => void
  /** Forgets a worker at once. Its slot takes stores again once swept. */
  readonly drop: (worker: number) => void
  /** True when the slot may be given to another worker: nothing of the last one is left. */
  readonly reusable: (worker: number) => boolean
  /** Keys a worker holds, in no order. O(table): for tests and diagnosis. */
  readonly dump: (worker: number) => KeyLanes
  /** Blocks a worker holds. */
  readonly heldBy: (worker: number) => number
  readonly stats: () => Stats
  /** Calls back after the table was lost. */
  readonly onReset: (listener: () => void) => void
  /** Done when everything told so far is applied and swept. */
  readonly settled: Effect.Effect<void>
}

/** The actor without its runtime: a table, a mailbox, and a `turn` that works off one slice. */
export const make = (
  options: Options,
  schedule: (turn: () => void) => void,
  defect: (error: unknown) => void
): Interface => {
  const { blocksPerTurn = 4_096, changesMax = 65_536, keysMax = 4_194_304, ...tableOptions } = options
  let table = PrefixTable.make(tableOptions)
  let scratch = PrefixTable.makeLevels(table)
  let mailbox: Array<KvDelta> = []
  /** Epoch of its worker when each change was told; changes of an older epoch were overtaken by a clear. */
  let epochsTold: Array<number> = []
  const epochs = new Uint32Array(options.workersMax)
  let at = 0
  let queuedKeys = 0
  let applied = 0
  let overflowed = 0
  let resets = 0
  const statuses = new Float64Array(PrefixTable.CLOSED_SLOT + 1)
  let scheduled = false
  let waiting: Array<() => void> = []
  const listeners: Array<() => void> = []

  const idle = () => at === mailbox.length && !scheduled

  const apply = (delta: KvDelta): number => {
    switch (delta._tag) {
      case "Stored":
        statuses[PrefixTable.store(table, delta.worker, delta.parent, delta.keys)]!++
        return delta.keys.length >> 1
      case "Removed":
        PrefixTable.remove(table, delta.worker, delta.keys)
        return delta.keys.length >> 1
      case "Cleared":
        return 0
    }
  }

  /** One slice. True while more is left. */
  const slice = (): boolean => {
    let left = blocksPerTurn
    while (at < mailbox.length && left > 0) {
      const delta = mailbox[at]!
      if (epochsTold[at] === epochs[delta.worker]) {
        // A cleared slot opens when its sweep is done; until then nothing overtakes, so order holds.
        if (!PrefixTable.free(table, delta.worker)) break
        left -= 1 + apply(delta)
      }
      if (delta._tag !== "Cleared") queuedKeys -= delta.keys.length >> 1
      at++
      applied++
    }
    if (at === mailbox.length || at > 8_192) {
      mailbox = at === mailbox.length ? [] : mailbox.slice(at)
      epochsTold = mailbox.length === 0 ? [] : epochsTold.slice(at)
      at = 0
    }
    const sweeping = left > 0 && PrefixTable.sweep(table, left)
    return sweeping || left <= 0 || mailbox.length > 0
  }

  const reset = (error: unknown) => {
    // A half-applied change cannot be trusted.
    table = PrefixTable.make(tableOptions)
    scratch = PrefixTable.makeLevels(table)
    mailbox = []
    epochsTold = []
    at = 0
    queuedKeys = 0
    resets++
    defect(error)
    for (const listener of listeners) listener()
  }

  const turn = () => {
    scheduled = false
    let more = false
    try {
      more = slice()
    } catch (error) {
      reset(error)
      more = mailbox.length > 0
    }
    if (more) wake()
    else if (!scheduled) {
      const done = waiting
      waiting = []
      for (const resume of done) resume()
    }
  }

  const wake = () => {
    if (scheduled) return
    scheduled = true
    schedule(turn)
  }

  const drop = (worker: number) => {
    if (worker < 0 || worker >= epochs.length) return
    epochs[worker]!++
    PrefixTable.clear(table, worker)
    wake()
  }

  return {
    tell: (delta) => {
      if (delta._tag === "Cleared") {
        drop(delta.worker)
        applied++
        return true
      }
      const keys = delta.keys.length >> 1
      const known = delta.worker >= 0 && delta.worker < epochs.length
      if (!known || mailbox.length - at >= changesMax || queuedKeys + keys > keysMax) {
        overflowed++
        return false
      }
      mailbox.push(delta)
      epochsTold.push(epochs[delta.worker]!)
      queuedKeys += keys
      wake()
      return true
    },
    makeLevels: () => PrefixTable.makeLevels(table),
    levels: (keys, count, out) => PrefixTable.levels(table, keys, count, out),
    overlap: (keys, count, out) => PrefixTable.overlap(table, keys, count, scratch, out),
    drop,
    reusable: (worker) =>
      PrefixTable.free(table, worker) && PrefixTable.heldBy(table, worker) === 0 && !queuedFor(mailbox, at, worker),
    dump: (worker) => PrefixTable.keysOf(table, worker),
    heldBy: (worker) => PrefixTable.heldBy(table, worker),
    stats: () => ({
      ...PrefixTable.stats(table),
      queuedChanges: mailbox.length - at,
      queuedKeys,
      applied,
      overflowed,
      storesFull: statuses[PrefixTable.FULL_TABLE]!,
      storesOrphaned: statuses[PrefixTable.ORPHANED]!,
      storesClosed: statuses[PrefixTable.CLOSED_SLOT]!,
      resets
    }),
    onReset: (listener) => void listeners.push(listener),
    settled: Effect.callback<void>((resume) => {
      if (idle()) resume(Effect.void)
      else waiting.push(() => resume(Effect.void))
    })
  }
}

const queuedFor = (mailbox: ReadonlyArray<KvDelta>, from: number, worker: number): boolean => {
  for (let i = from; i < mailbox.length; i++) if (mailbox[i]!.worker === worker) return true
  return false
}

export class PrefixIndex extends Context.Service<PrefixIndex, Interface>()("warmpath/actors/PrefixIndex") {
  static readonly layer = (options: Options): Layer.Layer<PrefixIndex, never, EventBus> =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const run = Effect.runForkWith(yield* Effect.context<never>())
        const pending = new Set<NodeJS.Immediate>()
        yield* Effect.addFinalizer(() => Effect.sync(() => pending.forEach(clearImmediate)))
        const index = make(
          options,
          (turn) => {
            const immediate = setImmediate(() => {
              pending.delete(immediate)
              turn()
            })
            pending.add(immediate)
          },
          (error) => void run(Effect.logError("PrefixIndex lost its table; it refills from the collectors", error))
        )
        const bus = yield* EventBus
        yield* bus.subscribe(index.tell)
        return PrefixIndex.of(index)
      })
    )
}
