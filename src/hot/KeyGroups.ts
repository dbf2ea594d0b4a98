/**
 * KeyGroups: the KV-cache groups of one engine, and for each that counts the table of its hashes.
 *
 * A group counts when its hits are decided by whole prefixes: full, MLA and sink attention, or no kind given.
 */
import * as KeyAlias from "./KeyAlias.ts"

const mainKinds = new Set(["full_attention", "mla_attention", "sink_full_attention"])
/** Groups of an engine at most, of either sort; those seen have fewer than ten. */
const groupsMax = 64

export class KeyGroups {
  /** One table per group of which a store of the device was accepted, in that order. */
  tables: ReadonlyArray<KeyAlias.KeyAlias> = []
  private readonly byGroup = new Map<number, KeyAlias.KeyAlias>()
  private readonly others = new Set<number>()
  private readonly copiesMax: number

  constructor(copiesMax: number) {
    this.copiesMax = copiesMax
  }

  /** A single table, so what it says of a key is all there is. */
  get isOnly(): boolean {
    return this.tables.length === 1
  }

  get(group: number): KeyAlias.KeyAlias | undefined {
    return this.byGroup.get(group)
  }

  /** The table of a group, made if need be; null when there are too many. */
  open(group: number): KeyAlias.KeyAlias | null {
    const known = this.byGroup.get(group)
    if (known !== undefined) return known
    if (this.tables.length >= groupsMax) return null
    const table = KeyAlias.make(this.copiesMax)
    this.byGroup.set(group, table)
    this.tables = [...this.tables, table]
    return table
  }

  /** The groups that have a table, in that order, and those known not to count. */
  saved(): { readonly groups: ReadonlyArray<number>; readonly others: ReadonlyArray<number> } {
    return { groups: [...this.byGroup.keys()], others: [...this.others] }
  }

  /** Opens the tables of `saved`, which are empty then, with room for so many hashes each. */
  restore(groups: ReadonlyArray<number>, others: ReadonlyArray<number>, hashes: ReadonlyArray<number>): void {
    for (const [i, group] of groups.entries()) this.open(group)?.reserve(hashes[i]!)
    for (const group of others) this.others.add(group)
  }

  /** Whether a group counts. Removals do not say: those that do not are remembered. */
  isMain(group: number, specKind: string | null): boolean {
    if (specKind === null) return !this.others.has(group)
    if (mainKinds.has(specKind)) return true
    // Events that name no group are of no one group, so nothing is known of the next.
    if (group >= 0 && this.others.size < groupsMax) this.others.add(group)
    return false
  }

  /** The table that knows a hash: that of its group if it does, else any. Its key is then in `keyLo`, `keyHi`. */
  find(group: number, lo: number, hi: number): KeyAlias.KeyAlias | null {
    const own = this.byGroup.get(group)
    if (own !== undefined && own.find(lo, hi) !== 0) return own
    for (const table of this.tables) if (table !== own && table.find(lo, hi) !== 0) return table
    return null
  }

  /** Distinct hashes known, by group. */
  get size(): number {
    let size = 0
    for (const table of this.tables) size += table.size
    return size
  }

  /** Copies on the device. */
  get copies(): number {
    let copies = 0
    for (const table of this.tables) copies += table.copies
    return copies
  }

  clear(): void {
    this.byGroup.clear()
    this.tables = []
    this.others.clear()
  }
}
