/**
 * KeyTranslate: one publisher's events, from the engine's hashes to changes in our own keys.
 *
 * Own keys are chained from the tokens in the event; the engine's hash only links parents and removals (`KeyAlias`,
 * one per KV-cache group). Counted: blocks on the device, of groups whose hits are decided by whole prefixes
 * (full, MLA and sink attention, or no kind given). Everything else is ignored and counted. Changes are emitted only
 * for the first copy of a block and for the loss of its last.
 * Source of the event rules: vllm-project/vllm `vllm/distributed/kv_events.py`, `vllm/v1/core/block_pool.py`.
 */
import type { KeyLanes } from "../domain/Block.ts"
import type { BlockRemoved, BlockStored, EngineEvent, KvDelta } from "../domain/KvEvent.ts"
import { blockSizeMax, type Hasher } from "./BlockHash.ts"
import * as KeyAlias from "./KeyAlias.ts"

const mainKinds = new Set(["full_attention", "mla_attention", "sink_full_attention"])
/** Namespaces remembered; salts are many. */
const rootsMax = 1_024
/** Keys per emitted removal when a publisher forgets all it had. */
const keysPerDelta = 4_096

export interface Options {
  /** Slot of the worker. */
  readonly worker: number
  /** Canonical name of the base model. */
  readonly model: string
  /** Tokens per block, or null to learn it from the first event. */
  readonly blockSize: number | null
  readonly hasher: Hasher
  /**
   * A sequence stored again from its start, all blocks known: `copy` (what engines do by default: one more physical
   * copy of each) or `refresh` (an engine told to report what it reuses: nothing new).
   */
  readonly repeats: "copy" | "refresh"
  readonly copiesMax: number
  /** Events whose parent is not known yet, at most, and how many later batches they wait. */
  readonly parkedMax: number
  readonly parkedBatches: number
  /** Distinct hashes at most; beyond it `overflow` is set. */
  readonly hashesMax: number
}

interface Parked {
  readonly event: BlockStored
  readonly batch: number
}

export interface Counters {
  /** Stores whose parent was not known when they came. */
  unknownParents: number
  /** Of these, given up. */
  orphansDropped: number
  unknownRemovals: number
  /** Events of other media and other groups. */
  ignored: number
  /** Stores whose tokens cannot be assigned to their hashes, or of another block size. */
  skipped: number
  unknownEvents: number
  /** A hash that came back with other tokens. */
  mismatched: number
}

export class Translator {
  readonly counters: Counters = {
    unknownParents: 0,
    orphansDropped: 0,
    unknownRemovals: 0,
    ignored: 0,
    skipped: 0,
    unknownEvents: 0,
    mismatched: 0
  }
  /** Tokens per block: as told, corrected and learned from the first event that counts. */
  blockSize: number | null
  /** More hashes than `hashesMax`: the owner should purge. */
  overflow = false
  /** Events parked now. */
  parkedCount = 0
  private readonly options: Options
  private readonly aliases = new Map<number, KeyAlias.KeyAlias>()
  private readonly otherGroups = new Set<number>()
  private readonly roots = new Map<string, KeyLanes>()
  private readonly parked = new Map<string, Array<Parked>>()
  private batch = 0
  private accepted = false

  constructor(options: Options) {
    this.options = options
    this.blockSize = options.blockSize
  }

  /**
   * The events of one batch, in order; `shared` as in `clear`. Returns true when it emptied the cache: what follows is
   * all there is.
   */
  apply(events: ReadonlyArray<EngineEvent>, emit: (delta: KvDelta) => void, shared = false): boolean {
    let emptied = false
    this.batch++
    for (const event of events) {
      if (event._tag === "BlockStored") this.stored(event, emit)
      else if (event._tag === "BlockRemoved") this.removed(event, emit)
      else if (event._tag === "AllBlocksCleared") {
        this.clear(emit, shared)
        emptied = true
      } else this.counters.unknownEvents++
    }
    if (this.parkedCount > 0) this.dropParked(this.batch - this.options.parkedBatches)
    return emptied
  }

  /** Forgets everything, and says so: removals of every key when `shared` with other publishers, else one `Cleared`. */
  clear(emit: (delta: KvDelta) => void, shared = false): void {
    const { worker } = this.options
    if (shared) {
      for (const alias of this.aliases.values()) {
        const keys = alias.keys()
        for (let i = 0; i < keys.length; i += keysPerDelta * 2) {
          emit({ _tag: "Removed", worker, keys: keys.slice(i, i + keysPerDelta * 2) })
        }
      }
    } else emit({ _tag: "Cleared", worker })
    this.aliases.clear()
    this.parked.clear()
    this.parkedCount = 0
    this.overflow = false
  }

