/**
 * KeyTranslate: one publisher's events, from the engine's hashes to changes in our own keys.
 *
 * Own keys are chained from the tokens in the event; the engine's hash only links parents and removals (`KeyAlias`,
 * one per KV-cache group). Counted: copies on every known tier, of groups whose hits are decided by whole prefixes
 * (full, MLA and sink attention, or no kind given). Everything else is ignored and counted.
 *
 * A block's reach is the nearest tier with a copy; layer L of the index is what has reach L or less. Only changes of
 * reach are emitted, once for each layer told apart: stores into deeper layers first, removals from nearer layers
 * first, so that at no moment a layer holds what a deeper one does not. A layer is told apart from the first copy
 * counted on its tier. Should an engine have several such groups, the last change of any of them decides.
 *
 * Of stores without tokens (what was offloaded, by hash; parts of a sequence that a group skips) the hashes that are
 * known are counted; of the others those on lower tiers are held until a store describes them (`KeyOffloads`).
 * Source of the event rules: vllm-project/vllm `vllm/distributed/kv_events.py`, `vllm/v1/core/block_pool.py`.
 */
import type { KeyLanes } from "../domain/Block.ts"
import type { BlockRemoved, BlockStored, EngineEvent, EngineHashes, KvDelta } from "../domain/KvEvent.ts"
import { DEVICE, EXTERNAL, type Layer, type Tier } from "../domain/Tier.ts"
import { blockSizeMax, type Hasher } from "./BlockHash.ts"
import * as KeyAlias from "./KeyAlias.ts"
import { KeyNamespace, loraOf, saltOf } from "./KeyNamespace.ts"
import { KeyOffloads } from "./KeyOffloads.ts"
import { KeyParking } from "./KeyParking.ts"

const mainKinds = new Set(["full_attention", "mla_attention", "sink_full_attention"])
/** Groups of an engine at most, of either sort; those seen have fewer than ten. */
const groupsMax = 64
/** Blocks worked on at once, so that what is needed for them stays in the core's cache; also the longest change. */
const sliceMax = 1_024

/** One slice's own keys, and the reach of each before a store or after a removal. Synchronous, so one for all. */
const sliceKeys = new Int32Array(sliceMax * 2)
const sliceReach = new Uint8Array(sliceMax)

/** What emitted keys lie in, one behind the other; it goes when the last of them does. */
const poolWords = 4_096
let pool = new Int32Array(poolWords)
let poolUsed = 0

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

/** All only grow. */
export interface Counters {
  /** Stores whose parent was not known when they came. */
  unknownParents: number
  /** Of these, given up. */
  orphansDropped: number
  unknownRemovals: number
  /** Events of other media and other groups. */
  ignored: number
  /** Stores on the device whose tokens cannot be assigned to unknown hashes, or of another block size. */
  skipped: number
  unknownEvents: number
  /** A hash that came back with other tokens. */
  mismatched: number
  /** Copies on lower tiers of blocks whose tokens were not known when they came. */
  heldOffloads: number
  /** Blocks of which such copies were given up. */
  offloadsDropped: number
}

export class Translator {
  readonly counters: Counters = {
    unknownParents: 0,
    orphansDropped: 0,
    unknownRemovals: 0,
    ignored: 0,
    skipped: 0,
    unknownEvents: 0,
    mismatched: 0,
    heldOffloads: 0,
    offloadsDropped: 0
  }
  /** Tokens per block: as told, corrected and learned from the first event of the device that counts. */
  blockSize: number | null
  /** As told, or as learned since. */
  blockCount: number | null
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
  private readonly namespace: KeyNamespace
  /** One table per group of which a store of the device was accepted; in `tables` in that order. */
  private readonly aliases = new Map<number, KeyAlias.KeyAlias>()
  private tables: ReadonlyArray<KeyAlias.KeyAlias> = []
  private readonly otherGroups = new Set<number>()
  private readonly parking: KeyParking
  private readonly offloads: KeyOffloads
  /** Layers told apart: a bit each. */
  private layers = 1
  private batch = 0
  private touched = 0

