/**
 * PrefixIndex: which worker holds which block, on which layer: within reach of each of its tiers, and by guess.
 *
 * Owns     one `PrefixLayers`: the table, and which of its holders stands for which layer; nobody else writes to them.
 * Hears    `KvDelta` from the EventBus, in order. Mailbox bounded in changes and in keys: from half of that on, `tell`
 *          applies a slice itself; when full, it answers false. `Cleared` is never refused: it takes effect at once and
 *          drops what those layers still had queued.
 * Answers  `depths`, `dump`: synchronously, on the caller's turn.
 * Loses    the table, on a defect; `onReset` then tells the owners of the truth to send it again.
 *
 * Changes are applied in slices of at most about a millisecond, so that ingest never holds the event loop. `Deepened`
 * copies in such slices, and what was told after it waits for the copy.
 */
import { Context, Effect, Layer } from "effect"
import type { KeyLanes } from "../src/domain/Block.ts"
import type { KvDelta } from "../src/domain/KvEvent.ts"
import * as Tier from "../src/domain/Tier.ts"
import * as PrefixTable from "../src/hot/PrefixTable.ts"
import * as SlotLayers from "../src/hot/SlotLayers.ts"
import { EventBus } from "../src/ports/EventBus.ts"
import { PrefixLayers, type Watcher } from "./PrefixLayers.ts"

export interface Options extends Omit<PrefixTable.Options, "holdersMax"> {
  /** Slots: workers there may be at once. */
  readonly workersMax: number
  /**
   * Layers of all slots together, at least `workersMax`, which are kept for devices. Twice that unless told: one more
   * for each worker, a tier or its guesses. Every 32 cost 4 bytes per run of blocks.
   */
  readonly holdersMax?: number
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
  /** Layers of all slots that are told apart now, and those let go of that are not swept yet. */
  readonly holders: number
  readonly holdersMax: number
  /** Times a layer behind the device, or of guesses, was not told apart because no holder was left for it. */
  readonly layersRefused: number
  /** Changes to a layer that is not told apart: refused, or never announced by `Deepened`. */
  readonly changesIgnored: number
  /** Times the table was lost to a defect. */
  readonly resets: number
}

export interface Interface {
  /** Queues a change. False when the mailbox is full, or the slot is out of range: the caller must resend that worker. */
  readonly tell: (delta: KvDelta) => boolean
  /**
   * Writes how many of the first `count` keys are within reach of each layer of each worker into `out[layer * workersMax +
   * slot]`, and answers true. A tier that is not told apart reads as the nearest before it that is, guesses as 0.
   * False: no layer but a device's holds even the first block, and only the first `workersMax` entries were written; every
   * deeper tier reads as the device, every guess as 0. `out` has room for `layersMax * workersMax`.
   */
  readonly depths: (keys: KeyLanes, count: number, out: Uint32Array) => boolean
  /** Forgets all layers of a worker, at once. */
  readonly drop: (worker: number) => void
  /** True when the slot may be given to another worker: no layer holds a block, and nothing is queued for it. */
  readonly reusable: (worker: number) => boolean
  /** Keys that a layer of a worker holds, read as by `depths`, in no order. O(table): for tests and diagnosis. */
  readonly dump: (worker: number, layer?: Tier.Layer) => KeyLanes
  /** Blocks that a layer of a worker holds, read as by `depths`. */
  readonly heldBy: (worker: number, layer?: Tier.Layer) => number
  readonly stats: () => Stats
  /** Where a request ends here: whether this next block of it was here and was evicted. Lately, and probably. */
  readonly hasEvicted: (lo: number, hi: number) => boolean
  /** Calls back after the table was lost, on a turn of its own. */
  readonly onReset: (listener: () => void) => void
  /** Done when everything told so far is applied and swept. */
  readonly settled: Effect.Effect<void>
  /** Done when everything told so far is applied, whatever was told since. */
  readonly caughtUp: Effect.Effect<void>
  /** Changes when the tiers of a slot are cleared or lost, or one of them is told apart from now on. */
  readonly version: (worker: number) => number
  /**
   * What is held within reach of each tier of some slots, in chunks to be taken on turns of their own; told of by
   * `PrefixTable.stored`, where `4 * i + layer` is the name of a layer of `workers[i]`. Changes may go on meanwhile: they
   * are to be applied again on top. But it is void for a slot whose `version` has changed.
   */
  readonly picture: (workers: ReadonlyArray<number>) => Picture
  /** Has one watcher told of every change from now on; answers what is being watched, to be read only. */
  readonly watch: (watcher: Watcher) => PrefixLayers
}

