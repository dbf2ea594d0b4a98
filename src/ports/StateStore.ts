/**
 * StateStore: which worker holds which block, kept outside of the router's memory. Adapters: sqlite, Redis, RDMA; in-process
 * twin: `StateStoreMemory`.
 *
 * Chains of blocks are cut into aligned *pieces* of `stride` blocks. What a worker holds of one path through a piece is a
 * `Share`, the unit of writing; a request of D blocks is looked up by the first keys of its D / stride pieces.
 * Holders write under *tenures*: numbers that a name gets when it enters, each greater than those before. What was written
 * under one counts until a later one of the same name has settled, so nothing written need ever be searched for and removed.
 * Soft state: all of it can be built anew from engines' events, so a store may lose anything; it must never invent a holder.
 */
import { Context, type Effect, Schema } from "effect"
import type { KeyLanes } from "../domain/Block.ts"
import type { Layer } from "../domain/Tier.ts"

/** `away`: not connected. `late`: no answer in time. `refused`: it is there, and would not. */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  /** What was tried: `write 64 shares`. */
  what: Schema.String,
  reason: Schema.Literals(["away", "late", "refused"]),
  detail: Schema.String
}) {
  override get message() {
    return `The store failed to ${this.what} (${this.reason}): ${this.detail}`
  }
}

/** The store cannot be used as configured: waiting does not help. */
export class StoreUnusable extends Schema.TaggedError<StoreUnusable>()("StoreUnusable", {
  /** As configured, without secrets: `redis://10.0.0.7:6379`. */
  store: Schema.String,
  /** For scripts: `ERR_RDMA_UNAVAILABLE`. */
  code: Schema.String,
  why: Schema.String,
  fix: Schema.String
}) {
  override get message() {
    return `The store ${this.store} cannot be used: ${this.why}. ${this.fix}`
  }
}

/** Blocks of 256 tokens and more are few per chain and branch soon: shorter pieces are fuller. Source: `src/adapters/README.md`, "Pieces". */
export const strideOf = (blockTokens: number): number => (blockTokens >= 256 ? 8 : 32)

/** What a tenure holds of one path through one piece. Masks have a bit for each place in the piece, the lowest for its first block. */
export interface Share {
  readonly tenure: number
  readonly layer: Layer
  /** Blocks in a piece: 1 to 32. */
  readonly stride: number
  /** Which stretch of its chain: its first block is number `piece * stride`. */
  readonly piece: number
  /** Key of the block before the piece, two lanes; null at the start of a chain. */
  readonly parent: KeyLanes | null
  /** Keys of the path from the piece's first block on: as many as the highest bit of `told` needs, at most `stride`. */
  readonly keys: KeyLanes
  /** Blocks this says something of. What is known of others stays. */
  readonly told: number
  /** Those of them it holds. */
  readonly held: number
}

/** How many leading blocks of a request are within reach of each layer of a name; tiers as in `Tier`: each has those before it. */
export interface Reach {
  readonly name: string
  readonly blocks: ReadonlyArray<number>
}

/** A stretch of a chain inside one piece, as it is stored, and who holds which places of the piece. */
export interface Stretch {
  readonly stride: number
  readonly piece: number
  /** Place in the piece of its first key. */
  readonly base: number
  /** Key of the block before its first; null at the start of a chain. */
  readonly parent: KeyLanes | null
  readonly keys: KeyLanes
  /** When it was last written, in seconds since 1970. */
  readonly touched: number
  readonly holders: ReadonlyArray<{ readonly name: string; readonly layer: Layer; readonly mask: number }>
}

export interface Status {
  readonly connected: boolean
  /** Why it is not. Empty when all is well. */
  readonly why: string
  /** What it is connected to, with version: `redis 7.0.15`; null before the first time. */
  readonly server: string | null
}

/** One line of what an operator should know of the store. */
export interface Finding {
  readonly what: string
  readonly value: string
  /** What to do about it; null when all is well. */
  readonly fix: string | null
}

export interface Interface {
  /** As configured, without secrets. */
  readonly url: string
  readonly status: () => Status
  /**
   * Which life of the store this is: another one, and what was written before is gone, and so is every tenure. Each answer
   * of `enter`, `write` and `settle` is of this life, else it fails with `refused`.
   */
  readonly generation: Effect.Effect<string, StoreError>
  /** A new tenure of the name, 1 to 2^29 - 1. Those before it count until it settles. */
  readonly enter: (name: string) => Effect.Effect<number, StoreError>
  /** Earlier tenures of the name count no more. False when a later one has entered, or the name has left. */
  readonly settle: (name: string, tenure: number) => Effect.Effect<boolean, StoreError>
  /** The name holds nothing any more, unless a later tenure has entered. */
  readonly leave: (name: string, tenure: number) => Effect.Effect<void, StoreError>
  /** In this order, each as a whole; writing the same again changes nothing. Those of tenures that do not count are lost. */
  readonly write: (shares: ReadonlyArray<Share>) => Effect.Effect<void, StoreError>
  /** Who holds leading ones of the first `count` keys of a request, in no order; names that hold none are not told. */
  readonly lookup: (keys: KeyLanes, count: number, stride: number) => Effect.Effect<ReadonlyArray<Reach>, StoreError>
  /** All there is, in no order, a chunk at a time; a branch may come before what it branches off. False from `take` ends it. */
  readonly read: (take: (chunk: ReadonlyArray<Stretch>) => Effect.Effect<boolean>) => Effect.Effect<void, StoreError>
  /** Names that are entered, and how many of their tenures count. */
  readonly names: Effect.Effect<ReadonlyArray<{ readonly name: string; readonly tenures: number }>, StoreError>
  /** What `warmpath doctor` says of it. */
  readonly findings: Effect.Effect<ReadonlyArray<Finding>, StoreError>
}

export class StateStore extends Context.Service<StateStore, Interface>()("warmpath/ports/StateStore") {}
