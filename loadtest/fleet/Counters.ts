/** What an engine counts, for `/metrics` and `/sim/state`. */

/** Upper bounds in seconds; vLLM's own for `time_to_first_token_seconds`. */
export const ttftBounds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560
]

export class Counters {
  received = 0
  stopped = 0
  lengthened = 0
  aborted = 0
  /** Tokens looked up in the cache, and found. */
  queries = 0
  hits = 0
  /** Found below the device. */
  loaded = 0
  /** Requests that named their rank. */
  rankNamed = 0
  promptTokens = 0
  generationTokens = 0
  /** Per bound, not cumulative; one more for what is above the last. */
  readonly ttftCounts = new Array<number>(ttftBounds.length + 1).fill(0)
  ttftSum = 0

  /** A request's first token, so long after it came. */
  first(promptTokens: number, ms: number): void {
    const seconds = ms / 1000
    const slot = ttftBounds.findIndex((bound) => seconds <= bound)
    this.promptTokens += promptTokens
    this.ttftCounts[slot < 0 ? ttftBounds.length : slot]!++
    this.ttftSum += seconds
  }
}
