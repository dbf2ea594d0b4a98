/**
 * FleetWords: the last word on every worker, and which of these words the table has. Pure but for what it holds.
 *
 * The table decides nothing: of two words the newer one counts wherever it is heard, so replicas that were apart agree
 * again, whatever order they come back in.
 */
import { Result } from "effect"
import * as Rows from "./FleetRows.ts"

/** A row of the table, by the worker's id. */
export interface Held {
  readonly revision: number
  /** Null where it cannot be read: a later version's, left alone. */
  readonly told: Rows.Told | null
}

/** What a row brought. `older`: the table does not know yet what is known here. */
type News =
  | { readonly _tag: "Newer"; readonly told: Rows.Told }
  | { readonly _tag: "Older" | "Same" }
  | { readonly _tag: "Unreadable"; readonly why: string }

export class FleetWords {
  private readonly words = new Map<string, Rows.Told>()
  private readonly rows = new Map<string, Held>()

  get(id: string): Rows.Told | undefined {
    return this.words.get(id)
  }

  ids(): Iterable<string> {
    return this.words.keys()
  }

  /** Revision of the row to write over; 0 where there is none. */
  revision(id: string): number {
    return this.rows.get(id)?.revision ?? 0
  }

  /** True when the table lacks the last word on it, and may be given it. */
  isPending(id: string): boolean {
    const told = this.words.get(id)
    const row = this.rows.get(id)
    return told !== undefined && (row === undefined || (row.told !== null && Rows.isNewer(told, row.told)))
  }

  /** True when the table has the last word on it. */
  isShared(id: string): boolean {
    return this.words.has(id) && this.rows.get(id)?.told != null && !this.isPending(id)
  }

  pending(): ReadonlyArray<string> {
    return [...this.words.keys()].filter((id) => this.isPending(id))
  }

  /** A row that was read, in any order. */
  absorb(id: string, revision: number, value: Uint8Array): News {
    if (revision < this.revision(id)) return { _tag: "Same" }
    const read = Rows.decode(value)
    if (Result.isFailure(read)) {
      this.rows.set(id, { revision, told: null })
      return { _tag: "Unreadable", why: read.failure }
    }
    const told = read.success
    this.rows.set(id, { revision, told })
    const known = this.words.get(id)
    if (!Rows.isNewer(told, known)) return { _tag: this.isPending(id) ? "Older" : "Same" }
    this.words.set(id, told)
    return { _tag: "Newer", told }
  }

  /** The table is read anew: nothing is known to be in it. */
  clearRows(): void {
    this.rows.clear()
  }

  /** Written at that revision. */
  wrote(id: string, told: Rows.Told, revision: number): void {
    if (revision > this.revision(id)) this.rows.set(id, { revision, told })
  }

  /** Out of the table. */
  dropRow(id: string): void {
    this.rows.delete(id)
  }

  forget(id: string): void {
    this.words.delete(id)
  }

  /** Notes an operator's word as the last one: later than all that is known, whatever the clocks say. */
  tell(id: string, told: Omit<Rows.Told, "atMs">, nowMs: number): void {
    const atMs = Math.max(nowMs, (this.words.get(id)?.atMs ?? 0) + 1)
    this.words.set(id, { ...told, spec: Rows.withoutKey(told.spec), atMs })
  }

  /** Workers that left before that, and that the table has as such. */
  leftBefore(atMs: number): ReadonlyArray<string> {
    return [...this.words]
      .filter(([id, told]) => told.state !== "listed" && told.atMs < atMs && this.rows.has(id) && !this.isPending(id))
      .map(([id]) => id)
  }
}
