/**
 * KeyTranslate: one publisher's events, from the engine's hashes to changes in our own keys.
 *
 * Own keys are chained from the tokens in the event; the engine's hash only links parents and removals (`KeyAlias`,
 * one per KV-cache group). Counted: copies on every known tier, of groups whose hits are decided by whole prefixes
 * (`KeyGroups`). Everything else is ignored and counted. Here each event is sent where it belongs:
 *
 *   tokens told, parent known ──▶ KeyChains ─┐
 *   by hash alone, removed ─────▶ KeyHashes ─┴─▶ KeyLayers: what changed on which layer
 *   parent not known yet ───────▶ KeyParking
 *
 * Source of the event rules: vllm-project/vllm `vllm/distributed/kv_events.py`, `vllm/v1/core/block_pool.py`.
 */
import type { BlockRemoved, BlockStored, EngineEvent, EngineHashes } from "../domain/KvEvent.ts"
import { DEVICE, type Tier } from "../domain/Tier.ts"
import { blockSizeMax, type Hasher } from "./BlockHash.ts"
import * as KeyAlias from "./KeyAlias.ts"
import { KeyChains } from "./KeyChains.ts"
import * as KeyCounters from "./KeyCounters.ts"
import { KeyGroups } from "./KeyGroups.ts"
import { KeyHashes } from "./KeyHashes.ts"
import { type Emit, KeyLayers } from "./KeyLayers.ts"
import { KeyOffloads, type Saved as SavedOffloads } from "./KeyOffloads.ts"
import { KeyParking, type Parked } from "./KeyParking.ts"

export type { Counters } from "./KeyCounters.ts"

export interface Options {
  /** Slot of the publisher. */
  readonly worker: number
  /** Canonical name of the base model. */
  readonly model: string
  /** Tokens per block, or null to learn it from the first event. */
  readonly blockSize: number | null
  /** Blocks on the engine's device, or null when unknown: what counts of copies are checked against. */
  readonly blockCount: number | null
  readonly hasher: Hasher
  /** Copies of one block on one tier that are counted; at most 255. */
  readonly copiesMax: number
  /** Events whose parent is not known yet, at most, and how many later batches they wait. */
  readonly parkedMax: number
  readonly parkedBatches: number
  /** Distinct hashes at most; beyond it `overflow` is set. */
  readonly hashesMax: number
}

/** What another translator needs to go on with the next batch, beside the hashes: plain data. */
export interface Saved {
  readonly batch: number
  readonly blockSize: number | null
  readonly repeats: "copy" | "refresh"
  readonly told: number
  readonly groups: ReadonlyArray<number>
  /** Hashes in the table of each group. */
  readonly hashes: ReadonlyArray<number>
  readonly others: ReadonlyArray<number>
  readonly parked: ReadonlyArray<Parked>
  readonly offloads: SavedOffloads
}

export class Translator {
  readonly counters = KeyCounters.make()
  /** Tokens per block: as told, corrected and learned from the first event of the device that counts. */
  blockSize: number | null
  /**
   * A sequence stored again from its start: `copy` (what engines do by default: one more physical copy of each block)
   * or `refresh` (an engine told to report what it reuses: nothing new but what is not known on that tier).
   */
  repeats: "copy" | "refresh" = "copy"
  /** More copies on the device than it has blocks: repeats were refreshes, and counts are too high. */
  overcounted = false
  /** More hashes than `hashesMax`: the owner should purge. */
  overflow = false
  private readonly options: Options
  private readonly groups: KeyGroups
  private readonly layers: KeyLayers
  private readonly parking: KeyParking
  private readonly offloads: KeyOffloads
  private readonly chains: KeyChains
  private readonly hashes: KeyHashes
  private batch = 0

  constructor(options: Options) {
    this.options = options
    this.blockSize = options.blockSize
    this.groups = new KeyGroups(options.copiesMax)
    this.layers = new KeyLayers(options.worker)
    this.parking = new KeyParking(options.parkedMax)
    this.offloads = new KeyOffloads(options.copiesMax)
    const { counters, groups, layers, offloads, parking } = this
    this.chains = new KeyChains(options.hasher, options.model, groups, layers, offloads, counters)
    this.hashes = new KeyHashes(groups, layers, offloads, parking, counters)
  }

