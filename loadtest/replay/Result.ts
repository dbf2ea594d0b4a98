/** What a replay, in virtual time or live, came to: the same shape for both, so that one table and one picture show both. */

export interface Result {
  readonly strategy: string
  readonly workers: number
  readonly seed: number
  /** Requests that count: sent after the warm-up (the first fifth of the time), and answered to the end. */
  readonly requests: number
  /** Sent after the warm-up, refused or broken off; 0 in virtual time. They are in no other figure. */
  readonly failed: number
  /** Requests that finished per second of the measured time. */
  readonly perSecond: number
  readonly ttftMs: Spread
  /** From sending to the last token. */
  readonly e2eMs: Spread
  /** Share of prompt tokens taken from a cache, as the engines report it. */
  readonly hitRate: number
  /** Share of requests whose first token came within 1 s + twice the time their whole prompt takes to prefill. */
  readonly inTime: number
  /** Tokens predicted to be cached that were not, and cached that were not predicted, over tokens predicted. */
  readonly tooMany: number
  readonly tooFew: number
  /** TTFT, ms, at 0, 1, … 100 % of the requests. */
  readonly cdf: ReadonlyArray<number>
  /** The whole time in equal steps, the warm-up included. */
  readonly series: Series
  /** By slot, measured requests only. */
  readonly byWorker: ReadonlyArray<WorkerShare>
}

export interface Spread {
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

export interface Series {
  readonly stepMs: number
  /** Of requests sent in a step; null where there was none. */
  readonly hitRate: ReadonlyArray<number | null>
  readonly ttftMsP90: ReadonlyArray<number | null>
  /** By slot, then by step: mean requests outstanding. */
  readonly outstanding: ReadonlyArray<ReadonlyArray<number>>
}

export interface WorkerShare {
  readonly requests: number
  readonly promptTokens: number
  readonly cachedTokens: number
}
