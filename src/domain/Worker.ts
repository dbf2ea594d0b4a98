/** Words about workers: one engine instance that requests can be sent to. */
import type { Redacted } from "effect"

/** What an operator says about a worker. Everything else is read from the engine. */
export interface WorkerSpec {
  /** Stable name: metrics, logs, admin API. Defaults to `host:port` of the URL. */
  readonly id: string
  /** Base URL without a trailing slash, for example `http://10.0.0.4:8000`. */
  readonly url: string
  /** Where KV events are published, rank by rank, when the engine does not say so itself. */
  readonly events?: ReadonlyArray<EventSource>
  /** What the engine was started with (`--api-key`), for the router's own questions; clients bring theirs. */
  readonly apiKey?: Redacted.Redacted<string>
}

/** One publisher of KV events (one per data-parallel rank). */
export interface EventSource {
  /** ZMQ PUB address as a subscriber connects to it, for example `tcp://10.0.0.4:5557`. */
  readonly endpoint: string
  /** ZMQ ROUTER address of the replay service, or null when the engine offers none. */
  readonly replayEndpoint: string | null
  /** Topic prefix to subscribe to; empty for all. */
  readonly topic: string
  readonly rank: number
}

/** A model or adapter a worker answers for. */
export interface ServedModel {
  readonly id: string
  /** Base model of an adapter, else null. */
  readonly parent: string | null
  /** Where the engine loaded it from: a path or a hub name; null when it does not say. */
  readonly root: string | null
  readonly maxModelLen: number | null
}

/** What a worker said of itself when it was last probed. Read once at joining, never asked of the operator. */
export interface WorkerFacts {
  /** `vllm`, `sglang`, … or `unknown` for anything that merely speaks the OpenAI API. */
  readonly engine: string
  readonly models: ReadonlyArray<ServedModel>
  /** Tokens per block, or null when the engine does not tell (then learned from its first event). */
  readonly blockSize: number | null
  /** Device blocks in the cache of one rank, or null when unknown. */
  readonly blockCount: number | null
  readonly eventSources: ReadonlyArray<EventSource>
  /** Data-parallel ranks a request can be sent to by number, in order; empty where there is one, or none is told. */
  readonly ranks: ReadonlyArray<number>
  /** Which `priority` goes first; null when the engine does not tell or has none. */
  readonly priorityOrder: "lowFirst" | "highFirst" | null
  /**
   * Known to serve by priority: what a request without one counts as, lower first in either order, Infinity for last.
   * Null: first come, first served, or not told.
   */
  readonly unsetPriority: number | null
  /** Answers `POST /tokenize`. */
  readonly tokenizes: boolean
  /** When the engine's process started, ms since the epoch, or null when not told. A change means it restarted. */
  readonly startedAtMs: number | null
}

/** Load as the engine reports it on `/metrics`. Null where a series is missing: zero never means unknown. */
export interface EngineLoad extends RankLoad {
  /** The same by data-parallel rank, where the engine tells them apart. */
  readonly ranks: ReadonlyMap<number, RankLoad>
}

export interface RankLoad {
  readonly running: number | null
  readonly waiting: number | null
  /** Fraction of device blocks in use, 0 to 1. */
  readonly kvUsage: number | null
}

/**
 * How far the router's picture of a cache may be believed. `exact`: every event applied. `degraded`: something is
 * missing or contradicted, and being healed. `approximate`: no events; a model of the cache stands in.
 */
export type Trust = "exact" | "degraded" | "approximate"
