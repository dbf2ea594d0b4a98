/**
 * Overflow: what the store knows of requests that go on where the index ends.
 *
 * Owns     answers of the store, for some seconds, and the lookups that are under way; which slot a name stands for.
 * Hears    workers as they join and leave.
 * Answers  `raise`, synchronously, from what it has; `wait`: a request may wait for the rest, `budgetMs` at most.
 * Loses    answers, at any time: they are asked for again.
 *
 * Asked is only where a piece of the request or more is missing, and it is likely that the index lacks what it once had.
 * What it says is taken for guesses. An answer is kept under the first key that the index lacked: requests with that key share
 * all before it, so a hot beginning is asked about once, also by those that come while it is. One that comes too late
 * serves the next request.
 */
import { Effect, type Scope } from "effect"
import { LRUCache } from "lru-cache"
import type { KeyLanes } from "../src/domain/Block.ts"
import * as StoreAnswer from "../src/hot/StoreAnswer.ts"
import { type Reach, type Interface as Store, strideOf } from "../src/ports/StateStore.ts"

export interface Deps {
  readonly store: Pick<Store, "lookup" | "status">
  /** Longest a request waits. */
  readonly budgetMs: () => number
  /** The index may once have had this block, the first of a request that it lacks: it has evicted it, or is to be told. Cheap. */
  readonly isShort: (lo: number, hi: number) => boolean
  /** Monotonic, ms. */
  readonly now: () => number
  /** Lookups under way at most; 64 when left out. */
  readonly lookupsMax?: number
}

export interface Stats {
  /** Lookups sent. Of those: the ones that failed, and those that came too late or never. */
  readonly asked: number
  readonly failed: number
  readonly late: number
  /** Matches that were helped by an answer that was there. */
  readonly hits: number
  /** Not asked: the store is away or was slow of late, or too many are under way. */
  readonly skipped: number
  /** Times it was left alone for a second, since nothing came in time. */
  readonly opens: number
  /** Blocks by which the deepest overlap of matches was raised, all together. */
  readonly blocksWon: number
  readonly answers: number
  readonly underWay: number
}

export interface Overflow {
  /** The slot is this worker's, under the name it has in the store. */
  readonly join: (slot: number, name: string) => void
  readonly leave: (slot: number) => void
  /** A match begins: what the last one lacked is forgotten. */
  readonly begin: () => void
  /**
   * Adds to `depths` what is known of a prompt beyond the index, as guesses, and notes what else would be worth asking.
   * Answers whether rows beyond the first are written, as `layered` says of those it was given.
   */
  readonly raise: (
    keys: KeyLanes,
    count: number,
    depths: Uint32Array,
    stride: number,
    slots: number,
    blockSizes: Uint32Array,
    blockSize: number,
    layered: boolean
  ) => boolean
  /** False: nothing is worth waiting for. Else the store is asked, and `then` called once, when all came or time is up. */
  readonly wait: (then: () => void) => boolean
  readonly stats: () => Stats
}

interface Wanted {
  readonly id: string
  readonly keys: KeyLanes
  readonly count: number
  readonly from: number
  readonly stride: number
}

interface Lookup {
  /** Those who wait; null when its time is up. */
  listeners: Array<() => void> | null
  timer: NodeJS.Timeout | undefined
}

const answersMax = 65_536
/** About. */
const answerBytesMax = 16 << 20
/** A worker may have evicted by then what it is said to hold. */
const answerMs = 3_000
/** In a row, too late or failed. */
const missesMax = 5
const openMs = 1_000

