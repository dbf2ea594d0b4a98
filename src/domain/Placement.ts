/** The decision: which worker, at what cost, and why the others lost. All costs in milliseconds. */

export interface Candidate {
  readonly slot: number
  /** Leading prompt tokens the worker already holds. */
  readonly cachedTokens: number
  /** Queued prefill ahead of this request. */
  readonly waitMs: number
  /** Prefill of what the worker lacks. */
  readonly ownMs: number
  /** How long others will wait for that prefill. */
  readonly othersMs: number
  /** Slow-down of the decodes already running there. */
  readonly decodeMs: number
  /** Decayed recent work, so that an idle fleet still spreads. */
  readonly recentMs: number
  readonly costMs: number
}

export interface Placement {
  readonly slot: number
  readonly policy: string
  /** What one millisecond of added work costs others: the first part of `othersMs` per millisecond of `ownMs`. */
  readonly price: number
  /** Requests a worker is sent, on average; times `ownMs`, at most a cold prefill, the second part. */
  readonly arrivalsPerMs: number
  readonly candidates: ReadonlyArray<Candidate>
}
