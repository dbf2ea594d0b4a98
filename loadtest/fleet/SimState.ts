/** What `GET /sim/state` shows: an engine's counters, of one rank or summed over all. */
import type { EngineCore } from "./EngineCore.ts"
import type { EventPublisher } from "./EventPublisher.ts"

export interface SimState {
  readonly engine: number
  readonly alive: boolean
  /** Starts so far, the first included. */
  readonly lives: number
  readonly running: number
  readonly waiting: number
  /** Requests of this life (one a prompt): received, and how they ended. */
  readonly received: number
  readonly finished: number
  readonly aborted: number
  /** Of those received, the ones whose rank was named by the client. */
  readonly rankNamed: number
  readonly promptTokens: number
  /** Tokens looked up in the cache at admission, and found; of these, copied back from host or disk. */
  readonly queriedTokens: number
  readonly cachedTokens: number
  readonly loadedTokens: number
  readonly generatedTokens: number
  readonly freeBlocks: number
  readonly cachedBlocks: number
  /** Batches published in this life. */
  readonly seq: number
}

type Of = Omit<SimState, "engine" | "alive" | "lives">

export const of = (core: EngineCore, publisher: EventPublisher): Of => {
  const { cachedBlocks, counters, freeBlocks, running, waiting } = core
  return {
    running,
    waiting,
    received: counters.received,
    finished: counters.stopped + counters.lengthened,
    aborted: counters.aborted,
    rankNamed: counters.rankNamed,
    promptTokens: counters.promptTokens,
    queriedTokens: counters.queries,
    cachedTokens: counters.hits,
    loadedTokens: counters.loaded,
    generatedTokens: counters.generationTokens,
    freeBlocks,
    cachedBlocks,
    seq: publisher.seq
  }
}

export const sum = (states: ReadonlyArray<Of>): Of => {
  const total: Record<string, number> = {}
  for (const state of states)
    for (const [name, value] of Object.entries(state)) total[name] = (total[name] ?? 0) + value
  return total as unknown as Of
}
