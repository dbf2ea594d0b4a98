/** From requests, one by one, to a `Result`. Times are ms since the replay began. */
import { percentile } from "../client/Stats.ts"
import type { Result, Spread } from "./Result.ts"

/** One request that was answered. */
export interface Answered {
  readonly slot: number
  readonly atMs: number
  readonly ttftMs: number
  readonly e2eMs: number
  readonly promptTokens: number
  readonly cachedTokens: number
  /** Prompt tokens the router thought the worker held. */
  readonly predictedTokens: number
  /** What its prompt takes to prefill on an idle engine with nothing cached. */
  readonly coldMs: number
}

/** The part of the time left out of all figures but the series: caches fill and rates are learned. */
export const warmShare = 0.2
const steps = 120
/** In time: this, and so many times the cold prefill. */
const inTimeMs = 1_000
const inTimeColds = 2

export class Figures {
  readonly #durationMs: number
  readonly #workers: number
  readonly #answered: Array<Answered> = []
  /** By slot, then by step: ms that requests spent outstanding. */
  readonly #outstandingMs: ReadonlyArray<Float64Array>
  #failed = 0

  constructor(workers: number, durationMs: number) {
    this.#workers = workers
    this.#durationMs = durationMs
    this.#outstandingMs = Array.from({ length: workers }, () => new Float64Array(steps))
  }

  answered(request: Answered): void {
    this.#answered.push(request)
    this.#occupy(request.slot, request.atMs, request.atMs + request.e2eMs)
  }

  /** A request still out when the replay ended: it counts as load only. */
  unfinished(slot: number, atMs: number): void {
    this.#occupy(slot, atMs, this.#durationMs)
  }

  failed(atMs: number): void {
    if (this.#counts(atMs)) this.#failed++
  }

  /** `finishedMs`: when the last answer ended, or the replay did. */
  result(strategy: string, seed: number, finishedMs: number): Result {
    const counted = this.#answered.filter(({ atMs }) => this.#counts(atMs))
    const ttftMs = Float64Array.from(counted, (each) => each.ttftMs).sort()
    const e2eMs = Float64Array.from(counted, (each) => each.e2eMs).sort()
    const total = (pick: (request: Answered) => number) => counted.reduce((sum, each) => sum + pick(each), 0)
    const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole)
    const predicted = total((each) => each.predictedTokens)
    const byWorker = Array.from({ length: this.#workers }, () => ({ requests: 0, promptTokens: 0, cachedTokens: 0 }))
    for (const { cachedTokens, promptTokens, slot } of counted) {
      const worker = byWorker[slot]
      if (worker === undefined) continue
      worker.requests++
      worker.promptTokens += promptTokens
      worker.cachedTokens += cachedTokens
    }
    return {
      strategy,
      workers: this.#workers,
      seed,
      requests: counted.length,
      failed: this.#failed,
      perSecond: share(counted.length, Math.max(1, finishedMs - this.#durationMs * warmShare) / 1000),
      ttftMs: spread(ttftMs),
      e2eMs: spread(e2eMs),
      hitRate: share(
        total((each) => each.cachedTokens),
        total((each) => each.promptTokens)
      ),
      inTime: share(
        counted.filter((each) => each.ttftMs <= inTimeMs + inTimeColds * each.coldMs).length,
        counted.length
      ),
      tooMany: share(
        total((each) => Math.max(0, each.predictedTokens - each.cachedTokens)),
        predicted
      ),
      tooFew: share(
        total((each) => Math.max(0, each.cachedTokens - each.predictedTokens)),
        predicted
      ),
      cdf: Array.from({ length: 101 }, (_, percent) => at(ttftMs, percent / 100)),
      series: this.#series(),
      byWorker
    }
  }

  #counts(atMs: number): boolean {
    return atMs >= this.#durationMs * warmShare
  }

  #series() {
    const stepMs = this.#durationMs / steps
    const bySteps: Array<Array<Answered>> = Array.from({ length: steps }, () => [])
    for (const each of this.#answered) bySteps[Math.min(steps - 1, Math.floor(each.atMs / stepMs))]!.push(each)
    return {
      stepMs,
      hitRate: bySteps.map((sent) => {
        const promptTokens = sent.reduce((sum, each) => sum + each.promptTokens, 0)
        return promptTokens === 0 ? null : sent.reduce((sum, each) => sum + each.cachedTokens, 0) / promptTokens
      }),
      ttftMsP90: bySteps.map((sent) =>
        percentile(
          sent.map((each) => each.ttftMs),
          0.9
        )
      ),
      outstanding: this.#outstandingMs.map((ofSlot) => Array.from(ofSlot, (ms) => ms / stepMs))
    }
  }

  #occupy(slot: number, fromMs: number, toMs: number): void {
    const row = this.#outstandingMs[slot]
    if (row === undefined) return
    const stepMs = this.#durationMs / steps
    const last = Math.min(steps - 1, Math.floor(toMs / stepMs))
    for (let step = Math.max(0, Math.floor(fromMs / stepMs)); step <= last; step++) {
      row[step] = row[step]! + Math.max(0, Math.min(toMs, (step + 1) * stepMs) - Math.max(fromMs, step * stepMs))
    }
  }
}

const at = (sorted: Float64Array, share: number): number =>
  sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))]!

const spread = (sorted: Float64Array): Spread => ({
  mean: sorted.reduce((sum, each) => sum + each, 0) / Math.max(1, sorted.length),
  p50: at(sorted, 0.5),
  p90: at(sorted, 0.9),
  p99: at(sorted, 0.99)
})
