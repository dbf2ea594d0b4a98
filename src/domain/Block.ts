/**
 * Blocks and their keys.
 *
 * A key names one block and everything before it (a chained 64-bit hash). Keys never pass through a JS number: they
 * are two signed 32-bit lanes, side by side in one Int32Array: `[lo0, hi0, lo1, hi1, …]`.
 */
export type KeyLanes = Int32Array

/** What keeps equal tokens apart: blocks are shared only inside one namespace. */
export interface Namespace {
  /** Canonical name of the served model, never an alias. */
  readonly model: string
  /** Adapter name, or null for the base model. */
  readonly lora: string | null
  /** The request's `cache_salt`, or null. */
  readonly salt: string | null
  /** Tokens per block. */
  readonly blockSize: number
}
