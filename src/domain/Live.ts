/**
 * Live: what the page is told while somebody looks. Times are ms, tokens are prompt tokens, shares are 0 to 1; null where
 * it is not known.
 */
import type { Layer } from "./Tier.ts"
import type { Trust } from "./Worker.ts"

/** One worker, all its ranks together. */
export interface LiveWorker {
  readonly id: string
  readonly url: string
  /** `actors/FleetLifecycle.ts`, and what brought it there. */
  readonly state: string
  readonly why: string
  readonly engine: string | null
  readonly model: string | null
  readonly ranks: number
  /** The worst of its ranks. */
  readonly trust: Trust | null
  /** Share of its overlap that is believed, the least of its ranks. */
  readonly credit: number | null
  /** Requests whose prompt is computed next, and whose answer is being made. */
  readonly queued: number
  readonly active: number
  /** Prefill that a new request would wait for, the least of its ranks. */
  readonly waitMs: number
  /** Requests out there, of this router. */
  readonly inFlight: number
  /** Of the cached tokens predicted lately, those that it reported, the least of its ranks. */
  readonly deliveredShare: number | null
  /** Blocks on its device as events or guesses tell, and how many have room. */
  readonly blocks: number
  readonly blocksMax: number | null
  /** Of its last requests (32 at most): share of prompt tokens found in its cache; TTFT of the newest 16, oldest first. */
  readonly hitRate: number | null
  readonly ttftsMs: ReadonlyArray<number>
}

/** Of one worker what has changed. */
export type LiveChange = Pick<LiveWorker, "id"> & Partial<LiveWorker>

/** What happened in one second. */
export interface LiveSecond {
  /** Its end, since the epoch. */
  readonly atMs: number
  readonly requests: number
  /** Those that failed by the fleet's or the router's fault. */
  readonly errors: number
  readonly promptTokens: number
  /** Of those, found in caches: as engines report, else as predicted. */
  readonly cachedTokens: number
  readonly ttftMsP50: number | null
  readonly ttftMsP90: number | null
}

/** Of the last minute, or the newest 4 096 requests where that is less. */
export interface LiveTotals {
  readonly overMs: number
  readonly requests: number
  readonly errors: number
  readonly requestsPerS: number
  readonly hitRate: number | null
  readonly ttftMsP50: number | null
  readonly ttftMsP90: number | null
  readonly inFlight: number
}

/** Event `fleet`, each second. The first has all workers, and the seconds before it. */
export interface LiveFleet {
  readonly atMs: number
  readonly whole: boolean
  readonly workers: ReadonlyArray<LiveChange>
  readonly gone: ReadonlyArray<string>
  readonly totals: LiveTotals
  readonly seconds: ReadonlyArray<LiveSecond>
  /** Requests over since the last event that no `receipt` was sent of: there were too many. */
  readonly skipped: number
}

/** Prompts that begin alike. */
export interface PrefixNode {
  /** The key of its last block, 16 hex digits; it names all before it, too. */
  readonly key: string
  readonly model: string
  /** From the beginning of the prompt to the end of what is shared. */
  readonly blocks: number
  readonly tokens: number
  /** Recent requests that begin so, and their share of all that were looked at. */
  readonly requests: number
  readonly share: number
  /** Who holds most of it. */
  readonly holders: ReadonlyArray<PrefixHolder>
  /** Holders beside those. */
  readonly moreHolders: number
  /** How requests go on, the most frequent first. */
  readonly children: ReadonlyArray<PrefixNode>
}

export interface PrefixHolder {
  readonly worker: string
  /** Leading blocks within reach; and of the nearest layer that has them all. */
  readonly blocks: number
  readonly layer: Layer
}

/** `GET /admin/prefixes` */
export interface Prefixes {
  /** Recent requests looked at, and of those the ones that share their beginning with none. */
  readonly requests: number
  readonly alone: number
  readonly roots: ReadonlyArray<PrefixNode>
}