  constructor(options: Options) {
    this.options = options
    this.blockSize = options.blockSize
    this.blockCount = options.blockCount
    this.namespace = new KeyNamespace(options.hasher, options.model)
    this.parking = new KeyParking(options.parkedMax)
    this.offloads = new KeyOffloads(options.copiesMax)
  }

  /** The events of one batch, in order. Returns true when it emptied the cache: what follows is all there is. */
  apply(events: ReadonlyArray<EngineEvent>, emit: (delta: KvDelta) => void): boolean {
    const { counters, offloads, parking } = this
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
    if (parking.size > 0) parking.drop(this.batch - this.options.parkedBatches)
    counters.orphansDropped = parking.dropped
    counters.offloadsDropped = offloads.dropped
    if (this.size > this.options.hashesMax) this.overflow = true
    if (this.blockCount !== null && this.copies > this.blockCount) this.overcounted = true
    return emptied
  }

  /** Forgets everything, all tiers and what was learned of the engine, and says so. */
  clear(emit: (delta: KvDelta) => void): void {
    emit({ _tag: "Cleared", worker: this.options.worker, guess: false })
    this.aliases.clear()
    this.tables = []
    this.otherGroups.clear()
    this.parking.clear()
    this.offloads.clear()
    this.layers = 1
    this.overflow = false
    this.overcounted = false
  }

  /** Distinct hashes known, by group. */
  get size(): number {
    let size = 0
    for (const alias of this.tables) size += alias.size
    return size
  }

