/**
 * WarmStart: what the store remembers of workers that join for the first time in this process, taken for guesses.
 *
 * Owns     the names that wait for what the store says of them, and those it was asked about.
 * Hears    workers as they join and change.
 * Answers  by recalling what they held, at `Pictures`; `isWarming`: somebody waits.
 * Loses    nothing. A store that is away is waited for, while caches are learned anew; one that does not answer is done without.
 *
 * Names that come within `gatherMs` are asked about together: the store is read once, from end to end. It is evidence, not
 * truth: a name counts both as what its events told and (with `?`) as what was guessed of it; what was written before its
 * engine started is of a former life, and then so is all of that name, since each life is written under a tenure of its own.
 */
import { Effect, Queue, Result, Schedule, type Scope } from "effect"
import { Recollection } from "../src/hot/Recollection.ts"
import type { Interface as Store, StoreError, Stretch } from "../src/ports/StateStore.ts"
import type { Worker } from "./FleetEntry.ts"
import type { Guesses } from "./Guesses.ts"
import { nameOf, type Pictures } from "./Pictures.ts"

export interface Deps {
  readonly store: Pick<Store, "read" | "url">
  readonly pictures: Pick<Pictures, "recall" | "reserve">
  readonly guesses: Pick<Guesses["Service"], "forget">
  /** The worker a slot stands for now. */
  readonly workerOf: (slot: number) => Worker | undefined
  /** Nobody waits any more for what a slot's name held: from now on it may be told anew. */
  readonly done?: (slot: number) => void
}

export interface Stats {
  /** Names that wait, names that were asked about, and of those the ones of a former life. */
  readonly waiting: number
  readonly asked: number
  readonly outlived: number
  /** Blocks that were recalled. */
  readonly blocks: number
  /** Reads that failed, and names that were done without in the end. */
  readonly failed: number
  readonly missed: number
}

export interface WarmStart {
  readonly join: (worker: Worker) => void
  /** It may tell only now when its engine started. */
  readonly change: (worker: Worker) => void
  /** True while the store is still to say what this name held: whoever settles a tenure of it before takes that away. */
  readonly awaits: (name: string) => boolean
  readonly isWarming: () => boolean
  readonly stats: () => Stats
}

/** Workers are found together, a probe apart. */
const gatherMs = 100
/** Taken per turn of the event loop, near 0.5 us each. */
const blocksPerTurn = 2_048
const retryMs = 500
/** In a row; each takes as long as the adapter waits for an answer. */
const latesMax = 10
/** Names remembered, so that a worker that comes and goes is not read for each time. */
const namesMax = 65_536

/** What a router writes of its own guesses about a worker goes under this name. */
export const guessesOf = (name: string): string => `${name}?`

/** One name of the store while it is read. */
interface Held {
  readonly recollection: Recollection
  mask: number
}

/** On a later turn of the event loop. */
const turn = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** Notes which blocks of a stretch the names in `byName` hold, on any layer. Returns how many. */
export const note = (stretch: Stretch, byName: ReadonlyMap<string, Held>): number => {
  const { base, holders, keys, parent, piece, stride, touched } = stretch
  const count = keys.length >> 1
  let noted = 0
  for (const { mask, name } of holders) {
    const held = byName.get(name)
    if (held !== undefined) held.mask |= mask
  }
  for (const { name } of holders) {
    const held = byName.get(name)
    if (held === undefined || held.mask === 0) continue
    // The first place of the mask that counts is the one of the first key.
    const mask = held.mask >>> base
    held.mask = 0
    for (let from = 0; from < count; ) {
      if (((mask >>> from) & 1) === 0) {
        from++
        continue
      }
      let to = from + 1
      while (to < count && ((mask >>> to) & 1) === 1) to++
      const before = from === 0 ? parent : keys.subarray(2 * from - 2, 2 * from)
      held.recollection.add(before, keys, from, to, piece * stride + base + from, touched)
      noted += to - from
      from = to
    }
  }
  return noted
}

/** True when some of it was written before the engine started; not known where it does not tell. */
const isOutlived = (oldest: number, startedAtMs: number | null): boolean =>
  startedAtMs !== null && (oldest + 1) * 1_000 <= startedAtMs

