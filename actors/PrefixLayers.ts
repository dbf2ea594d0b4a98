/**
 * PrefixLayers: the prefix table, and which of its holders stands for which layer of which slot: one change at a time.
 *
 * Pure; what it has counted outlives a `reset`.
 */
import type { KeyLanes } from "../src/domain/Block.ts"
import type { KvDelta } from "../src/domain/KvEvent.ts"
import * as Tier from "../src/domain/Tier.ts"
import * as PrefixTable from "../src/hot/PrefixTable.ts"
import * as SlotLayers from "../src/hot/SlotLayers.ts"

/** Who follows what is told to the table. Called on the turn of the change, so it is to be quick, and may only read. */
export interface Watcher {
  /** A layer has been told to hold these; the table has them as far as there was room. */
  readonly stored: (slot: number, layer: Tier.Layer, keys: KeyLanes) => void
  /** A layer is about to lose these: they are still there. */
  readonly removing: (slot: number, layer: Tier.Layer, keys: KeyLanes) => void
  /** A layer has become a copy of the one below it. */
  readonly deepened: (slot: number, layer: Tier.Layer) => void
  /** A slot's tiers hold nothing any more, or its guesses. */
  readonly cleared: (slot: number, isGuess: boolean) => void
  /** The table was lost: nobody holds anything. */
  readonly reset: () => void
}

export class PrefixLayers {
  layers: SlotLayers.SlotLayers
  table: PrefixTable.PrefixTable
  /** Times a layer was not told apart because no holder was left for it. */
  layersRefused = 0
  /** Changes to a layer that is not told apart. */
  changesIgnored = 0
  /** Stores by how they ended. */
  readonly statuses = new Float64Array(PrefixTable.CLOSED + 1)
  watcher: Watcher | null = null
  /** Holders let go of that the table still has to sweep. */
  private closing: Array<number> = []
  /** How far a `Deepened` has been copied; 0 when none has begun. */
  private cursor = 0
  private readonly workersMax: number
  private readonly options: PrefixTable.Options

  constructor(workersMax: number, options: PrefixTable.Options) {
    this.workersMax = workersMax
    this.options = options
    this.layers = SlotLayers.make(workersMax, options.holdersMax)
    this.table = PrefixTable.make(options)
  }

  /** Begins again with an empty table. */
  reset(): void {
    this.layers = SlotLayers.make(this.workersMax, this.options.holdersMax)
    this.table = PrefixTable.make(this.options)
    this.closing = []
    this.cursor = 0
    this.watcher?.reset()
  }

  get isCopying(): boolean {
    return this.cursor !== 0
  }

  /** Gives up the copy under way. */
  abandon(): void {
    this.cursor = 0
  }

  /** Works off what was cleared, at most so many blocks. True while more is left. */
  sweep(blocks: number): boolean {
    const isMore = PrefixTable.sweep(this.table, blocks)
    this.release()
    return isMore
  }

  /** A new holder for a layer that has none, or what `SlotLayers.open` answers instead. */
  private open(slot: number, layer: Tier.Layer): number {
    const { layers, table } = this
    const sibling = SlotLayers.anyOf(layers, slot)
    const holder = SlotLayers.open(layers, slot, layer)
    if (holder >= 0 && sibling !== SlotLayers.NONE) PrefixTable.join(table, holder, sibling)
    if (holder === SlotLayers.REFUSED) this.layersRefused++
    return holder
  }

  /** Forgets a layer, at once; `sweep` does the work. */
  close(slot: number, layer: Tier.Layer): void {
    const { layers, table } = this
    const holder = SlotLayers.close(layers, slot, layer)
    if (holder === SlotLayers.NONE) return
    PrefixTable.clear(table, holder)
    this.closing.push(holder)
  }

  /** Holders the table has let go of can be given again. */
  private release(): void {
    const { layers, table } = this
    if (this.closing.length === 0) return
    for (const holder of this.closing) if (PrefixTable.free(table, holder)) SlotLayers.release(layers, holder)
    this.closing = this.closing.filter((holder) => layers.taken[holder] === 1)
  }

  /**
   * One change, with so many blocks left to copy. Returns its cost in blocks, or -1 when it is not done yet: it is to be
   * given again before any other, in the next slice when `isCopying`, else when the sweep has freed a holder.
   */
  apply(delta: Exclude<KvDelta, { _tag: "Cleared" }>, left: number): number {
    const { layers, table } = this
    const { layer, worker } = delta
    const isDeeper = layer !== Tier.DEVICE && layer !== Tier.GUESS
    let holder = SlotLayers.holderOf(layers, worker, layer)
    if (delta._tag === "Deepened" && isDeeper) return this.deepen(worker, layer, holder, left)
    if (delta._tag === "Stored" && holder === SlotLayers.NONE && !isDeeper) {
      holder = this.open(worker, layer)
      if (holder === SlotLayers.LATER) return -1
    }
    if (delta._tag === "Deepened" || holder < 0) {
      this.changesIgnored++
      return 0
    }
    if (delta._tag === "Stored") {
      this.statuses[PrefixTable.store(table, holder, delta.parent, delta.keys)]!++
      this.watcher?.stored(worker, layer, delta.keys)
    } else {
      this.watcher?.removing(worker, layer, delta.keys)
      PrefixTable.remove(table, holder, delta.keys)
    }
    return delta.keys.length >> 1
  }

  /** A layer begins as a copy of the one below it. One that has begun is left as it is. */
  private deepen(worker: number, layer: Tier.Layer, present: number, left: number): number {
    const { layers, table } = this
    if (this.cursor === 0 && present !== SlotLayers.NONE && PrefixTable.heldBy(table, present) > 0) return 0
    const holder = present === SlotLayers.NONE ? this.open(worker, layer) : present
    if (holder === SlotLayers.LATER) return -1
    const from = SlotLayers.below(layers, worker, layer)
    if (holder === SlotLayers.REFUSED || from === SlotLayers.NONE) return 0
    this.cursor = PrefixTable.copy(table, from, holder, this.cursor, left)
    if (this.cursor !== 0) return -1
    this.watcher?.deepened(worker, layer)
    // What the last slice cost is not told: near nothing, or up to all of it.
    return PrefixTable.heldBy(table, holder) === 0 ? 0 : left
  }
}
