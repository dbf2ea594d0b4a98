/**
 * Guesses: what slots probably hold where no event tells.
 *
 * Owns     one model of a cache per slot that needs one, made when it is first needed.
 * Hears    prompts as they are computed and what their engines report at the end, capacities, restarts, and what is
 *          remembered of a former life of this router: synchronously.
 * Answers  on the EventBus, as changes of the guess layer; `of`, for people.
 * Loses    everything, when the process ends or a slot is forgotten; it is guessed anew from the next placements.
 */
import { Context, Effect, Layer } from "effect"
import type { KeyLanes } from "../src/domain/Block.ts"
import type { KvDelta } from "../src/domain/KvEvent.ts"
import { GUESS } from "../src/domain/Tier.ts"
import * as CacheModel from "../src/hot/CacheModel.ts"
import { EventBus } from "../src/ports/EventBus.ts"

/** What the engine said when an answer was over; null where it did not. */
export type Report = CacheModel.Report

export interface Interface {
  /** Blocks the slot's cache has room for, as its engine tells; null when it does not. */
  readonly told: (slot: number, blockCount: number | null) => void
  /** These prompts were computed there. Answers with what to call once, when their answer is over. */
  readonly computed: (slot: number, prompts: ReadonlyArray<KeyLanes>) => (report: Report) => void
  /** At most so many blocks are about to be recalled there. Answers with the life of the slot, until it is forgotten. */
  readonly reserve: (slot: number, blocks: number) => number
  /**
   * The slot held these before what it is known to hold, as somebody remembers: what was used last first, of each chain its
   * beginning first; see `CacheModel`. False: there is no room for more, or that life is over.
   */
  readonly recall: (slot: number, life: number, parent: KeyLanes | null, keys: KeyLanes) => boolean
  /** The slot is empty again, or events tell all. What was learned of its size stays. */
  readonly forget: (slot: number) => void
  /** The slot stands for nobody any more. */
  readonly leave: (slot: number) => void
  /** Null where nothing was ever guessed. */
  readonly of: (slot: number) => CacheModel.CacheModel["stats"] | null
}

export const make = (bus: EventBus["Service"]): Interface => {
  const models = new Map<number, CacheModel.CacheModel>()
  const toldCounts = new Map<number, number>()
  /** The index had no room for these: what their models believe is not there. */
  const refused = new Set<number>()

  const modelOf = (slot: number): CacheModel.CacheModel => {
    const known = models.get(slot)
    if (known !== undefined) return known
    const publish = (delta: KvDelta): void => {
      if (!bus.publish(delta)) refused.add(slot)
    }
    const model = new CacheModel.CacheModel({
      toldBlocks: toldCounts.get(slot) ?? null,
      stored: (parent, keys) => publish({ _tag: "Stored", worker: slot, layer: GUESS, parent, keys }),
      removed: (keys) => publish({ _tag: "Removed", worker: slot, layer: GUESS, keys })
    })
    models.set(slot, model)
    return model
  }

  /** Not while the model is at work: it speaks in the middle of it. */
  const beginAgain = (slot: number): void => {
    if (refused.delete(slot)) forget(slot)
  }

  const forget = (slot: number): void => {
    const model = models.get(slot)
    if (model === undefined) return
    model.clear()
    bus.publish({ _tag: "Cleared", worker: slot, guess: true })
  }

  return {
    told: (slot, blockCount) => {
      if (blockCount === null) return
      toldCounts.set(slot, blockCount)
      models.get(slot)?.told(blockCount)
      beginAgain(slot)
    },
    computed: (slot, prompts) => {
      const model = modelOf(slot)
      const claims = prompts.map((keys) => model.computed(keys))
      beginAgain(slot)
      return ({ estimated = false, outputBlocks, reportedBlocks }) => {
        for (const claim of claims) {
          model.settled(claim, {
            estimated,
            // Of several prompts nobody says whose blocks were found.
            reportedBlocks: claims.length === 1 ? reportedBlocks : null,
            outputBlocks: outputBlocks === null ? null : Math.ceil(outputBlocks / claims.length)
          })
        }
        beginAgain(slot)
      }
    },
    reserve: (slot, blocks) => modelOf(slot).reserve(blocks),
    recall: (slot, life, parent, keys) => {
      const isTaken = modelOf(slot).recall(life, parent, keys)
      const isRefused = refused.has(slot)
      beginAgain(slot)
      return isTaken && !isRefused
    },
    forget,
    leave: (slot) => {
      forget(slot)
      models.delete(slot)
      toldCounts.delete(slot)
      refused.delete(slot)
    },
    of: (slot) => models.get(slot)?.stats ?? null
  }
}

export class Guesses extends Context.Service<Guesses, Interface>()("warmpath/actors/Guesses") {
  static readonly layer: Layer.Layer<Guesses, never, EventBus> = Layer.effect(
    this,
    Effect.map(EventBus, (bus) => Guesses.of(make(bus)))
  )
}