export interface Picture {
  /** For each slot, which tiers are told apart: a bit each. */
  readonly layers: ReadonlyArray<number>
  /** The next chunk, of at most so many words (2 000 at least), in about a millisecond; null at the end. May say nothing. */
  readonly next: (wordsMax: number) => Int32Array | null
}

/** The actor without its runtime: a table, a mailbox, and a `turn` that works off one slice. */
export const make = (
  options: Options,
  schedule: (turn: () => void) => void,
  defect: (error: unknown) => void
): Interface => {
  const {
    blocksPerTurn = 4_096,
    changesMax = 65_536,
    keysMax = 4_194_304,
    workersMax,
    holdersMax = SlotLayers.holdersFor(workersMax),
    ...tableOptions
  } = options
  const picture = new PrefixLayers(workersMax, { ...tableOptions, holdersMax })
  let scratch = PrefixTable.makeLevels(picture.table)
  let mailbox: Array<KvDelta> = []
  /** Epoch of its layers when each change was told; changes of an older epoch were overtaken by a clear. */
  let epochsTold: Array<number> = []
  /** Two per slot, so that clearing guesses does not void what is queued for tiers, nor the other way round. */
  const epochs = new Uint32Array(2 * workersMax)
  let at = 0
  let queuedKeys = 0
  let applied = 0
  let overflowed = 0
  let resets = 0
  /** The table was lost, and its owners do not know yet. */
  let untold = false
  let scheduled = false
  let waiting: Array<() => void> = []
  /** Changes taken so far, and those of them worked off; who waits for which. */
  let taken = 0
  let done = 0
  let behind: Array<{ readonly taken: number; readonly resume: () => void }> = []
  const versions = new Float64Array(workersMax)
  const listeners: Array<() => void> = []

  const idle = () => at === mailbox.length && !scheduled

  /** One slice. True while more is left. */
  const slice = (): boolean => {
    let left = blocksPerTurn
    while (at < mailbox.length && left > 0) {
      const delta = mailbox[at]!
      if (delta._tag !== "Cleared" && epochsTold[at] === epochs[epochOf(delta)]) {
        const cost = picture.apply(delta, left)
        // A copy goes on in the next slice. Where no holder is free, the sweep frees one; until then nothing overtakes.
        if (cost < 0) {
          if (picture.isCopying) left = 0
          break
        }
        left -= 1 + cost
      }
      if (delta._tag === "Stored" || delta._tag === "Removed") queuedKeys -= delta.keys.length >> 1
      at++
      applied++
      done++
    }
    if (behind.length > 0) resumeBehind()
    if (at === mailbox.length || at > 8_192) {
      mailbox = at === mailbox.length ? [] : mailbox.slice(at)
      epochsTold = mailbox.length === 0 ? [] : epochsTold.slice(at)
      at = 0
    }
    // What is left of the slice, and an eighth however busy it was: else a flood would keep what was cleared for ever.
    const sweeping = picture.sweep(Math.max(left, Math.ceil(blocksPerTurn / 8)))
    return sweeping || left <= 0 || mailbox.length > 0
  }

  const resumeBehind = () => {
    const ready = behind.filter((one) => one.taken <= done)
    behind = behind.filter((one) => one.taken > done)
    for (const { resume } of ready) resume()
  }

  const reset = (error: unknown) => {
    // A half-applied change cannot be trusted.
    picture.reset()
    for (let worker = 0; worker < workersMax; worker++) versions[worker]!++
    done = taken
    resumeBehind()
    scratch = PrefixTable.makeLevels(picture.table)
    mailbox = []
    epochsTold = []
    at = 0
    queuedKeys = 0
    resets++
    defect(error)
    // Whoever was telling may be the one who would have to begin again: on another turn.
    untold = true
    wake()
  }

  /** One slice, whatever happens in it. True while more is left. */
  const work = (): boolean => {
    try {
      return slice()
    } catch (error) {
      reset(error)
      return mailbox.length > 0
    }
  }

  const turn = () => {
    scheduled = false
    if (untold) {
      untold = false
      for (const listener of listeners) listener()
    }
    if (work()) wake()
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

  const has = (worker: number) => worker >= 0 && worker < workersMax

  const clearTiers = (worker: number) => {
    // A copy under way is the worker's own: it is abandoned with the layers it was for.
    if (picture.isCopying && mailbox[at]!.worker === worker) picture.abandon()
    epochs[2 * worker]!++
    versions[worker]!++
    for (let layer = Tier.DEVICE as Tier.Layer; layer < Tier.GUESS; layer++) picture.close(worker, layer)
    picture.watcher?.cleared(worker, false)
  }

  const clearGuesses = (worker: number) => {
    epochs[2 * worker + 1]!++
    picture.close(worker, Tier.GUESS)
    picture.watcher?.cleared(worker, true)
  }

  const drop = (worker: number) => {
    if (!has(worker)) return
    clearTiers(worker)
    clearGuesses(worker)
    wake()
  }

  return {
    tell: (delta) => {
      if (delta._tag === "Cleared") {
        if (has(delta.worker)) {
          if (delta.guess) clearGuesses(delta.worker)
          else clearTiers(delta.worker)
          wake()
        }
        applied++
        return true
      }
      // Who tells faster than the turns apply does their work: it is slowed down, before anything must be refused.
      if (mailbox.length - at > changesMax / 2 || queuedKeys > keysMax / 2) work()
      const keys = delta._tag === "Deepened" ? 0 : delta.keys.length >> 1
      if (!has(delta.worker) || mailbox.length - at >= changesMax || queuedKeys + keys > keysMax) {
        overflowed++
        return false
      }
      if (delta._tag === "Deepened") versions[delta.worker]!++
      taken++
      mailbox.push(delta)
      epochsTold.push(epochs[epochOf(delta)]!)
      queuedKeys += keys
      wake()
      return true
    },
    depths: (keys, count, out) => SlotLayers.depths(picture.layers, picture.table, keys, count, scratch, out),
    drop,
    reusable: (worker) => {
      if (!has(worker) || queuedFor(mailbox, at, worker)) return false
      for (let layer = Tier.DEVICE as Tier.Layer; layer < Tier.layersMax; layer++) {
        if (PrefixTable.heldBy(picture.table, SlotLayers.holderOf(picture.layers, worker, layer)) !== 0) return false
      }
      return true
    },
    dump: (worker, layer = Tier.DEVICE) => {
      const holder = SlotLayers.readOf(picture.layers, worker, layer)
      return holder === SlotLayers.NONE ? new Int32Array(0) : PrefixTable.keysOf(picture.table, holder)
    },
    heldBy: (worker, layer = Tier.DEVICE) =>
      PrefixTable.heldBy(picture.table, SlotLayers.readOf(picture.layers, worker, layer)),
    stats: () => ({
      ...PrefixTable.stats(picture.table),
      queuedChanges: mailbox.length - at,
      queuedKeys,
      applied,
      overflowed,
      storesFull: picture.statuses[PrefixTable.FULL_TABLE]!,
      storesOrphaned: picture.statuses[PrefixTable.ORPHANED]!,
      holders: picture.layers.used,
      holdersMax,
      layersRefused: picture.layersRefused,
      changesIgnored: picture.changesIgnored,
      resets
    }),
    hasEvicted: (lo, hi) => PrefixTable.hasEvicted(picture.table, lo, hi),
    onReset: (listener) => void listeners.push(listener),
    settled: Effect.callback<void>((resume) => {
      if (idle()) resume(Effect.void)
      else waiting.push(() => resume(Effect.void))
    }),
    caughtUp: Effect.callback<void>((resume) => {
      if (done === taken) resume(Effect.void)
      else behind.push({ taken, resume: () => resume(Effect.void) })
    }),
    version: (worker) => versions[worker] ?? 0,
    watch: (watcher) => {
      picture.watcher = watcher
      return picture
    },
    picture: (workers) => {
      const { layers, table } = picture
      const names = new Int32Array(holdersMax).fill(-1)
      const told = workers.map((worker, i) => {
        let bits = 0
        for (let layer = Tier.DEVICE as Tier.Layer; has(worker) && layer < Tier.GUESS; layer++) {
          const holder = SlotLayers.holderOf(layers, worker, layer)
          if (holder === SlotLayers.NONE) continue
          names[holder] = 4 * i + layer
          bits |= 1 << layer
        }
        return bits
      })
      let from = 0
      let isOver = false
      return {
        layers: told,
        next: (wordsMax) => {
          if (isOver) return null
          const { next, words } = PrefixTable.snapshot(table, from, names, wordsMax)
          from = next
          isOver = next === 0
          return words
        }
      }
    }
  }
}

const epochOf = ({ layer, worker }: { readonly layer: Tier.Layer; readonly worker: number }): number =>
  2 * worker + (layer === Tier.GUESS ? 1 : 0)

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
