/**
 * Stores whose parent is not known yet. Bounded in number and in batches waited; the oldest go first.
 *
 * What is asked for every block that comes or goes (is it awaited? is it parked?) is answered by two tables of hashes;
 * names are spelled only for those that are.
 */
import type { BlockStored } from "../domain/KvEvent.ts"
import * as KeyAlias from "./KeyAlias.ts"

export interface Parked {
  readonly event: BlockStored
  readonly batch: number
}

/** What waits for one parent. */
interface Row {
  readonly group: number
  readonly lo: number
  readonly hi: number
  readonly parked: Array<Parked>
}

export class KeyParking {
  /** Events parked now. */
  size = 0
  /** Events given up. */
  dropped = 0
  private readonly max: number
  private readonly rows = new Map<string, Row>()
  private readonly parents = KeyAlias.make()
  private readonly hashes = KeyAlias.make()

  constructor(max: number) {
    this.max = max
  }

  park(group: number, event: BlockStored, batch: number): void {
    if (this.size >= this.max) this.drop(batch, 1)
    const lo = event.parent![0]!
    const hi = event.parent![1]!
    const name = nameOf(group, lo, hi)
    let row = this.rows.get(name)
    if (row === undefined) {
      row = { group, lo, hi, parked: [] }
      this.rows.set(name, row)
      this.parents.add(lo, hi, 0, 0, 0)
    }
    row.parked.push({ event, batch })
    const { hashes } = event
    for (let i = 0; i < hashes.length; i += 2) this.hashes.add(hashes[i]!, hashes[i + 1]!, 0, 0, 0)
    this.size++
  }

  /** Takes out the events that waited for a block; null when none did. */
  take(group: number, lo: number, hi: number): ReadonlyArray<BlockStored> | null {
    if (this.parents.find(lo, hi) === 0) return null
    const name = nameOf(group, lo, hi)
    const row = this.rows.get(name)
    if (row === undefined) return null
    const events = row.parked.map(({ event }) => event)
    for (const event of events) this.forget(event, 0)
    this.end(name, row)
    return events
  }

  /** A block that waits for its parent is gone before it was known: so is what follows it in its event. */
  cut(group: number, lo: number, hi: number): void {
    if (this.hashes.find(lo, hi) === 0) return
    for (const [name, row] of this.rows) {
      if (row.group !== group) continue
      const { parked } = row
      for (let i = parked.length - 1; i >= 0; i--) {
        const { batch, event } = parked[i]!
        const { hashes } = event
        let at = 0
        while (at < hashes.length && !(hashes[at] === lo && hashes[at + 1] === hi)) at += 2
        if (at >= hashes.length) continue
        this.forget(event, at)
        if (at === 0) parked.splice(i, 1)
        else {
          const tokenIds = event.tokenIds.slice(0, (at >> 1) * event.blockSize)
          parked[i] = { event: { ...event, hashes: hashes.slice(0, at), tokenIds }, batch }
          this.size++
        }
      }
      if (parked.length === 0) this.end(name, row)
    }
  }

  /** Gives up what was parked at or before a batch; the oldest first, at most `max`. */
  drop(batch: number, max = Number.POSITIVE_INFINITY): void {
    let left = max
    for (const [name, row] of this.rows) {
      const { parked } = row
      while (parked.length > 0 && parked[0]!.batch <= batch && left > 0) {
        this.forget(parked.shift()!.event, 0)
        this.dropped++
        left--
      }
      if (parked.length === 0) this.end(name, row)
      if (left === 0) return
    }
  }

  /** What waits, in an order in which it can be parked again. */
  saved(): ReadonlyArray<Parked> {
    return [...this.rows.values()].flatMap(({ parked }) => parked)
  }

  clear(): void {
    this.rows.clear()
    this.parents.clear()
    this.hashes.clear()
    this.size = 0
  }

  /** One event less; its hashes from a place on are parked no more. */
  private forget(event: BlockStored, from: number): void {
    const { hashes } = event
    for (let i = from; i < hashes.length; i += 2) this.hashes.remove(hashes[i]!, hashes[i + 1]!, 0)
    this.size--
  }

  private end(name: string, row: Row): void {
    this.rows.delete(name)
    this.parents.remove(row.lo, row.hi, 0)
  }
}

const nameOf = (group: number, lo: number, hi: number): string => `${group}:${lo}:${hi}`