  /** The events of one batch, in order. Returns true when it emptied the cache: what follows is all there is. */
  apply(events: ReadonlyArray<EngineEvent>, emit: Emit): boolean {
    const { counters, offloads, parking } = this
    const { blockCount, hashesMax, parkedBatches } = this.options
    let emptied = false
    this.batch++
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!
      if (event._tag === "BlockStored") this.stored(event, emit)
      else if (event._tag === "BlockRemoved") this.removed(event, emit)
      else if (event._tag === "AllBlocksCleared") {
        // It speaks of the device; what became of other tiers it does not say, so they count for nothing, too.
        this.clear(emit)
        emptied = true
      } else counters.unknownEvents++
    }
    if (parking.size > 0) parking.drop(this.batch - parkedBatches)
    counters.orphansDropped = parking.dropped
    counters.offloadsDropped = offloads.dropped
    if (this.size > hashesMax) this.overflow = true
    if (blockCount !== null && this.copies > blockCount) this.overcounted = true
    return emptied
  }

  /** Forgets everything, all tiers and what was learned of the engine, and says so. */
  clear(emit: Emit): void {
    this.counters.evicted += this.size
    this.layers.clear(emit)
    this.groups.clear()
    this.parking.clear()
    this.offloads.clear()
    this.overflow = false
    this.overcounted = false
  }

  /** All but the hashes. */
  saved(): Saved {
    const { batch, blockSize, groups, layers, offloads, parking, repeats } = this
    const hashes = groups.tables.map(({ size }) => size)
    return {
      batch,
      blockSize,
      repeats,
      told: layers.told,
      ...groups.saved(),
      hashes,
      parked: parking.saved(),
      offloads: offloads.saved()
    }
  }

  /** The hashes, each piece headed by the number of its group's table; see `KeyAlias.saved`. */
  *pieces(hashesMax: number): Generator<Int32Array> {
    for (const [i, table] of this.groups.tables.entries()) {
      for (const words of table.saved(hashesMax, 1)) {
        words[0] = i
        yield words
      }
    }
  }

  /** For a translator that has heard nothing, before the pieces. False when it cannot go on from that. */
  restore({ batch, blockSize, groups, hashes, offloads, others, parked, repeats, told }: Saved): boolean {
    this.batch = batch
    this.blockSize = blockSize
    if (repeats === "refresh") this.repeats = repeats
    this.layers.told = told
    this.groups.restore(groups, others, hashes)
    for (const { batch, event } of parked) this.parking.park(event.groupIdx ?? -1, event, batch)
    return this.offloads.restore(offloads)
  }

  /** A piece of the hashes. False when it is none. */
  restorePiece(words: Int32Array): boolean {
    const table = this.groups.tables[words[0] ?? -1]
    return table !== undefined && words.length % KeyAlias.savedWords === 1 && table.restore(words.subarray(1))
  }

  /** Distinct hashes known, by group. */
  get size(): number {
    return this.groups.size
  }

  /** Copies on the device. */
  get copies(): number {
    return this.groups.copies
  }

  /** Events parked now. */
  get parkedCount(): number {
    return this.parking.size
  }

  /** Blocks of which copies on lower tiers are held now. */
  get heldCount(): number {
    return this.offloads.size
  }

  /** `waited`: it was parked, so a report may have told of its blocks meanwhile. */
  private stored(event: BlockStored, emit: Emit, waited = false): void {
    const { counters, groups } = this
    const { blockSize, groupIdx, hashes, parent, specKind, tokenIds } = event
    const group = groupIdx ?? -1
    const tier = numberOf(event.tier)
    if (tier < 0 || !groups.isMain(group, specKind)) {
      counters.ignored++
      return
    }
    const count = hashes.length >> 1
    if (count === 0) return
    const isDescribed = blockSize > 0 && blockSize <= blockSizeMax && tokenIds.length === count * blockSize
    const isRefresh = this.repeats === "refresh" && (parent === null || waited)
    const main = groups.tables[0]
    if (tier !== DEVICE) {
      // The device decides the block size. What was offloaded may name another group than on the device, or none.
      const isKnown = main !== undefined && isDescribed && blockSize === this.blockSize
      let added = 0
      if (isKnown && this.isAttached(event, group)) {
        added = this.chains.insert(groups.get(group) ?? main, event, tier, isRefresh, emit)
      }
      if (added < count) this.hashes.join(event, added, tier, isRefresh, emit)
      return
    }
    if (!isDescribed) {
      this.hashes.join(event, 0, tier, isRefresh, emit)
      return
    }
    // What the engine does outranks what it says; once blocks of one size are in, others are partial blocks.
    if (main === undefined) this.blockSize = blockSize
    if (blockSize !== this.blockSize) {
      counters.skipped++
      return
    }
    if (!this.isAttached(event, group)) {
      counters.unknownParents++
      this.parking.park(group, event, this.batch)
      return
    }
    const alias = groups.open(group)
    if (alias === null) {
      counters.ignored++
      return
    }
    this.chains.insert(alias, event, tier, isRefresh, emit)
    if (this.parking.size > 0) this.adopt(group, hashes, emit)
  }

  private removed(event: BlockRemoved, emit: Emit): void {
    const tier = numberOf(event.tier)
    if (tier < 0 || !this.groups.isMain(event.groupIdx ?? -1, null)) this.counters.ignored++
    else this.hashes.remove(event, tier, emit)
  }

  /** Whether the block before the first is known, or there is none. */
  private isAttached({ parent }: BlockStored, group: number): boolean {
    return parent === null || this.groups.find(group, parent[0]!, parent[1]!) !== null
  }

  /** Stores the events that waited for one of these blocks. */
  private adopt(group: number, hashes: EngineHashes, emit: Emit): void {
    for (let i = 0; i < hashes.length && this.parking.size > 0; i += 2) {
      const children = this.parking.take(group, hashes[i]!, hashes[i + 1]!)
      if (children !== null) for (const child of children) this.stored(child, emit, true)
    }
  }
}

export const make = (options: Options): Translator => new Translator(options)

/** A tier as the number of its layer; -1 for one this version does not know. */
const numberOf = (tier: Tier | null): number => {
  switch (tier) {
    case "device":
      return 0
    case "host":
      return 1
    case "disk":
      return 2
    case "external":
      return 3
    case null:
      return -1
  }
}
