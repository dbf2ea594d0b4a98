/**
 * Pictures: who tells what of each slot's cache. Events where there are some, guesses for what they do not tell, deliveries
 * that bear out or contradict either; and what of it placement believes.
 *
 * Owns     per slot: its block size, and what events have told so far.
 * Hears    workers as they join, change and leave; the collector's states; prompts as they are computed, requests as they
 *          end: all synchronous.
 * Answers  `blockSizes`, synchronously; all else by telling collector, guesses, trust, ledger and index.
 * Loses    nothing of its own: all of it is told again.
 */
import type { Effect } from "effect"
import type { KeyLanes } from "../src/domain/Block.ts"
import type { BlockStored } from "../src/domain/KvEvent.ts"
import type { EventSource } from "../src/domain/Worker.ts"
import { blockSizeMax } from "../src/hot/BlockHash.ts"
import type { Engine } from "../src/ports/Engine.ts"
import type { Collector } from "./Collector.ts"
import * as Delivery from "./Delivery.ts"
import type { Worker } from "./FleetEntry.ts"
import type { Guesses } from "./Guesses.ts"
import type { Ledger } from "./Ledger.ts"
import type { PrefixIndex } from "./PrefixIndex.ts"
import type { Trust } from "./Trust.ts"

/** What the engine said at the end of an answer, or null where it did not. */
export interface Report {
  readonly cachedTokens: number | null
  readonly outputTokens: number | null
  readonly promptTokens: number | null
}

export interface Deps {
  readonly workersMax: number
  readonly collector: Collector["Service"]
  readonly guesses: Guesses["Service"]
  readonly index: PrefixIndex["Service"]
  readonly ledger: Ledger["Service"]
  readonly trust: Trust["Service"]
  /** The worker a slot stands for now. */
  readonly workerOf: (slot: number) => Worker | undefined
  /** How an engine made the hashes of a root block. */
  readonly describe: (event: BlockStored) => string | null
  /** A batch of events was read that was published then: seconds since the epoch, by the engine's clock. */
  readonly heard?: (publishedAt: number) => void
  readonly fork: (effect: Effect.Effect<void>) => void
}

export interface Pictures {
  readonly join: (worker: Worker) => void
  readonly change: (worker: Worker, before: Worker, restarted: boolean) => void
  readonly vacate: (slot: number) => void
  /** Tokens per block, by slot: as the events show it, as the engine tells it, or a guess. To be read only. */
  readonly blockSizes: Uint32Array
  /**
   * A worker computed these prompts; `exact`: their keys are those its events lead to. Answers null when events tell of it,
   * else what to call once with the engine's report.
   */
  readonly computed: (
    slot: number,
    prompts: ReadonlyArray<KeyLanes>,
    exact: boolean
  ) => ((report: Report) => void) | null
  /** At most so many blocks that it held are about to be recalled. Answers with its present life; null: none are wanted. */
  readonly reserve: (slot: number, blocks: number) => number | null
  /**
   * Blocks the slot held, as somebody remembers who heard its events: taken for guesses, until these tell all. In which
   * order: `Guesses`. False when no more are wanted: events tell all there is, its room is full, or that life is over.
   */
  readonly recall: (slot: number, life: number, parent: KeyLanes | null, keys: KeyLanes) => boolean
  /** Blocks that events have taken from a slot so far: of two moments, what was evicted between them. */
  readonly evicted: (slot: number) => number
  /** A request was answered whole. */
  readonly delivered: (slot: number, finished: Delivery.Finished, totalMs: number) => void
}

/** Tokens per block of a worker that has not told: vLLM's default. Used until its first event. */
const blockSizeDefault = 16

/** From hearing of a block to predicting it: a turn or two, and a busy second at most. */
const heardBeforeMs = 1_000

/** The same in every router: `host:port`, or `id/dp1` where there are ranks. */
export const nameOf = ({ facts, slots, spec }: Worker, slot: number): string =>
  slots.length === 1 ? spec.id : `${spec.id}/dp${facts.ranks[slots.indexOf(slot)]}`

/**
 * Where the events of a slot come from; null where there are none, or those of several ranks: what one of them holds is
 * not what the worker does.
 */
export const sourceOf = ({ facts: { eventSources, ranks }, slots }: Worker, slot: number): EventSource | null => {
  const rank = ranks[slots.indexOf(slot)]
  if (rank !== undefined) return eventSources.find((source) => source.rank === rank) ?? null
  return eventSources.length === 1 ? eventSources[0]! : null
}

/** What a slot's collector must be started anew for: where events come from, and what their keys are made with. */
const eventsOf = (worker: Worker, slot: number): string => {
  const { blockCount, blockSize } = worker.facts
  return JSON.stringify([worker.model, sourceOf(worker, slot), blockSize, blockCount])
}