  /** Distinct hashes known. */
  get size(): number {
    let size = 0
    for (const alias of this.aliases.values()) size += alias.size
    return size
  }

  private stored(event: BlockStored, emit: (delta: KvDelta) => void): void {
    const { counters } = this
    const { blockSize, groupIdx, hashes, medium, specKind, tokenIds } = event
    const group = groupIdx ?? -1
    const count = hashes.length >> 1
    if (medium !== null && medium !== "GPU") {
      counters.ignored++
      return
    }
    if (specKind !== null && !mainKinds.has(specKind)) {
      this.otherGroups.add(group)
      counters.ignored++
      return
    }
    if (count === 0) return
    if (blockSize <= 0 || blockSize > blockSizeMax || tokenIds.length !== count * blockSize) {
      counters.skipped++
      return
    }
    // What the engine does outranks what it says; once blocks of one size are in, others are partial blocks.
    if (!this.accepted) this.blockSize = blockSize
    if (blockSize !== this.blockSize) {
      counters.skipped++
      return
    }
    let alias = this.aliases.get(group)
    let parent: KeyLanes | null = null
    if (event.parent !== null) {
      if (alias === undefined || !alias.find(event.parent[0]!, event.parent[1]!)) {
        counters.unknownParents++
        this.park(group, event)
        return
      }
      parent = Int32Array.of(alias.keyLo, alias.keyHi)
    }
    this.accepted = true
    if (alias === undefined) {
      alias = KeyAlias.make(this.options.copiesMax)
      this.aliases.set(group, alias)
    }
    this.insert(alias, event, parent, count, emit)
    if (this.parkedCount > 0) this.adopt(group, event, emit)
  }

  private insert(
    alias: KeyAlias.KeyAlias,
    event: BlockStored,
    parent: KeyLanes | null,
    count: number,
    emit: (delta: KvDelta) => void
  ): void {
    const { hasher, hashesMax, repeats, worker } = this.options
    const { blockSize, extraKeys, hashes, tokenIds } = event
    const lora = event.loraName ?? (event.loraId === null ? null : `#${event.loraId}`)
    const first = extraKeys?.[0] ?? null
    // The salt is the last text among the extra keys of a sequence's first block; the adapter's name comes first.
    const salt =
      parent === null && first !== null
        ? (first.findLast((key, i): key is string => typeof key === "string" && !(i === 0 && key === lora)) ?? null)
        : null
    const start = parent ?? this.rootOf(lora, salt)
    const extras = extraKeys === null ? null : this.extrasOf(extraKeys, count, lora, salt)
    const keys = hasher.extend(start[0]!, start[1]!, tokenIds, blockSize, extras)
    if (repeats === "refresh" && parent === null && allKnown(alias, hashes)) return
    let from = 0
    const flush = (to: number) => {
      if (to > from) {
        const before = from === 0 ? parent : keys.slice(from * 2 - 2, from * 2)
        emit({ _tag: "Stored", worker, parent: before, keys: keys.slice(from * 2, to * 2) })
      }
    }
    for (let i = 0; i < count; i++) {
      const lo = hashes[i * 2]!
      const hi = hashes[i * 2 + 1]!
      const keyLo = keys[i * 2]!
      const keyHi = keys[i * 2 + 1]!
      if (alias.add(lo, hi, keyLo, keyHi) === 1) continue
      if (alias.keyLo !== keyLo || alias.keyHi !== keyHi) {
        this.counters.mismatched++
        emit({ _tag: "Removed", worker, keys: Int32Array.of(alias.keyLo, alias.keyHi) })
        while (alias.remove(lo, hi) > 0) {}
        alias.add(lo, hi, keyLo, keyHi)
        continue
      }
      flush(i)
      from = i + 1
    }
    flush(count)
    if (alias.size > hashesMax) this.overflow = true
  }

  private removed(event: BlockRemoved, emit: (delta: KvDelta) => void): void {
    const { groupIdx, hashes, medium } = event
    const group = groupIdx ?? -1
    if ((medium !== null && medium !== "GPU") || this.otherGroups.has(group)) {
      this.counters.ignored++
      return
    }
    const alias = this.aliases.get(group)
    const keys = new Int32Array(hashes.length)
    let size = 0
    for (let i = 0; i < hashes.length; i += 2) {
      const left = alias === undefined ? -1 : alias.remove(hashes[i]!, hashes[i + 1]!)
      if (left < 0) {
        this.counters.unknownRemovals++
        if (this.parkedCount > 0) this.cutParked(group, hashes[i]!, hashes[i + 1]!)
      } else if (left === 0) {
        keys[size++] = alias!.keyLo
        keys[size++] = alias!.keyHi
      }
    }
    if (size > 0) emit({ _tag: "Removed", worker: this.options.worker, keys: keys.slice(0, size) })
  }

