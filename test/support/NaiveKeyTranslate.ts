/**
 * KeyTranslate by the book: maps, strings and recounting. What a hash stands for is given, so a block's key is its name;
 * what is asked is only which blocks are within reach of which tier.
 */
import type { BlockRemoved, BlockStored, EngineEvent } from "../../src/domain/KvEvent.ts"
import { tiers } from "../../src/domain/Tier.ts"

const nowhere = tiers.length

interface Entry {
  readonly copies: Array<number>
}

const reachOf = (entry: Entry | undefined): number => {
  const nearest = entry?.copies.findIndex((count) => count > 0) ?? -1
  return nearest < 0 ? nowhere : nearest
}

const namesIn = (lanes: Int32Array): Array<number> => [...lanes].filter((_, i) => i % 2 === 0)

export class NaiveKeyTranslate {
  /** Reach of each block, by hash: the last change of any group decides. */
  readonly reach = new Map<number, number>()
  repeats: "copy" | "refresh" = "copy"
  private readonly groups = new Map<number, Map<number, Entry>>()
  private readonly others = new Set<number>()
  private held = new Map<number, Entry>()
  private parked: Array<{ readonly event: BlockStored; readonly batch: number }> = []
  private batch = 0
  private readonly blockSize: number
  private readonly copiesMax: number
  private readonly parkedBatches: number

  constructor(blockSize: number, copiesMax: number, parkedBatches: number) {
    this.blockSize = blockSize
    this.copiesMax = copiesMax
    this.parkedBatches = parkedBatches
  }

  get copies(): number {
    return [...this.groups.values()]
      .flatMap((group) => [...group.values()])
      .reduce((sum, { copies }) => sum + copies[0]!, 0)
  }

  get size(): number {
    return [...this.groups.values()].reduce((sum, group) => sum + group.size, 0)
  }

  get heldCount(): number {
    return this.held.size
  }

  get parkedCount(): number {
    return this.parked.length
  }

  apply(events: ReadonlyArray<EngineEvent>): void {
    this.batch++
    for (const event of events) {
      if (event._tag === "BlockStored") this.stored(event)
      if (event._tag === "BlockRemoved") this.removed(event)
      if (event._tag === "AllBlocksCleared") {
        this.reach.clear()
        this.groups.clear()
        this.others.clear()
        this.held.clear()
        this.parked = []
      }
    }
    this.parked = this.parked.filter(({ batch }) => batch > this.batch - this.parkedBatches)
  }

  private stored(event: BlockStored, waited = false): void {
    const group = event.groupIdx ?? -1
    if (event.tier === null) return
    const isWindow = event.specKind === "sliding_window"
    if (isWindow) this.others.add(group)
    if (isWindow || this.others.has(group)) return
    const tier = tiers.indexOf(event.tier)
    const isDescribed = event.blockSize > 0 && event.tokenIds.length === (event.hashes.length / 2) * event.blockSize
    const isWhole = isDescribed && event.blockSize === this.blockSize
    const parent = event.parent === null ? null : event.parent[0]!
    const isAttached = parent === null || this.ownerOf(group, parent) !== null
    if (tier > 0) {
      const home = this.groups.get(group) ?? [...this.groups.values()][0]
      for (const hash of namesIn(event.hashes)) {
        if (home !== undefined && isWhole && isAttached) this.count(home, hash, tier, event)
        else {
          const owner = this.ownerOf(group, hash)
          if (owner !== null) this.count(owner, hash, tier, event)
          else this.held.set(hash, this.added(this.held.get(hash), tier))
        }
      }
    } else if (!isDescribed) {
      for (const hash of namesIn(event.hashes)) {
        const own = this.groups.get(group)
        if (own?.has(hash)) this.count(own, hash, tier, event)
      }
    } else if (isWhole && !isAttached) this.parked.push({ event, batch: this.batch })
    else if (isWhole) {
      if (!this.groups.has(group)) this.groups.set(group, new Map())
      for (const hash of namesIn(event.hashes)) this.count(this.groups.get(group)!, hash, tier, event, waited)
      for (const hash of namesIn(event.hashes)) {
        const isWaiting = ({ event: child }: { readonly event: BlockStored }) =>
          (child.groupIdx ?? -1) === group && child.parent![0] === hash
        const children = this.parked.filter(isWaiting)
        this.parked = this.parked.filter((each) => !isWaiting(each))
        for (const { event: child } of children) this.stored(child, true)
      }
    }
  }

  private removed({ groupIdx, hashes, tier: name }: BlockRemoved): void {
    const group = groupIdx ?? -1
    if (name === null || this.others.has(group)) return
    const tier = tiers.indexOf(name)
    for (const hash of namesIn(hashes)) {
      const own = this.groups.get(group)
      const candidates = tier === 0 ? [own] : [own, ...this.groups.values()]
      const owner = candidates.find((each) => (each?.get(hash)?.copies[tier] ?? 0) > 0)
      if (owner !== undefined) {
        const entry = owner.get(hash)!
        const before = reachOf(entry)
        entry.copies[tier]!--
        if (reachOf(entry) > before) this.reach.set(hash, Math.max(this.reach.get(hash) ?? nowhere, reachOf(entry)))
        if (reachOf(entry) === nowhere) owner.delete(hash)
      } else if (tier > 0) {
        const entry = this.held.get(hash)
        if (entry !== undefined && entry.copies[tier]! > 0) entry.copies[tier]!--
        if (reachOf(entry) === nowhere) this.held.delete(hash)
      } else this.cut(group, hash)
    }
  }

  /** What is parked loses the block and what follows it. */
  private cut(group: number, hash: number): void {
    this.parked = this.parked.flatMap(({ batch, event }) => {
      const at = namesIn(event.hashes).indexOf(hash)
      if (at < 0 || (event.groupIdx ?? -1) !== group) return [{ batch, event }]
      if (at === 0) return []
      const hashes = event.hashes.slice(0, at * 2)
      return [{ batch, event: { ...event, hashes, tokenIds: event.tokenIds.slice(0, at * event.blockSize) } }]
    })
  }

  private ownerOf(group: number, hash: number): Map<number, Entry> | null {
    const own = this.groups.get(group)
    if (own?.has(hash)) return own
    return [...this.groups.values()].find((each) => each.has(hash)) ?? null
  }

  private added(entry: Entry | undefined, tier: number): Entry {
    const copies = entry?.copies ?? [0, 0, 0, 0]
    copies[tier] = Math.min(this.copiesMax, copies[tier]! + 1)
    return { copies }
  }

  private count(group: Map<number, Entry>, hash: number, tier: number, event: BlockStored, waited = false): void {
    const known = group.get(hash)
    const before = reachOf(known)
    const isReport = event.parent === null || waited
    if (this.repeats === "refresh" && isReport && (known?.copies[tier] ?? 0) > 0) return
    const entry = this.added(known, tier)
    group.set(hash, entry)
    if (known === undefined) {
      const held = this.held.get(hash)
      this.held.delete(hash)
      held?.copies.forEach((count, lower) => {
        entry.copies[lower] = Math.min(this.copiesMax, entry.copies[lower]! + count)
      })
    }
    if (reachOf(entry) < before) this.reach.set(hash, Math.min(this.reach.get(hash) ?? nowhere, reachOf(entry)))
  }
}
