/**
 * MetadataSync: what the index holds, written behind to a metadata store.
 *
 * Owns     the `SyncQueue` of places that changed, and the `SyncTenures` of the names this router writes for.
 * Hears    every change of the index, on its turn; which slots stand for whom, and which of them are this router's to tell of.
 * Answers  `stats` and `names`, synchronously.
 * Loses    what waits in the queue, when the process ends, for more than a second: the next that tells of these workers tells
 *          all of it.
 *
 * One thing at a time is asked of the store, so that order is no question; what fails is asked again, after 50 ms to 2 s. What
 * is held is read from the index when a batch is made, so a batch that is tried again says how it is by then.
 * When the queue is full: guesses first, the worker's that has most of them waiting, then so the tiers of one. What is dropped
 * is dropped whole, and told anew later. A resync under way waits for room, and drops nothing.
 */
import { Clock, Context, Effect, Latch, Layer, Schedule } from "effect"
import type { KeyLanes } from "../src/domain/Block.ts"
import { GUESS, layersMax } from "../src/domain/Tier.ts"
import * as PieceHolders from "../src/hot/PieceHolders.ts"
import * as PiecePaths from "../src/hot/PiecePaths.ts"
import * as PrefixTable from "../src/hot/PrefixTable.ts"
import * as SlotLayers from "../src/hot/SlotLayers.ts"
import { type Share, StateStore, type StoreError, strideOf } from "../src/ports/StateStore.ts"
import { PrefixIndex } from "./PrefixIndex.ts"
import { type Pending, SyncQueue } from "./SyncQueue.ts"
import { type Name, type State, type Step, SyncTenures } from "./SyncTenures.ts"

export interface Options {
  /** What the store keeps without being told again. Everything is written anew before half of it. */
  readonly ttlMs?: number
  /** Most that may wait: paths through pieces, and bytes. */
  readonly sharesMax?: number
  readonly bytesMax?: number
  /** Whether this router tells of a slot. Alone it tells of all. */
  readonly owns?: (slot: number) => boolean
  readonly random?: () => number
}

export interface Stats {
  /** Paths through pieces that wait, with the batch under way, and the bytes they take. */
  readonly queuedShares: number
  readonly queuedBytes: number
  /** Age of the oldest of them; 0 when nothing waits. */
  readonly lagMs: number
  readonly written: number
  /** Names whose changes were dropped because the queue was full. */
  readonly droppedTiers: number
  readonly droppedGuesses: number
  /** Names told of from the beginning, and settled. */
  readonly resyncs: number
  /** Times that another router was found to have told of a name later. */
  readonly fenced: number
  /** Times the store had lost everything. */
  readonly begunAnew: number
  /** Calls that failed. */
  readonly failures: number
  /** Blocks that could not be told of: the index has no room for them, or does not know what is before them. */
  readonly unplaced: number
  readonly names: { readonly [S in State]: number }
  /** What is wrong; empty while all is well. */
  readonly why: string
}

const batchMax = 256
/** The first of a batch waits so long for others. */
const gatherMs = 5
/** Told by one chunk of a resync: below a millisecond. */
const chunkShares = 256
/** How often a store that is not written to is asked whether it is the same still. */
const checkMs = 10_000
const idleMs = 1_000
const retryMinMs = 50
const retryMaxMs = 2_000
const leavingMs = 1_000
/** All workers of a router change hands at once: that is said once. */
const contendedLogMs = 60_000
const restart = Schedule.spaced("1 second")

export interface Interface {
  /** A slot stands for a worker from now on: what the index holds of it is written under that name. */
  readonly join: (slot: number, name: string, blockTokens: number) => void
  /** Tokens per block, when they are other than was thought. */
  readonly setBlockSize: (slot: number, blockTokens: number) => void
  /** The worker has left: it holds nothing any more. */
  readonly leave: (slot: number) => void
  /** What `owns` answers may have changed, for a slot or for all (null). */
  readonly ownershipChanged: (slot: number | null) => void
  readonly stats: () => Stats
  readonly names: () => ReadonlyArray<{ readonly name: string; readonly state: State; readonly tenure: number }>
}

export class MetadataSync extends Context.Service<MetadataSync, Interface>()("warmpath/actors/MetadataSync") {
  static readonly layer = (options: Options = {}): Layer.Layer<MetadataSync, never, PrefixIndex | StateStore> =>
    Layer.effect(this, make(options))
}