  private rootOf(lora: string | null, salt: string | null): KeyLanes {
    const { hasher, model } = this.options
    const name = JSON.stringify([lora, salt])
    let root = this.roots.get(name)
    if (root === undefined) {
      if (this.roots.size >= rootsMax) this.roots.clear()
      root = hasher.root({ model, lora, salt, blockSize: this.blockSize! })
      this.roots.set(name, root)
    }
    return root
  }

  /** What is left of the extra keys once adapter and salt, which are in the root, are taken out; null when nothing. */
  private extrasOf(
    extraKeys: ReadonlyArray<ReadonlyArray<unknown> | null>,
    count: number,
    lora: string | null,
    salt: string | null
  ): Int32Array | null {
    let any = false
    const rest: Array<ReadonlyArray<unknown> | null> = []
    for (let i = 0; i < count; i++) {
      const keys = extraKeys[i] ?? null
      if (keys === null) {
        rest.push(null)
        continue
      }
      const saltAt = i === 0 && salt !== null ? keys.lastIndexOf(salt) : -1
      const left = keys.filter((key, k) => k !== saltAt && !(k === 0 && lora !== null && key === lora))
      if (left.length > 0) any = true
      rest.push(left)
    }
    return any ? this.options.hasher.extras(rest) : null
  }

  private park(group: number, event: BlockStored): void {
    if (this.parkedCount >= this.options.parkedMax) this.dropParked(this.batch, 1)
    const name = nameOf(group, event.parent![0]!, event.parent![1]!)
    const waiting = this.parked.get(name)
    if (waiting === undefined) this.parked.set(name, [{ event, batch: this.batch }])
    else waiting.push({ event, batch: this.batch })
    this.parkedCount++
  }

  /** Stores the events that waited for one of these blocks. */
  private adopt(group: number, event: BlockStored, emit: (delta: KvDelta) => void): void {
    for (let i = 0; i < event.hashes.length; i += 2) {
      const name = nameOf(group, event.hashes[i]!, event.hashes[i + 1]!)
      const waiting = this.parked.get(name)
      if (waiting === undefined) continue
      this.parked.delete(name)
      this.parkedCount -= waiting.length
      for (const { event: child } of waiting) this.stored(child, emit)
    }
  }

  /** A block that waits for its parent is gone before it was known: so is what follows it in its event. */
  private cutParked(group: number, lo: number, hi: number): void {
    for (const [name, waiting] of this.parked) {
      for (let w = waiting.length - 1; w >= 0; w--) {
        const { batch, event } = waiting[w]!
        if ((event.groupIdx ?? -1) !== group) continue
        const { hashes } = event
        let at = 0
        while (at < hashes.length && !(hashes[at] === lo && hashes[at + 1] === hi)) at += 2
        if (at >= hashes.length) continue
        const kept = at >> 1
        if (kept === 0) {
          waiting.splice(w, 1)
          this.parkedCount--
        } else {
          const tokenIds = event.tokenIds.slice(0, kept * event.blockSize)
          waiting[w] = { event: { ...event, hashes: hashes.slice(0, at), tokenIds }, batch }
        }
      }
      if (waiting.length === 0) this.parked.delete(name)
    }
  }

  /** Gives up what was parked at or before a batch; the oldest first, at most `max`. */
  private dropParked(batch: number, max = Infinity): void {
    let left = max
    for (const [name, waiting] of this.parked) {
      while (waiting.length > 0 && waiting[0]!.batch <= batch && left > 0) {
        waiting.shift()
        this.parkedCount--
        this.counters.orphansDropped++
        left--
      }
      if (waiting.length === 0) this.parked.delete(name)
      if (left === 0) return
    }
  }
}

export const make = (options: Options): Translator => new Translator(options)

const nameOf = (group: number, lo: number, hi: number): string => `${group}:${lo}:${hi}`

const allKnown = (alias: KeyAlias.KeyAlias, hashes: Int32Array): boolean => {
  for (let i = 0; i < hashes.length; i += 2) if (!alias.find(hashes[i]!, hashes[i + 1]!)) return false
  return true
}
