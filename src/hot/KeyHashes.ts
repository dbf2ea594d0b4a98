/**
 * KeyHashes: events that name blocks by hash alone: what was offloaded, parts of a sequence that a group skips, removals.
 *
 * Known hashes are counted. Copies of others on lower tiers are held until a store describes them (`KeyOffloads`).
 */
import { anyChain, type BlockRemoved, type BlockStored } from "../domain/KvEvent.ts"
import { DEVICE } from "../domain/Tier.ts"
import { countOf } from "./KeyAlias.ts"
import type { Counters } from "./KeyCounters.ts"
import type { KeyGroups } from "./KeyGroups.ts"
import type { Emit, KeyLayers } from "./KeyLayers.ts"
import type { KeyOffloads } from "./KeyOffloads.ts"
import type { KeyParking } from "./KeyParking.ts"
import * as KeySlice from "./KeySlice.ts"

export class KeyHashes {
  private readonly groups: KeyGroups
  private readonly layers: KeyLayers
  private readonly offloads: KeyOffloads
  private readonly parking: KeyParking
  private readonly counters: Counters
  private touched = 0

  constructor(groups: KeyGroups, layers: KeyLayers, offloads: KeyOffloads, parking: KeyParking, counters: Counters) {
    this.groups = groups
    this.layers = layers
    this.offloads = offloads
    this.parking = parking
    this.counters = counters
  }

  /** Blocks of which the tokens are not known: counted where their hashes are, else held or skipped. */
  join(event: BlockStored, from: number, tier: number, isRefresh: boolean, emit: Emit): void {
    const { counters, groups, layers, offloads } = this
    const { hashes } = event
    const group = event.groupIdx ?? -1
    let skipped = false
    for (let first = from * 2; first < hashes.length; first += KeySlice.sliceMax * 2) {
      const end = Math.min(hashes.length, first + KeySlice.sliceMax * 2)
      let size = 0
      for (let at = first; at < end; at += 2) {
        const lo = hashes[at]!
        const hi = hashes[at + 1]!
        const alias = tier === DEVICE ? groups.get(group) : groups.find(group, lo, hi)
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
        if (tier !== DEVICE) layers.deepen(tier, emit)
        const reach = alias!.join(lo, hi, tier)
        if (reach <= tier) continue
        KeySlice.keys[size * 2] = alias!.keyLo
        KeySlice.keys[size * 2 + 1] = alias!.keyHi
        KeySlice.reach[size++] = reach
      }
      if (size > 0) layers.nearer(tier, size, anyChain, groups.isOnly, emit)
    }
    if (skipped) counters.skipped++
  }

  /** Blocks that lost a copy on a tier. */
  remove(event: BlockRemoved, tier: number, emit: Emit): void {
    const { counters, groups, layers, offloads, parking } = this
    const { hashes } = event
    const group = event.groupIdx ?? -1
    const own = groups.get(group)
    for (let first = 0; first < hashes.length; first += KeySlice.sliceMax * 2) {
      const end = Math.min(hashes.length, first + KeySlice.sliceMax * 2)
      let size = 0
      if (own !== undefined && end - first > 2) this.touched ^= own.touch(hashes, first >> 1, (end - first) >> 1)
      for (let at = first; at < end; at += 2) {
        const lo = hashes[at]!
        const hi = hashes[at + 1]!
        let alias = own
        let reach = own === undefined ? -1 : own.remove(lo, hi, tier)
        if (reach < 0 && tier !== DEVICE) {
          for (alias of groups.tables) {
            if (alias !== own) reach = alias.remove(lo, hi, tier)
            if (reach >= 0) break
          }
        }
        if (reach < 0) {
          if (tier !== DEVICE && offloads.cancel(lo, hi, tier)) continue
          counters.unknownRemovals++
          if (tier === DEVICE && parking.size > 0) parking.cut(group, lo, hi)
          continue
        }
        // Nothing changes while a copy is left on this tier or on a nearer one.
        if (reach <= tier) continue
        KeySlice.keys[size * 2] = alias!.keyLo
        KeySlice.keys[size * 2 + 1] = alias!.keyHi
        KeySlice.reach[size++] = reach
      }
      counters.evicted += size
      if (size > 0) layers.farther(tier, size, groups.isOnly, emit)
    }
  }
}