const make = Effect.fnUntraced(function* (options: Options) {
  const { owns = () => true, random = Math.random, ttlMs = 7_200_000 } = options
  const index = yield* PrefixIndex
  const store = yield* StateStore
  const clock = yield* Clock.Clock
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const log = Effect.runForkWith(yield* Effect.context<never>())
  const queue = new SyncQueue({ sharesMax: options.sharesMax ?? 65_536, bytesMax: options.bytesMax ?? 32 << 20 })
  const path = PiecePaths.make()
  const awake = Latch.makeUnsafe()
  const counts = { written: 0, droppedTiers: 0, droppedGuesses: 0, resyncs: 0, fenced: 0, begunAnew: 0, failures: 0 }
  let unplaced = 0
  /** Taken from the queue, and not known to be written. */
  let batch: ReadonlyArray<Pending> = []
  let generation: string | null = null
  let checkedMs = -Infinity
  let retryAtMs = -Infinity
  let trouble: { readonly error: StoreError; readonly sinceMs: number; readonly times: number } | null = null
  let isCrowded = false
  let contendedMs = -Infinity

  const firstLine = ({ isGuess, slot }: Name): number => layersMax * slot + (isGuess ? GUESS : 0)
  const endLine = ({ isGuess, slot }: Name): number => layersMax * slot + (isGuess ? layersMax : GUESS)
  const queuedOf = (name: Name): number => {
    let sum = 0
    for (let line = firstLine(name); line < endLine(name); line++) sum += queue.of(line)
    return sum
  }
  const nameOf = (line: number): Name | undefined =>
    tenures.of(Math.trunc(line / layersMax), line % layersMax === GUESS)

  const tenures = new SyncTenures({
    ttlMs,
    random,
    holds: (slot, isGuess) => {
      for (let layer = isGuess ? GUESS : 0; layer < (isGuess ? layersMax : GUESS); layer++) {
        const holder = SlotLayers.holderOf(picture.layers, slot, layer as Share["layer"])
        if (PrefixTable.heldBy(picture.table, holder) > 0) return true
      }
      return false
    },
    forget: (name) => {
      const [first, end] = [firstLine(name), endLine(name)]
      queue.drop(first, end)
      if (batch.some(({ line }) => line >= first && line < end)) {
        batch = batch.filter(({ line }) => line < first || line >= end)
      }
      awake.openUnsafe()
    }
  })

  // One of each for all calls: nothing is allocated for a change but what is queued.
  let line = 0
  let nowMs = now()
  const mark = (told: PiecePaths.PiecePath): void => queue.mark(line, told, nowMs)

  const note = (name: Name, layer: number, keys: KeyLanes): void => {
    const before = queue.shares
    line = layersMax * name.slot + layer
    // While something waits the clock is read often enough without.
    if (before === 0) nowMs = now()
    PiecePaths.pieces(picture.table, keys, name.stride, path, mark)
    unplaced += path.unplaced
    if (queue.isFull) makeRoom()
    if (before === 0 || (before < batchMax && queue.shares >= batchMax)) awake.openUnsafe()
  }

  const makeRoom = (): void => {
    const all = tenures.all()
    while (queue.isFull) {
      let fullest: Name | undefined
      let most = 0
      for (const isGuess of [true, false]) {
        for (const name of most > 0 ? [] : all) {
          const queued = name.isGuess === isGuess ? queuedOf(name) : 0
          if (queued <= most) continue
          most = queued
          fullest = name
        }
      }
      if (fullest === undefined) return
      if (fullest.isGuess) counts.droppedGuesses++
      else counts.droppedTiers++
      if (!isCrowded) {
        const text = `${queue.shares} changes wait for the store ${store.url}, the most there may be: those of "${fullest.text}" are dropped, and it is told anew later; so may others be, until all is written.`
        log(Effect.logWarning(text))
      }
      isCrowded = true
      tenures.redo(fullest)
    }
  }

  const evicted = (): number => {
    const { dropped, evictedMemberships } = PrefixTable.stats(picture.table)
    return dropped + evictedMemberships
  }

  const picture = index.watch({
    stored: (slot, layer, keys) => {
      const name = tenures.changed(slot, layer === GUESS, true)
      if (name === null) return
      note(name, layer, keys)
      unplaced += path.missing
      // It may be placed later, by a store of what is before it.
      if (path.unplaced > 0) name.isStale = true
    },
    removing: (slot, layer, keys) => {
      const name = tenures.changed(slot, layer === GUESS, false)
      if (name === null) return
      note(name, layer, keys)
      // The store may have been told of it, and cannot be told otherwise.
      if (path.unplaced > 0 || (path.missing > 0 && evicted() > 0)) name.isStale = true
    },
    deepened: (slot) => {
      const name = tenures.of(slot, false)
      if (name !== undefined) tenures.redo(name)
    },
    cleared: (slot, isGuess) => tenures.cleared(slot, isGuess),
    reset: () => tenures.lost()
  })

  const shareOf = ({ lanes, line, piece, told }: Pending): Share => {
    const layer = (line % layersMax) as Share["layer"]
    const { slot, stride, tenure } = nameOf(line)!
    const holder = SlotLayers.holderOf(picture.layers, slot, layer)
    return {
      ...{ tenure, layer, stride, piece, told },
      parent: lanes[0] === 0 && lanes[1] === 0 ? null : lanes.subarray(0, 2),
      keys: lanes.subarray(2),
      held: holder === SlotLayers.NONE ? 0 : PieceHolders.heldOf(picture.table, holder, lanes, told)
    }
  }

  const failed = (error: StoreError): void => {
    const atMs = now()
    counts.failures++
    const times = trouble === null ? 0 : trouble.times + 1
    if (trouble === null) {
      log(Effect.logWarning(`${error.message}. ${queue.shares} changes wait for it; it is tried again.`))
    }
    trouble = { error, sinceMs: trouble?.sinceMs ?? atMs, times }
    retryAtMs = atMs + Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(times, 6))
    // It may be another life of it that answers next.
    checkedMs = -Infinity
  }

  const isCheck = "read its generation"
  const succeeded = (what: string): void => {
    if (trouble === null || (what === isCheck && trouble.error.what !== isCheck)) return
    const seconds = Math.round((now() - trouble.sinceMs) / 1_000)
    log(Effect.logInfo(`The store ${store.url} is well again, after ${seconds} s.`))
    trouble = null
  }

  const ask = <A>(what: string, effect: Effect.Effect<A, StoreError>, done: (answer: A) => void): Effect.Effect<void> =>
    Effect.match(effect, {
      onFailure: failed,
      onSuccess: (answer) => {
        succeeded(what)
        done(answer)
      }
    })

  const check = ask(isCheck, store.generation, (found) => {
    checkedMs = now()
    if (generation !== null && found !== generation) {
      counts.begunAnew++
      log(Effect.logWarning(`The store ${store.url} has lost what it had, or is another: all is told to it anew.`))
      batch = []
      tenures.begunAnew()
    }
    generation = found
  })

  const write = Effect.suspend(() => {
    if (batch.length === 0) batch = queue.take(batchMax)
    const shares = batch.map(shareOf)
    return ask("write", store.write(shares), () => {
      checkedMs = now()
      counts.written += shares.length
      batch = []
      if (queue.shares < batchMax) isCrowded = false
    })
  })

  /** One chunk of a resync. */
  const walk = ({ from, names, stride }: Step & { readonly _tag: "Walk" }): void => {
    const lines = new Int32Array(picture.table.holdersMax).fill(-1)
    for (const name of names) {
      for (let line = firstLine(name); line < endLine(name); line++) {
        const holder = SlotLayers.holderOf(picture.layers, name.slot, (line % layersMax) as Share["layer"])
        if (holder !== SlotLayers.NONE) lines[holder] = line
      }
    }
    const to = PieceHolders.walk(picture.table, from, lines, stride, chunkShares, path, (line, told) =>
      queue.mark(line, told, nowMs)
    )
    unplaced += path.unplaced
    tenures.walked(to, queue.lastSeq)
  }

  const leave = (text: string) => Effect.flatMap(store.enter(text), (tenure) => store.leave(text, tenure))

  const does = (step: Exclude<Step, { _tag: "Walk" }>): Effect.Effect<void> => {
    switch (step._tag) {
      case "Leave":
        return ask(
          "leave",
          // Who may not enter never did: what it is said to hold ends by itself, and nobody else waits for that.
          Effect.tapError(leave(step.text), ({ reason }) =>
            Effect.sync(() => reason === "refused" && tenures.left(step.text))
          ),
          () => tenures.left(step.text)
        )
      case "Enter":
        return ask(
          "enter",
          Effect.tapError(store.enter(step.name.text), ({ reason }) =>
            Effect.sync(() => reason === "refused" && tenures.refused(step, now()))
          ),
          (tenure) => tenures.entered(step, tenure, queue.lastSeq)
        )
      case "Settle":
        return ask("settle", store.settle(step.name.text, step.name.tenure), (isLast) => {
          const became = tenures.settled(step, isLast, now())
          if (became === "live") counts.resyncs++
          if (became !== "fenced") return
          counts.fenced++
          if (now() - contendedMs < contendedLogMs) return
          contendedMs = now()
          const text = `Another router has told the store ${store.url} of "${step.name.text}", and maybe of more, as this one does: it is told anew. Ownership changed hands; or, if this is said again and again, two that are not replicas of each other share a store: give each its own.`
          log(Effect.logWarning(text))
        })
    }
  }

  /** Waits until there is something to do, or so long. */
  const pause = (ms: number): Effect.Effect<void> => Effect.asVoid(Effect.timeoutOption(awake.await, ms))

  /** `forever` lets others take their turns after each. */
  const turn = Effect.suspend((): Effect.Effect<void> => {
    awake.closeUnsafe()
    const atMs = now()
    nowMs = atMs
    if (atMs < retryAtMs) return Effect.sleep(retryAtMs - atMs)
    if (atMs - checkedMs >= checkMs) return check
    const oldest = batch[0] ?? queue.oldest
    const step = tenures.next(atMs, oldest?.seq ?? Infinity)
    if (step !== null && step._tag !== "Walk") return does(step)
    const waitedMs = oldest === undefined ? 0 : atMs - oldest.sinceMs
    if (batch.length > 0 || queue.shares >= batchMax || waitedMs >= gatherMs) return write
    if (step === null) return pause(oldest === undefined ? idleMs : gatherMs - waitedMs)
    walk(step)
    return Effect.void
  })

  /** Ends what was begun while the store takes it. What has not entered is left to who tells of it next. */
  const flush = Effect.suspend(() => {
    retryAtMs = -Infinity
    for (const name of tenures.all()) if (name.state === "asked") queue.drop(firstLine(name), endLine(name))
    const end = (): Effect.Effect<void> | null => {
      const step = tenures.last((batch[0] ?? queue.oldest)?.seq ?? Infinity)
      return step !== null ? does(step) : batch.length > 0 || queue.shares > 0 ? write : null
    }
    return Effect.whileLoop({
      while: () => retryAtMs === -Infinity && end() !== null,
      body: () => end()!,
      step: () => {}
    })
  }).pipe(Effect.timeoutOption(leavingMs))

  yield* Effect.addFinalizer(() => flush)
  yield* Effect.forever(turn).pipe(
    Effect.tapCause((cause) =>
      Effect.suspend(() => {
        // Whatever it was, it is not to be met again with the same batch.
        for (const { line } of batch) {
          const name = nameOf(line)
          if (name !== undefined) tenures.redo(name)
        }
        batch = []
        return Effect.logError("MetadataSync died; it goes on", cause)
      })
    ),
    Effect.sandbox,
    Effect.retry(restart),
    Effect.forkScoped
  )

  const states = (): Stats["names"] => {
    const counted = { foreign: 0, idle: 0, asked: 0, waiting: 0, filling: 0, filled: 0, live: 0 }
    for (const { state } of tenures.all()) counted[state]++
    return counted
  }

  return MetadataSync.of({
    join: (slot, name, blockTokens) => tenures.join(slot, name, strideOf(blockTokens), owns(slot)),
    setBlockSize: (slot, blockTokens) => tenures.setStride(slot, strideOf(blockTokens)),
    leave: (slot) => tenures.leave(slot),
    ownershipChanged: (slot) => {
      for (const name of tenures.all()) {
        if (!name.isGuess && (slot === null || slot === name.slot)) tenures.own(name.slot, owns(name.slot))
      }
    },
    stats: () => ({
      queuedShares: queue.shares + batch.length,
      queuedBytes: queue.bytes,
      lagMs: Math.max(0, now() - ((batch[0] ?? queue.oldest)?.sinceMs ?? Infinity)),
      ...counts,
      unplaced,
      names: states(),
      why: trouble?.error.message ?? ""
    }),
    names: () => tenures.all().map(({ state, tenure, text }) => ({ name: text, state, tenure }))
  })
})
