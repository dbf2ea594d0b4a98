/** The words of following a publisher of KV events: what is told of it, what is allowed to it, what is known of it. */
import type { BlockStored, EngineBatch } from "../src/domain/KvEvent.ts"
import type { EventSource } from "../src/domain/Worker.ts"
import type * as EventSequence from "../src/hot/EventSequence.ts"
import type * as KeyTranslate from "../src/hot/KeyTranslate.ts"
import * as RecoveryPace from "./RecoveryPace.ts"
import * as Silence from "./Silence.ts"

/** One publisher: one data-parallel rank of one worker. */
export interface Followed {
  /** `host:port`, or `id/dp1` where there are ranks: for logs, and among replicas, where it is the same in all. */
  readonly name: string
  readonly slot: number
  /** Canonical name of the base model: what the request side puts into its namespaces. */
  readonly model: string
  readonly source: EventSource
  /** Tokens per block, or null to learn it. */
  readonly blockSize: number | null
  /** Device blocks of the cache, or null when it does not tell. */
  readonly blockCount: number | null
  /** The engine's decoder. Throws on bytes that are no batch. */
  readonly decode: (payload: Uint8Array) => EngineBatch
  /** How the engine made the hashes of a root block; null when they cannot be made again. */
  readonly describe?: (event: BlockStored) => string | null
}

/** Numbers that bound the work and the wait; each has its reason at its default. */
export interface Options
  extends Omit<EventSequence.Options, "replayable">,
    Omit<KeyTranslate.Options, "worker" | "model" | "blockSize" | "blockCount">,
    RecoveryPace.Options,
    Silence.Options {}

export const defaults: Omit<Options, "hasher"> = {
  ...RecoveryPace.defaults,
  ...Silence.defaults,
  // With their pauses a second of failing, or fifteen of hanging.
  attemptsMax: 3,
  // Applied at one go when the replay ends: some 30 ms. What does not fit is asked for again.
  heldMax: 2_000,
  heldBytesMax: 4 * 1024 * 1024,
  copiesMax: 255,
  parkedMax: 64,
  parkedBatches: 256,
  // Four times the blocks of the largest caches seen; 67 bytes each at worst.
  hashesMax: 4_194_304
}

/**
 * `absent`: never heard, or silent for long. `whole`: everything published has been applied, or what was lost is
 * forgotten. `broken`: something is missing or in doubt.
 */
export type Health = "absent" | "whole" | "broken"

export interface Recovery {
  /**
   * `waiting`: for its pause or its budget; `queued`: for other publishers' replays; `replaying`: the engine answers;
   * `shedding`: what comes is dropped until a fresh start.
   */
  readonly phase: "none" | "waiting" | "queued" | "replaying" | "shedding"
  /** Failed replays of the hole that is open. */
  readonly attempt: number
  /** Null when no try is due. */
  readonly nextTryInMs: number | null
  readonly replaysLeft: number
}

/** What is known about one publisher. Counters only grow, until it is followed anew. */
export interface State extends KeyTranslate.Counters {
  readonly health: Health
  /** Why it is not whole, or not complete; a fragment: "sequence gap at 812". Empty when there is nothing to say. */
  readonly why: string
  readonly recovery: Recovery
  /** Every batch since the engine started, or since it emptied its cache, has been applied. */
  readonly complete: boolean
  readonly connected: boolean
  /** Last applied number; -1 for none. */
  readonly lastSeq: number
  readonly batches: number
  readonly gaps: number
  /** Replays begun. */
  readonly replays: number
  readonly replayFailures: number
  readonly purges: number
  readonly restarts: number
  readonly duplicates: number
  /** Holes that no replay filled. */
  readonly lost: number
  readonly decodeErrors: number
  /** Times the bus had no room for a change; each forces a fresh start. */
  readonly overflows: number
  /** Batches dropped unread while shedding. */
  readonly shed: number
  /** Batches held back now. */
  readonly lagEvents: number
  /** Engine hashes known now. */
  readonly hashes: number
  /** Tokens per block: as told, or as learned from events. */
  readonly blockSize: number | null
  /** How the engine makes its hashes, in this life of it; null before the first root block. */
  readonly hashing: string | null
  /** What its events carry that this version does not know, and how often. */
  readonly unknown: Readonly<Record<string, number>>
}
