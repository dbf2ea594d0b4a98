/**
 * Guesses: what slots probably hold where no event tells.
 *
 * Owns     one model of a cache per slot that needs one, made when it is first needed.
 * Hears    prompts as they are computed and what their engines report at the end, capacities, restarts: synchronously.
 * Answers  on the EventBus, as changes of the guess layer; `of`, for people.
 * Loses    everything, when the process ends or a slot is forgotten; it is guessed anew from the next placements.
 */
import { Context, Effect, Layer } from "effect"
import type { KeyLanes } from "../src/domain/Block.ts"
import { GUESS } from "../src/domain/Tier.ts"
import { GuessedCache } from "../src/hot/GuessedCache.ts"
import { EventBus } from "../src/ports/EventBus.ts"

/** Blocks a cache has room for when it does not tell: half a million tokens, a 70B model on a node of H100s. */
const blockCountDefault = 32_768

export interface Interface {
  /** Blocks the slot's cache has room for, as its engine tells; null when it does not. */
  readonly told: (slot: number, blockCount: number | null) => void
  /** These prompts were computed there. Answers with what to call once with the engine's report. */
  readonly computed: (
    slot: number,
    prompts: ReadonlyArray<KeyLanes>
  ) => (reportedBlocks: number | null, outputBlocks: number | null) => void
  /** The slot is empty again, or guesses are not needed any more. */
  readonly forget: (slot: number) => void
  /** Null where nothing is guessed. */
  readonly of: (slot: number) => { readonly blocks: number; readonly capacityBlocks: number } | null
}

export const make = (bus: EventBus["Service"]): Interface => {
  const caches = new Map<number, GuessedCache>()
  const toldCounts = new Map<number, number | null>()
  const forget = (slot: number): void => {
    if (caches.delete(slot)) bus.publish({ _tag: "Cleared", worker: slot, guess: true })
  }
  return {
    told: (slot, blockCount) => void toldCounts.set(slot, blockCount),
    computed: (slot, prompts) => {
      let cache = caches.get(slot)
      if (cache === undefined) {
        cache = new GuessedCache(toldCounts.get(slot) ?? blockCountDefault)
        caches.set(slot, cache)
      }
      for (const keys of prompts) {
        const gone = cache.add(keys as Int32Array)
        const stored = bus.publish({ _tag: "Stored", worker: slot, layer: GUESS, parent: null, keys })
        const removed = gone.length === 0 || bus.publish({ _tag: "Removed", worker: slot, layer: GUESS, keys: gone })
        if (!stored || !removed) forget(slot)
      }
      return () => {}
    },
    forget,
    of: (slot) => {
      const cache = caches.get(slot)
      return cache === undefined ? null : { blocks: cache.size, capacityBlocks: cache.blocksMax }
    }
  }
}

export class Guesses extends Context.Service<Guesses, Interface>()("warmpath/actors/Guesses") {
  static readonly layer: Layer.Layer<Guesses, never, EventBus> = Layer.effect(
    this,
    Effect.map(EventBus, (bus) => Guesses.of(make(bus)))
  )
}
