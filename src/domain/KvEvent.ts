/**
 * KV-cache events: as an engine publishes them (`EngineEvent`, any dialect), and as the router applies them (`KvDelta`,
 * in the router's own block keys).
 */
import type { KeyLanes } from "./Block.ts"
import type { Layer, Tier } from "./Tier.ts"

/** An engine's block hashes, folded to unsigned 64 bits: two Int32 lanes `[lo, hi]` per hash. Opaque to us. */
export type EngineHashes = Int32Array

export interface BlockStored {
  readonly _tag: "BlockStored"
  /** Blocks of one chain, parent to child. */
  readonly hashes: EngineHashes
  /** Hash of the block before the first, `[lo, hi]`; null at the start of a sequence. */
  readonly parent: EngineHashes | null
  readonly tokenIds: Uint32Array
  readonly blockSize: number
  readonly loraId: number | null
  /** Null: a medium this version does not know. An event that names none means the device. */
  readonly tier: Tier | null
  readonly loraName: string | null
  /** One entry per hash: what besides tokens entered it (salt, multimodal items, …). */
  readonly extraKeys: ReadonlyArray<ReadonlyArray<unknown> | null> | null
  readonly groupIdx: number | null
  readonly specKind: string | null
  readonly slidingWindow: number | null
  readonly locality: string | null
  readonly ownership: string | null
  readonly sessionId: string | null
  /** The request's salt where the wire has a field of its own for it (SGLang); elsewhere it is among `extraKeys`. */
  readonly salt: string | null
}

export interface BlockRemoved {
  readonly _tag: "BlockRemoved"
  readonly hashes: EngineHashes
  readonly tier: Tier | null
  readonly groupIdx: number | null
  readonly locality: string | null
  readonly ownership: string | null
}

export interface AllBlocksCleared {
  readonly _tag: "AllBlocksCleared"
}

/** An event this version does not know. Counted, never fatal. */
export interface UnknownEvent {
  readonly _tag: "Unknown"
  readonly type: string
}

export type EngineEvent = BlockStored | BlockRemoved | AllBlocksCleared | UnknownEvent

/** One published message: the events of one scheduler step. */
export interface EngineBatch {
  /** Seconds since the epoch, by the engine's clock. For display only. */
  readonly ts: number
  readonly events: ReadonlyArray<EngineEvent>
  /** Data-parallel rank, or null where the wire has no slot for it. */
  readonly rank: number | null
  /** Names this version does not know, of events, fields and media: `event BlockInactive`, `field BlockStored.origin`. */
  readonly unknown: ReadonlyArray<string>
}

/** In place of a parent: these blocks may be of any chains, of which each is known already. */
export const anyChain: KeyLanes = new Int32Array(2)

/** A change to the index, in the router's own keys. `worker` is a slot: one data-parallel rank of one engine. */
export type KvDelta =
  | {
      readonly _tag: "Stored"
      readonly worker: number
      readonly layer: Layer
      /** The block before the first; null at the start of a chain. */
      readonly parent: KeyLanes | null
      readonly keys: KeyLanes
    }
  | { readonly _tag: "Removed"; readonly worker: number; readonly layer: Layer; readonly keys: KeyLanes }
  /** From now on this layer is told apart; it begins as a copy of the deepest one below it that is. Never the guesses. */
  | { readonly _tag: "Deepened"; readonly worker: number; readonly layer: Layer }
  /** Forgets all tiers of a slot, or (`guess`) only its guesses. Deeper layers are told apart no more. */
  | { readonly _tag: "Cleared"; readonly worker: number; readonly guess: boolean }
