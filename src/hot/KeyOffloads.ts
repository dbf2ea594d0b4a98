/**
 * Copies on lower tiers of blocks whose tokens are not known yet: by hash, until a store describes it.
 *
 * Engines announce what they offload by hash alone. Bounded: when full, what came first goes first (its hash in a ring;
 * one that was taken meanwhile leaves a stale place, and should it come back it goes when that place is reached).
 */
import * as KeyAlias from "./KeyAlias.ts"

/** Hashes held at most: 8 bytes each beside the table's. */
export const offloadsMax = 65_536

export interface Saved {
  /** Hashes, two lanes each, those that go first in front. */
  readonly order: Int32Array
  readonly table: Int32Array
}

export class KeyOffloads {
  /** Given up for lack of room. */
  dropped = 0
  private readonly table: KeyAlias.KeyAlias
  private ring = new Int32Array(0)
  private first = 0
  private length = 0

  constructor(copiesMax: number) {
    this.table = KeyAlias.make(copiesMax)
  }

  get size(): number {
    return this.table.size
  }

  hold(lo: number, hi: number, tier: number): void {
    const { table } = this
    if (table.add(lo, hi, tier, 0, 0) !== KeyAlias.NOWHERE) return
    if (this.ring.length === 0) this.ring = new Int32Array(offloadsMax * 2)
    if (this.length === offloadsMax) {
      const at = this.first * 2
      if (table.drop(this.ring[at]!, this.ring[at + 1]!) !== 0) this.dropped++
      this.first = (this.first + 1) % offloadsMax
      this.length--
    }
    const at = ((this.first + this.length++) % offloadsMax) * 2
    this.ring[at] = lo
    this.ring[at + 1] = hi
  }

  /** What was held of a hash, as a word of copies, which is held no more; 0 for nothing. */
  take(lo: number, hi: number): number {
    return this.table.drop(lo, hi)
  }

  /** One copy less. False when none was held. */
  cancel(lo: number, hi: number, tier: number): boolean {
    return this.table.remove(lo, hi, tier) >= 0
  }

  /** What is held, and the order in which it goes when there is no room. */
  saved(): Saved {
    const { first, length, ring } = this
    const order = new Int32Array(length * 2)
    for (let i = 0; i < order.length; i++) order[i] = ring[(first * 2 + i) % ring.length]!
    const table = new Int32Array(this.size * KeyAlias.savedWords)
    let at = 0
    for (const piece of this.table.saved(offloadsMax)) {
      table.set(piece, at)
      at += piece.length
    }
    return { order, table }
  }

  /** Holds what `saved` gave, beside nothing. False when that cannot be. */
  restore({ order, table }: Saved): boolean {
    if (order.length > 0) this.ring = new Int32Array(offloadsMax * 2)
    this.ring.set(order)
    this.first = 0
    this.length = order.length >> 1
    return this.table.restore(table)
  }

  clear(): void {
    this.table.clear()
    this.length = 0
  }
}