export const make = Effect.fnUntraced(function* (deps: Deps): Effect.fn.Return<WarmStart, never, Scope.Scope> {
  const { guesses, pictures, store, workerOf } = deps
  const bell = yield* Queue.sliding<true>(1)
  const known = new Set<string>()
  /** Slots by name that wait. */
  const waiting = new Map<string, number>()
  /** What was recalled to slots whose engines have not told when they started: when the oldest of it was written. */
  const unproven = new Map<number, { readonly name: string; readonly oldest: number }>()
  const tally = { asked: 0, outlived: 0, blocks: 0, failed: 0, missed: 0 }

  const finish = (name: string, slot: number): void => {
    waiting.delete(name)
    deps.done?.(slot)
  }

  const presentAt = (slot: number, name: string): Worker | undefined => {
    const worker = workerOf(slot)
    return worker !== undefined && nameOf(worker, slot) === name ? worker : undefined
  }

  const read = Effect.fnUntraced(function* (names: Iterable<string>) {
    const byName = new Map<string, Held>()
    for (const name of names) {
      byName.set(name, { recollection: new Recollection(), mask: 0 })
      byName.set(guessesOf(name), { recollection: new Recollection(), mask: 0 })
    }
    yield* store.read((chunk) =>
      Effect.gen(function* () {
        let work = 0
        for (const stretch of chunk) {
          work += 8 + stretch.holders.length + note(stretch, byName)
          if (work < blocksPerTurn) continue
          work = 0
          yield* turn
        }
        yield* turn
        return true
      })
    )
    return byName
  })

  /** Recalls what one name held. Blocks recalled before are older, or the same. */
  const recall = Effect.fnUntraced(function* (slot: number, name: string, recollection: Recollection) {
    if (recollection.blocks === 0) return
    const sorting = recollection.order(4 * blocksPerTurn)
    let sorted = sorting.next()
    for (; sorted.done !== true; sorted = sorting.next()) yield* turn
    const worker = presentAt(slot, name)
    if (worker === undefined) return
    const { startedAtMs } = worker.facts
    if (isOutlived(recollection.oldest, startedAtMs)) {
      tally.outlived++
      yield* Effect.logInfo(`${name} restarted since the store heard of it: it is learned anew`)
      return
    }
    if (startedAtMs === null) {
      const oldest = Math.min(recollection.oldest, unproven.get(slot)?.oldest ?? Number.POSITIVE_INFINITY)
      unproven.set(slot, { name, oldest })
    }
    const life = pictures.reserve(slot, recollection.blocks)
    if (life === null) return
    let left = blocksPerTurn
    for (const stretch of sorted.value) {
      if (left <= 0) {
        left = blocksPerTurn
        yield* turn
        if (presentAt(slot, name) === undefined) return
      }
      const keys = recollection.keysOf(stretch)
      // Its room is full, it restarted, or events tell all meanwhile.
      if (!pictures.recall(slot, life, recollection.parentOf(stretch), keys)) return
      tally.blocks += keys.length >> 1
      left -= 8 + (keys.length >> 1)
    }
  })

  const warm = Effect.fnUntraced(function* () {
    const names = [...waiting]
    if (names.length === 0) return
    const byName = yield* read(names.map(([name]) => name))
    tally.asked += names.length
    for (const [name, slot] of names) {
      for (const each of [name, guessesOf(name)]) {
        yield* recall(slot, name, byName.get(each)!.recollection)
        byName.delete(each)
      }
      // It may have come back on another slot meanwhile.
      if (waiting.get(name) === slot) finish(name, slot)
    }
  })

  const giveUp = (): void => {
    tally.missed += waiting.size
    for (const [name, slot] of waiting) finish(name, slot)
  }

  let lates = 0
  const isWorthwhile = ({ reason }: StoreError): boolean => {
    tally.failed++
    if (reason === "late") return ++lates < latesMax
    lates = 0
    return reason === "away"
  }

  /** Asks until the store has answered. What is remembered stays older than all that was learned since. */
  const warmed = warm().pipe(
    Effect.retry({ schedule: Schedule.spaced(retryMs), while: isWorthwhile }),
    Effect.result,
    Effect.tap(() =>
      Effect.sync(() => {
        lates = 0
      })
    ),
    Effect.flatMap((result) =>
      Result.isSuccess(result)
        ? Effect.void
        : Effect.logWarning(
            `What ${waiting.size} workers held is not known from ${store.url}, and learned anew: ${result.failure.message}`
          ).pipe(Effect.andThen(Effect.sync(giveUp)))
    )
  )

  yield* Queue.take(bell).pipe(
    Effect.andThen(Effect.sleep(gatherMs)),
    Effect.andThen(warmed),
    Effect.tapCause((cause) => {
      giveUp()
      return Effect.logError("What workers held is not recalled from the store", cause)
    }),
    Effect.sandbox,
    Effect.ignore,
    Effect.forever,
    Effect.forkScoped
  )

  return {
    join: (worker) => {
      for (const slot of worker.slots) {
        const name = nameOf(worker, slot)
        unproven.delete(slot)
        if (known.has(name) && !waiting.has(name)) continue
        if (known.size === namesMax) for (const oldest of known) if (known.delete(oldest)) break
        known.add(name)
        waiting.set(name, slot)
        Queue.offerUnsafe(bell, true)
      }
    },
    change: (worker) => {
      const { startedAtMs } = worker.facts
      for (const slot of worker.slots) {
        const doubted = unproven.get(slot)
        if (doubted === undefined || startedAtMs === null) continue
        unproven.delete(slot)
        if (doubted.name !== nameOf(worker, slot) || !isOutlived(doubted.oldest, startedAtMs)) continue
        tally.outlived++
        guesses.forget(slot)
      }
    },
    awaits: (name) => waiting.has(name),
    isWarming: () => waiting.size > 0,
    stats: () => ({ waiting: waiting.size, ...tally })
  }
})