  /** Copies on the device. */
  get copies(): number {
    let copies = 0
    for (const alias of this.tables) copies += alias.copies
    return copies
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
  private stored(event: BlockStored, emit: (delta: KvDelta) => void, waited = false): void {
    const { counters } = this
    const { blockSize, groupIdx, hashes, specKind, tokenIds } = event
    const group = groupIdx ?? -1
    const tier = numberOf(event.tier)
    if (tier < 0 || !this.isMain(group, specKind)) {
      counters.ignored++
      return
    }
    const count = hashes.length >> 1
    if (count === 0) return
    const isDescribed = blockSize > 0 && blockSize <= blockSizeMax && tokenIds.length === count * blockSize
    const main = this.tables[0]
    if (tier !== DEVICE) {
      // The device decides the block size. What was offloaded may name another group than on the device, or none.
      const isKnown = main !== undefined && isDescribed && blockSize === this.blockSize
      if (isKnown && this.isAttached(event, group)) this.insert(this.aliases.get(group) ?? main, event, tier, emit)
      else this.join(event, 0, emit)
      return
    }
    if (!isDescribed) {
      this.join(event, 0, emit)
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
    let alias = this.aliases.get(group)
    if (alias === undefined) {
      if (this.tables.length >= groupsMax) {
        counters.ignored++
        return
      }
      alias = KeyAlias.make(this.options.copiesMax)
      this.aliases.set(group, alias)
      this.tables = [...this.tables, alias]
    }
    this.insert(alias, event, tier, emit, waited)
    if (this.parking.size > 0) this.adopt(group, hashes, emit)
  }

  /** Whether the block before the first is known, or there is none. */
  private isAttached({ parent }: BlockStored, group: number): boolean {
    return parent === null || this.find(group, parent[0]!, parent[1]!) !== null
  }

  /** Whether hits in a group are decided by whole prefixes. Removals do not say: their group is remembered. */
  private isMain(group: number, specKind: string | null): boolean {
    if (specKind === null) return !this.otherGroups.has(group)
    if (mainKinds.has(specKind)) return true
    // Events that name no group are of no one group, so nothing is known of the next.
    if (group >= 0 && this.otherGroups.size < groupsMax) this.otherGroups.add(group)
    return false
  }

  /** The table that knows a hash: that of its group if it does, else any. Its key is then in `keyLo`, `keyHi`. */
  private find(group: number, lo: number, hi: number): KeyAlias.KeyAlias | null {
    const own = this.aliases.get(group)
    if (own !== undefined && own.find(lo, hi) !== 0) return own
    for (const alias of this.tables) if (alias !== own && alias.find(lo, hi) !== 0) return alias
    return null
  }

  /** Blocks of which the tokens are known: one chain behind `event.parent`, which is known, or behind a root. */
  private insert(
    alias: KeyAlias.KeyAlias,
    event: BlockStored,
    tier: number,
    emit: (delta: KvDelta) => void,
    waited = false
  ): void {
    const { hasher } = this.options
    const { hashes, tokenIds } = event
    const count = hashes.length >> 1
    const blockSize = this.blockSize!
    const lora = loraOf(event)
    let parent: KeyLanes | null = null
    if (event.parent !== null) {
      const found = this.find(event.groupIdx ?? -1, event.parent[0]!, event.parent[1]!)!
      parent = pair(found.keyLo, found.keyHi)
    }
    const salt = saltOf(event, lora)
    const extras = this.namespace.extras(event, count, lora, salt)
    const isRefresh = this.repeats === "refresh" && (parent === null || waited)
    let before = parent ?? this.namespace.root(lora, salt, blockSize)
    if (tier !== DEVICE) this.deepen(tier, emit)
    for (let first = 0; first < count; first += sliceMax) {
      const size = Math.min(sliceMax, count - first)
      const tokens = size === count ? tokenIds : tokenIds.subarray(first * blockSize, (first + size) * blockSize)
      const extra = extras === null ? null : extras.subarray(first * 2, (first + size) * 2)
      hasher.extend(before[0]!, before[1]!, tokens, blockSize, extra, sliceKeys)
      const added = this.addSlice(alias, hashes, first, size, tier, isRefresh, emit)
      this.emitStored(tier, added, parent, emit)
      if (added < size) {
        this.join(event, first + added, emit)
        return
      }
      if (first + size < count) parent = before = copied(size - 1, size)
    }
  }

  /**
   * One more copy of each hash of a slice, whose keys are in `sliceKeys`; the reach each had goes into `sliceReach`.
   * Returns how many were added: all, or on a lower tier those before the first that has another key.
   */
  private addSlice(
    alias: KeyAlias.KeyAlias,
    hashes: EngineHashes,
    first: number,
    size: number,
    tier: number,
    isRefresh: boolean,
    emit: (delta: KvDelta) => void
  ): number {
    const { offloads } = this
    if (size > 1) this.touched ^= alias.touch(hashes, first, size)
    for (let i = 0, at = first * 2; i < size; i++, at += 2) {
      const lo = hashes[at]!
      const hi = hashes[at + 1]!
      const keyLo = sliceKeys[i * 2]!
      const keyHi = sliceKeys[i * 2 + 1]!
      if (isRefresh || tier !== DEVICE) {
        const copies = alias.find(lo, hi)
        const isSame = alias.keyLo === keyLo && alias.keyHi === keyHi
        // An offloaded chunk may come without the block before it: then the keys known from the device are right.
        if (copies !== 0 && !isSame && tier !== DEVICE) return i
        if (isRefresh && isSame && countOf(copies, tier) > 0) {
          sliceReach[i] = 0
          continue
        }
      }
      sliceReach[i] = alias.add(lo, hi, tier, keyLo, keyHi)
      if (sliceReach[i] === KeyAlias.NOWHERE) {
        if (offloads.size > 0 && this.redeem(alias, lo, hi, tier, emit)) sliceReach[i] = 0
      } else if (alias.keyLo !== keyLo || alias.keyHi !== keyHi) {
        this.correct(alias, lo, hi, i, emit)
        sliceReach[i] = alias.add(lo, hi, tier, keyLo, keyHi)
      }
    }
    return size
  }

  /** A hash came back with other tokens: nothing of what was known of it is true any more. */
  private correct(
    alias: KeyAlias.KeyAlias,
    lo: number,
    hi: number,
    done: number,
    emit: (delta: KvDelta) => void
  ): void {
    this.counters.mismatched++
    alias.drop(lo, hi)
    const keys = pair(alias.keyLo, alias.keyHi)
    // It may be of this very slice and not stored yet.
    for (let i = 0; i < done; i++) {
      if (sliceKeys[i * 2] === keys[0] && sliceKeys[i * 2 + 1] === keys[1]) sliceReach[i] = 0
    }
    for (let layer = DEVICE; layer <= EXTERNAL; layer++) {
      if (this.isTold(layer)) emit({ _tag: "Removed", worker: this.options.worker, layer: layer as Layer, keys })
    }
  }

  /**
   * Copies that were held until this hash, just added, was described. True when one of them is nearer than its tier:
   * then its store is told here.
   */
  private redeem(
    alias: KeyAlias.KeyAlias,
    lo: number,
    hi: number,
    tier: number,
    emit: (delta: KvDelta) => void
  ): boolean {
    const copies = this.offloads.take(lo, hi)
    for (let held = 1; held <= EXTERNAL; held++) {
      const count = countOf(copies, held)
      if (count > 0) this.deepen(held, emit)
      for (let i = 0; i < count; i++) alias.join(lo, hi, held)
    }
    const reach = KeyAlias.reachOf(copies)
    if (reach >= tier) return false
    const { worker } = this.options
    const keys = pair(alias.keyLo, alias.keyHi)
    for (let layer = EXTERNAL; layer >= reach; layer--) {
      if (this.isTold(layer)) emit({ _tag: "Stored", worker, layer: layer as Layer, parent: null, keys })
    }
    return true
  }

  /** Blocks of which the tokens are not known: counted where their hashes are, else held or skipped. */
  private join(event: BlockStored, from: number, emit: (delta: KvDelta) => void): void {
    const { counters, offloads } = this
    const { hashes } = event
    const group = event.groupIdx ?? -1
    const tier = numberOf(event.tier)
    const isRefresh = this.repeats === "refresh" && event.parent === null
    let skipped = false
    for (let first = from * 2; first < hashes.length; first += sliceMax * 2) {
      const end = Math.min(hashes.length, first + sliceMax * 2)
      let size = 0
      for (let at = first; at < end; at += 2) {
        const lo = hashes[at]!
        const hi = hashes[at + 1]!
        const alias = tier === DEVICE ? this.aliases.get(group) : this.find(group, lo, hi)
        const copies = alias?.find(lo, hi) ?? 0
        if (copies === 0) {
          if (tier === DEVICE) skipped = true
          else {
            counters.heldOffloads++
            offloads.hold(lo, hi, tier)
          }
          continue
        }
        if (isRefresh && countOf(copies, tier) > 0) continue
        if (tier !== DEVICE) this.deepen(tier, emit)
        const reach = alias!.join(lo, hi, tier)
        if (reach <= tier) continue
        sliceKeys[size * 2] = alias!.keyLo
        sliceKeys[size * 2 + 1] = alias!.keyHi
        sliceReach[size++] = reach
      }
      // They may be of any chain, but each is known already, so nothing hangs on the parent.
      if (size > 0) this.emitStored(tier, size, null, emit)
    }
    if (skipped) counters.skipped++
  }

  private removed(event: BlockRemoved, emit: (delta: KvDelta) => void): void {
    const { counters, parking } = this
    const { hashes } = event
    const group = event.groupIdx ?? -1
    const tier = numberOf(event.tier)
    if (tier < 0 || this.otherGroups.has(group)) {
      counters.ignored++
      return
    }
    const own = this.aliases.get(group)
    for (let first = 0; first < hashes.length; first += sliceMax * 2) {
      const end = Math.min(hashes.length, first + sliceMax * 2)
      let size = 0
      if (own !== undefined && end - first > 2) this.touched ^= own.touch(hashes, first >> 1, (end - first) >> 1)
      for (let at = first; at < end; at += 2) {
        const lo = hashes[at]!
        const hi = hashes[at + 1]!
        let alias = own
        let reach = own === undefined ? -1 : own.remove(lo, hi, tier)
        if (reach < 0 && tier !== DEVICE) {
          for (alias of this.tables) {
            if (alias !== own) reach = alias.remove(lo, hi, tier)
            if (reach >= 0) break
          }
        }
        if (reach < 0) {
          if (tier !== DEVICE && this.offloads.cancel(lo, hi, tier)) continue
          counters.unknownRemovals++
          if (tier === DEVICE && parking.size > 0) parking.cut(group, lo, hi)
          continue
        }
        // Nothing changes while a copy is left on this tier or on a nearer one.
        if (reach <= tier) continue
        sliceKeys[size * 2] = alias!.keyLo
        sliceKeys[size * 2 + 1] = alias!.keyHi
        sliceReach[size++] = reach
      }
      if (size > 0) this.emitLost(tier, size, emit)
    }
  }

  /** From the first copy on a lower tier on, its layer is told apart. */
  private deepen(tier: number, emit: (delta: KvDelta) => void): void {
    if (this.isTold(tier)) return
    this.layers |= 1 << tier
    emit({ _tag: "Deepened", worker: this.options.worker, layer: tier as Layer })
  }

  private isTold(layer: number): boolean {
    return (this.layers & (1 << layer)) !== 0
  }

  /** What of a slice came nearer, for each layer the stretches of keys that are new to it. */
  private emitStored(tier: number, size: number, parent: KeyLanes | null, emit: (delta: KvDelta) => void): void {
    const { worker } = this.options
    const isOnly = this.tables.length === 1
    let all: KeyLanes | null = null
    for (let layer = EXTERNAL; layer >= tier; layer--) {
      if (!this.isTold(layer)) continue
      // With several groups another one may have had the last word on the deeper layers.
      const reachMin = isOnly ? layer + 1 : tier + 1
      let from = 0
      for (let i = 0; i <= size; i++) {
        if (i < size && sliceReach[i]! >= reachMin) continue
        if (i === size && from === 0) {
          all ??= copied(0, size)
          emit({ _tag: "Stored", worker, layer: layer as Layer, parent, keys: all })
        } else if (i > from) {
          const before = from === 0 ? parent : copied(from - 1, from)
          const keys = copied(from, i)
          emit({ _tag: "Stored", worker, layer: layer as Layer, parent: before, keys })
        }
        from = i + 1
      }
    }
  }

  /** What of a slice went farther, for each layer the keys it lost. */
  private emitLost(tier: number, size: number, emit: (delta: KvDelta) => void): void {
    const { worker } = this.options
    let all: KeyLanes | null = null
    for (let layer = this.tables.length === 1 ? tier : DEVICE; layer <= EXTERNAL; layer++) {
      if (!this.isTold(layer)) continue
      let lost = 0
      for (let i = 0; i < size; i++) if (sliceReach[i]! > layer) lost++
      if (lost === 0) return
      let keys: KeyLanes
      if (lost === size) {
        all ??= copied(0, size)
        keys = all
      } else {
        keys = new Int32Array(lost * 2)
        for (let i = 0, at = 0; i < size; i++) {
          if (sliceReach[i]! <= layer) continue
          keys[at++] = sliceKeys[i * 2]!
          keys[at++] = sliceKeys[i * 2 + 1]!
        }
      }
      emit({ _tag: "Removed", worker, layer: layer as Layer, keys })
    }
  }

  /** Stores the events that waited for one of these blocks. */
  private adopt(group: number, hashes: EngineHashes, emit: (delta: KvDelta) => void): void {
    for (let i = 0; i < hashes.length && this.parking.size > 0; i += 2) {
      const children = this.parking.take(group, hashes[i]!, hashes[i + 1]!)
      if (children !== null) for (const child of children) this.stored(child, emit, true)
    }
  }
}

export const make = (options: Options): Translator => new Translator(options)

/** Faster than `Int32Array.of`. */
const pair = (lo: number, hi: number): KeyLanes => {
  const out = new Int32Array(2)
  out[0] = lo
  out[1] = hi
  return out
}

/** Keys of the slice, to keep: views of shared pools, for a buffer of its own costs an array as much as all else. */
const copied = (from: number, to: number): KeyLanes => {
  const first = from * 2
  const length = (to - from) * 2
  // Up to here the engine keeps arrays on its own heap, which is cheaper still.
  if (length <= 16) {
    const few = new Int32Array(length)
    for (let i = 0; i < length; i++) few[i] = sliceKeys[first + i]!
    return few
  }
  if (length > pool.length - poolUsed) {
    pool = new Int32Array(poolWords)
    poolUsed = 0
  }
  const out = new Int32Array(pool.buffer, poolUsed * 4, length)
  poolUsed += length
  for (let i = 0; i < length; i++) out[i] = sliceKeys[first + i]!
  return out
}

const countOf = (copies: number, tier: number): number => (copies >>> (tier << 3)) & 0xff

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
