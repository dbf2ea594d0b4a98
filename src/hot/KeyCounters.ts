/** KeyCounters: what one publisher's events took away, and what of them could not be counted as it came. */

/** All only grow. */
export interface Counters {
  /** Blocks whose last copy on a tier was removed, or that were forgotten with all others. */
  evicted: number
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

export const make = (): Counters => ({
  evicted: 0,
  unknownParents: 0,
  orphansDropped: 0,
  unknownRemovals: 0,
  ignored: 0,
  skipped: 0,
  unknownEvents: 0,
  mismatched: 0,
  heldOffloads: 0,
  offloadsDropped: 0
})
