/**
 * KeyChains: blocks whose tokens an event tells: one chain of own keys, and one more copy of each of its hashes.
 */
import type { KeyLanes } from "../domain/Block.ts"
import type { BlockStored, EngineHashes } from "../domain/KvEvent.ts"
import { DEVICE, EXTERNAL } from "../domain/Tier.ts"
import type { Hasher } from "./BlockHash.ts"
import * as KeyAlias from "./KeyAlias.ts"
import type { Counters } from "./KeyCounters.ts"
import type { KeyGroups } from "./KeyGroups.ts"
import type { Emit, KeyLayers } from "./KeyLayers.ts"
import { KeyNamespace, loraOf, saltOf } from "./KeyNamespace.ts"
import type { KeyOffloads } from "./KeyOffloads.ts"
import * as KeySlice from "./KeySlice.ts"

export class KeyChains {
  private readonly hasher: Hasher
  private readonly namespace: KeyNamespace
  private readonly groups: KeyGroups
  private readonly layers: KeyLayers
  private readonly offloads: KeyOffloads
  private readonly counters: Counters
  private touched = 0

  constructor(
    hasher: Hasher,
    model: string,
    groups: KeyGroups,
    layers: KeyLayers,
    offloads: KeyOffloads,
    counters: Counters
  ) {
    this.hasher = hasher
    this.namespace = new KeyNamespace(hasher, model)
    this.groups = groups
    this.layers = layers
    this.offloads = offloads
    this.counters = counters
  }

  /**
   * One chain behind `event.parent`, which is known, or behind a root. Returns how many blocks were added: all, or on
   * a lower tier those before the first whose hash is known with another key.
   */
  insert(alias: KeyAlias.KeyAlias, event: BlockStored, tier: number, isRefresh: boolean, emit: Emit): number {
    const { groups, hasher, layers, namespace } = this
    const { blockSize, hashes, tokenIds } = event
    const count = hashes.length >> 1
    const lora = loraOf(event)
    let parent: KeyLanes | null = null
    if (event.parent !== null) {
      const found = groups.find(event.groupIdx ?? -1, event.parent[0]!, event.parent[1]!)!
      parent = KeySlice.pair(found.keyLo, found.keyHi)
    }
    const salt = saltOf(event, lora)
    const extras = namespace.extras(event, count, lora, salt)
    let before = parent ?? namespace.root(lora, salt, blockSize)
    if (tier !== DEVICE) layers.deepen(tier, emit)
    for (let first = 0; first < count; first += KeySlice.sliceMax) {
      const size = Math.min(KeySlice.sliceMax, count - first)
      const tokens = size === count ? tokenIds : tokenIds.subarray(first * blockSize, (first + size) * blockSize)
      const extra = extras === null ? null : extras.subarray(first * 2, (first + size) * 2)
      hasher.extend(before[0]!, before[1]!, tokens, blockSize, extra, KeySlice.keys)
      const added = this.addSlice(alias, hashes, first, size, tier, isRefresh, emit)
      if (added > 0) layers.nearer(tier, added, parent, groups.isOnly, emit)
      if (added < size) return first + added
      if (first + size < count) parent = before = KeySlice.copied(size - 1, size)
    }
    return count
  }

  /**
   * One more copy of each hash of a slice, whose keys are in `KeySlice.keys`; the reach each had goes into
   * `KeySlice.reach`. Returns how many were added.
   */
  private addSlice(
    alias: KeyAlias.KeyAlias,
    hashes: EngineHashes,
    first: number,
    size: number,
    tier: number,
    isRefresh: boolean,
    emit: Emit
  ): number {
    const { offloads } = this
    if (size > 1) this.touched ^= alias.touch(hashes, first, size)
    for (let i = 0, at = first * 2; i < size; i++, at += 2) {
      const lo = hashes[at]!
      const hi = hashes[at + 1]!
      const keyLo = KeySlice.keys[i * 2]!
      const keyHi = KeySlice.keys[i * 2 + 1]!
      if (isRefresh || tier !== DEVICE) {
        const copies = alias.find(lo, hi)
        const isSame = alias.keyLo === keyLo && alias.keyHi === keyHi
        // An offloaded chunk may come without the block before it: then the keys known from the device are right.
        if (copies !== 0 && !isSame && tier !== DEVICE) return i
        if (isRefresh && isSame && KeyAlias.countOf(copies, tier) > 0) {
          KeySlice.reach[i] = 0
          continue
        }
      }
      KeySlice.reach[i] = alias.add(lo, hi, tier, keyLo, keyHi)
      if (KeySlice.reach[i] === KeyAlias.NOWHERE) {
        if (offloads.size > 0 && this.redeem(alias, lo, hi, tier, emit)) KeySlice.reach[i] = 0
      } else if (alias.keyLo !== keyLo || alias.keyHi !== keyHi) {
        this.correct(alias, lo, hi, i, emit)
        KeySlice.reach[i] = alias.add(lo, hi, tier, keyLo, keyHi)
      }
    }
    return size
  }

  /** A hash came back with other tokens: nothing of what was known of it is true any more. */
  private correct(alias: KeyAlias.KeyAlias, lo: number, hi: number, done: number, emit: Emit): void {
    this.counters.mismatched++
    alias.drop(lo, hi)
    const key = KeySlice.pair(alias.keyLo, alias.keyHi)
    // It may be of this very slice and not stored yet.
    for (let i = 0; i < done; i++) {
      if (KeySlice.keys[i * 2] === key[0] && KeySlice.keys[i * 2 + 1] === key[1]) KeySlice.reach[i] = 0
    }
    this.layers.gone(key, emit)
  }

  /**
   * Copies that were held until this hash, just added, was described. True when one of them is nearer than its tier:
   * then its store is told here.
   */
  private redeem(alias: KeyAlias.KeyAlias, lo: number, hi: number, tier: number, emit: Emit): boolean {
    const { layers } = this
    const copies = this.offloads.take(lo, hi)
    for (let held = 1; held <= EXTERNAL; held++) {
      const count = KeyAlias.countOf(copies, held)
      if (count > 0) layers.deepen(held, emit)
      for (let i = 0; i < count; i++) alias.join(lo, hi, held)
    }
    const reach = KeyAlias.reachOf(copies)
    if (reach >= tier) return false
    layers.known(KeySlice.pair(alias.keyLo, alias.keyHi), reach, emit)
    return true
  }
}