export const make = Effect.fnUntraced(function* (deps: Deps): Effect.fn.Return<Overflow, never, Scope.Scope> {
  const { budgetMs, isShort, lookupsMax = 64, now, store } = deps
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const answers = new LRUCache<string, StoreAnswer.StoreAnswer>({
    max: answersMax,
    maxSize: answerBytesMax,
    sizeCalculation: StoreAnswer.bytesOf,
    ttl: answerMs,
    perf: { now }
  })
  const underWay = new Map<string, Lookup>()
  const slots = new Map<string, number>()
  const tally = { asked: 0, failed: 0, late: 0, hits: 0, skipped: 0, opens: 0, blocksWon: 0 }
  let wanted: Array<Wanted> = []
  let misses = 0
  let openUntilMs = 0

  /** Both what its events told and what a router guessed of it: `WarmStart.guessesOf`. */
  const slotOf = (name: string): number =>
    slots.get(name) ?? (name.endsWith("?") ? slots.get(name.slice(0, -1)) : undefined) ?? -1

  const miss = (): void => {
    if (++misses < missesMax || now() < openUntilMs) return
    openUntilMs = now() + openMs
    tally.opens++
  }

  const finish = (id: string, lookup: Lookup): void => {
    clearTimeout(lookup.timer)
    underWay.delete(id)
    const { listeners } = lookup
    lookup.listeners = null
    if (listeners !== null) for (const listener of listeners) listener()
  }

  const answered = ({ from, id, keys }: Wanted, lookup: Lookup, reaches: ReadonlyArray<Reach> | null): void => {
    if (reaches !== null) answers.set(id, StoreAnswer.make(reaches, keys, from))
    // Too late was counted when its time was up.
    if (lookup.listeners !== null) {
      if (reaches !== null) misses = 0
      else {
        tally.failed++
        miss()
      }
    }
    finish(id, lookup)
  }

  const ask = (want: Wanted): Lookup => {
    const { count, id, keys, stride } = want
    const lookup: Lookup = { listeners: [], timer: undefined }
    underWay.set(id, lookup)
    tally.asked++
    lookup.timer = setTimeout(() => {
      const { listeners } = lookup
      lookup.listeners = null
      tally.late++
      miss()
      if (listeners !== null) for (const listener of listeners) listener()
    }, budgetMs())
    fork(
      Effect.matchCause(store.lookup(keys, count, stride), {
        onFailure: () => answered(want, lookup, null),
        onSuccess: (reaches) => answered(want, lookup, reaches)
      })
    )
    return lookup
  }

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const [id, lookup] of underWay) finish(id, lookup)
    })
  )

  return {
    join: (slot, name) => void slots.set(name, slot),
    leave: (slot) => {
      for (const [name, other] of slots) if (other === slot) slots.delete(name)
    },
    begin: () => {
      if (wanted.length > 0) wanted = []
    },
    raise: (keys, count, depths, stride, slotCount, blockSizes, blockSize, layered) => {
      let isLayered = layered
      let from = StoreAnswer.deepest(depths, stride, slotCount, blockSizes, blockSize, isLayered)
      const piece = strideOf(blockSize)
      if (count - from < piece) return isLayered
      const before = from
      while (count - from >= piece) {
        const id = `${keys[2 * from]} ${keys[2 * from + 1]}`
        const answer = answers.get(id)
        if (answer === undefined) {
          if (isShort(keys[2 * from]!, keys[2 * from + 1]!)) wanted.push({ id, keys, count, from, stride: piece })
          break
        }
        if (!isLayered) StoreAnswer.widen(depths, stride)
        isLayered = true
        StoreAnswer.raise(answer, depths, stride, StoreAnswer.agree(answer, keys, count), slotOf)
        const raised = StoreAnswer.deepest(depths, stride, slotCount, blockSizes, blockSize, true)
        if (raised === from) break
        from = raised
      }
      if (from > before) {
        tally.hits++
        tally.blocksWon += from - before
      }
      return isLayered
    },
    wait: (then) => {
      if (wanted.length === 0) return false
      const asks = wanted
      wanted = []
      if (now() < openUntilMs || !store.status().connected) {
        tally.skipped += asks.length
        return false
      }
      /** One for the loop: what answers at once must not end the wait before all are asked. */
      let open = 1
      let isWorth = false
      const done = (): void => {
        if (--open === 0) then()
      }
      for (const want of asks) {
        let lookup = underWay.get(want.id)
        if (lookup === undefined) {
          if (underWay.size >= lookupsMax) {
            tally.skipped++
            continue
          }
          lookup = ask(want)
          isWorth = true
        }
        if (lookup.listeners === null) continue
        isWorth = true
        open++
        lookup.listeners.push(done)
      }
      if (isWorth) done()
      return isWorth
    },
    stats: () => ({ ...tally, answers: answers.size, underWay: underWay.size })
  }
})