export const make = (deps: Deps): Pictures => {
  const { collector, fork, guesses, index, ledger, trust, workersMax } = deps
  const blockSizes = new Uint32Array(workersMax).fill(blockSizeDefault)
  /** 1 where events tell all there is of a slot: nothing need be guessed of what they could tell. */
  const told = new Uint8Array(workersMax)
  /** 1 where something was guessed that events will tell of; what was keyed by its text they never do. */
  const bridged = new Uint8Array(workersMax)
  /** Engine lives that events have told of. */
  const restarts = new Uint32Array(workersMax)

  const follow = (worker: Worker, slot: number): void => {
    const { engine, facts, model, slots } = worker
    const { blockCount, blockSize, eventSources } = facts
    const source = sourceOf(worker, slot)
    if (source !== null) {
      const { describe, heard } = deps
      const decode: Engine["decode"] =
        heard === undefined
          ? engine.decode
          : (payload) => {
              const batch = engine.decode(payload)
              heard(batch.ts)
              return batch
            }
      const name = nameOf(worker, slot)
      fork(collector.start({ name, slot, model, source, blockSize, blockCount, decode, describe }))
    } else if (slots.length === 1 && eventSources.length > 1) {
      trust.health(slot, "absent", `events of ${eventSources.length} ranks, and no request can name one`)
    }
  }

  /** Withdraws at once what events told of a slot. */
  const unfollow = (slot: number): void => {
    fork(collector.stop(slot))
    told[slot] = 0
  }

  /** What cannot be hashed with is not believed. */
  const setBlockSize = (slot: number, blockSize: number | null, blockCount: number | null): void => {
    if (blockSize !== null && blockSize >= 1 && blockSize <= blockSizeMax && blockSize !== blockSizes[slot]) {
      blockSizes[slot] = blockSize
      // Made of blocks of another size, guesses are found by nobody.
      guesses.forget(slot)
    }
    if (blockCount !== null) ledger.setCapacity(slot, blockCount * blockSizes[slot]!)
  }

  const learn = ({ facts: { blockCount, blockSize, unsetPriority }, slots }: Worker): void => {
    for (const slot of slots) {
      ledger.setPriority(slot, unsetPriority)
      // What its events show outranks what it says.
      setBlockSize(slot, collector.state(slot)?.blockSize ?? blockSize, blockCount)
      guesses.told(slot, blockCount)
    }
  }

  collector.onState((slot, state) => {
    setBlockSize(slot, state.blockSize, deps.workerOf(slot)?.facts.blockCount ?? null)
    trust.health(slot, state.health, state.why)
    const tellsAll = state.health === "whole" && state.complete
    // Nobody would tell that a guess was wrong.
    if ((tellsAll && bridged[slot] === 1) || state.restarts !== restarts[slot]) {
      guesses.forget(slot)
      bridged[slot] = 0
    }
    restarts[slot] = state.restarts
    told[slot] = tellsAll ? 1 : 0
  })
  const isGuessed = (slot: number): boolean => told[slot] === 0 && deps.workerOf(slot) !== undefined

  trust.onChange((slot, { credit }) => ledger.setCredit(slot, credit))
  trust.onSuspect(collector.resync)
  index.onReset(() => {
    for (let slot = 0; slot < workersMax; slot++) guesses.forget(slot)
    collector.resync()
  })

  return {
    join: (worker) => {
      for (const slot of worker.slots) {
        blockSizes[slot] = blockSizeDefault
        ledger.join(slot, null)
        ledger.setEligible(slot, true)
        trust.join(slot, nameOf(worker, slot))
        follow(worker, slot)
      }
      learn(worker)
    },
    change: (worker, before, restarted) => {
      learn(worker)
      for (const slot of worker.slots) {
        if (restarted) {
          trust.restarted(slot)
          // Events tell of a restart themselves; guesses are void.
          guesses.forget(slot)
        }
        if (eventsOf(worker, slot) === eventsOf(before, slot)) continue
        unfollow(slot)
        trust.health(slot, "absent", "no events")
        follow(worker, slot)
      }
    },
    vacate: (slot) => {
      unfollow(slot)
      ledger.leave(slot)
      trust.leave(slot)
      guesses.leave(slot)
      index.drop(slot)
    },
    blockSizes,
    evicted: collector.evicted,
    computed: (slot, prompts, exact) => {
      // It may have left since: whatever is stored for it would keep its slot for ever.
      if ((exact && told[slot] === 1) || deps.workerOf(slot) === undefined) return null
      if (exact) bridged[slot] = 1
      const blockSize = blockSizes[slot]!
      const settled = guesses.computed(slot, prompts)
      const count = prompts.reduce((sum, keys) => sum + keys.length / 2, 0)
      return ({ cachedTokens, outputTokens, promptTokens }) => {
        // Blocks of text have other bounds than the engine's: what it found is about the same share of both.
        const perBlock = exact || promptTokens === null || promptTokens === 0 ? blockSize : promptTokens / count
        settled({
          reportedBlocks: cachedTokens === null ? null : Math.floor(cachedTokens / perBlock),
          estimated: !exact,
          outputBlocks: outputTokens === null ? null : Math.ceil(outputTokens / blockSize)
        })
      }
    },
    reserve: (slot, blocks) => (isGuessed(slot) ? guesses.reserve(slot, blocks) : null),
    recall: (slot, life, parent, keys) => {
      if (!isGuessed(slot)) return false
      bridged[slot] = 1
      return guesses.recall(slot, life, parent, keys)
    },
    delivered: (slot, finished, totalMs) => {
      const { deliveredTokens, evictedBlocks, predictedTokens, promptTokens, prompts } = finished
      const scale = Delivery.scale(finished)
      // Of several prompts some engines report the first, or the last.
      const reports =
        prompts === 1 &&
        deliveredTokens !== null &&
        trust.delivered(
          slot,
          predictedTokens * scale,
          deliveredTokens,
          promptTokens * scale,
          evictedBlocks * blockSizes[slot]!
        )
      const complete = !reports && (collector.state(slot)?.complete ?? false)
      if (!Delivery.stored(finished, reports, complete, blockSizes[slot]!)) return
      // What was predicted may be older than what was heard just before.
      collector.expected(slot, totalMs + (reports ? 0 : heardBeforeMs))
    }
  }
}
