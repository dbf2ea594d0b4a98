/**
 * Pulse: what the requests of the last minutes came to, second by second and worker by worker, in bounded memory.
 *
 * `add` is all that a request costs: some stores into rows. The rest is worked out when somebody looks, a second once it is over.
 * Times are ms since the epoch.
 */
import type { LiveSecond, LiveTotals } from "../domain/Live.ts"
import type { Settled } from "./Request.ts"

/** Requests that totals are taken from, at most; and for how long. */
const rows = 4_096
const overMs = 60_000
/** Seconds kept: what a chart shows of the time before one looked. */
const secondsMax = 300
/** Of each worker. */
const requestsMax = 32
const ttftsMax = 16
const sweepAtLeast = 64

interface OfWorker {
  readonly prompt: Float64Array
  readonly cached: Float64Array
  count: number
  ttfts: ReadonlyArray<number>
}

const isError = ({ outcome, status }: Pick<Settled, "outcome" | "status">): boolean =>
  outcome === "failed" || status >= 500

/** The value at a share of ascending numbers, NaN left out; null of none. */
const quantile = (ascending: ArrayLike<number>, share: number): number | null =>
  ascending.length === 0 ? null : ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))]!

export class Pulse {
  private readonly at = new Float64Array(rows)
  private readonly ttft = new Float64Array(rows)
  private readonly prompt = new Float64Array(rows)
  private readonly cached = new Float64Array(rows)
  private readonly failed = new Uint8Array(rows)
  /** Of all requests so far. */
  private count = 0
  /** The first request that is in no closed second yet, and when that second ends. */
  private open = 0
  private endMs = Number.NaN
  private readonly closed: Array<LiveSecond> = []
  private readonly workers = new Map<string, OfWorker>()
  private readonly isListed: (worker: string) => boolean
  /** So many workers are known when those that are not listed any more are let go of. */
  private sweepAt = sweepAtLeast

  constructor(isListed: (worker: string) => boolean) {
    this.isListed = isListed
  }

  add(record: Settled, nowMs: number): void {
    this.close(nowMs)
    const { deliveredTokens, predictedTokens, promptTokens, ttftMs, worker } = record
    const cachedTokens = deliveredTokens ?? predictedTokens
    const i = this.count++ % rows
    this.at[i] = nowMs
    this.ttft[i] = ttftMs ?? Number.NaN
    // What was never sent found nothing, and lacked nothing.
    this.prompt[i] = worker === null ? 0 : promptTokens
    this.cached[i] = worker === null ? 0 : cachedTokens
    this.failed[i] = isError(record) ? 1 : 0
    if (worker === null) return
    let of = this.workers.get(worker)
    if (of === undefined) {
      if (this.workers.size >= this.sweepAt) this.sweep()
      of = { prompt: new Float64Array(requestsMax), cached: new Float64Array(requestsMax), count: 0, ttfts: [] }
      this.workers.set(worker, of)
    }
    of.prompt[of.count % requestsMax] = promptTokens
    of.cached[of.count % requestsMax] = cachedTokens
    of.count++
    if (ttftMs !== null) of.ttfts = [...of.ttfts.slice(1 - ttftsMax), Math.round(ttftMs)]
  }

  /** Seconds that ended after `sinceMs`, oldest first. */
  seconds(sinceMs: number, nowMs: number): ReadonlyArray<LiveSecond> {
    this.close(nowMs)
    return this.closed.filter(({ atMs }) => atMs > sinceMs)
  }

  worker(id: string): { readonly hitRate: number | null; readonly ttftsMs: ReadonlyArray<number> } {
    const of = this.workers.get(id)
    if (of === undefined) return { hitRate: null, ttftsMs: [] }
    let prompt = 0
    let cached = 0
    for (let i = 0; i < Math.min(of.count, requestsMax); i++) {
      prompt += of.prompt[i]!
      cached += of.cached[i]!
    }
    return { hitRate: prompt === 0 ? null : cached / prompt, ttftsMs: of.ttfts }
  }

  totals(nowMs: number): Omit<LiveTotals, "inFlight"> {
    let from = Math.max(0, this.count - rows)
    // Where rows do not reach back a minute, or there was nothing before, it is as long as they do.
    const reachMs = this.count === 0 ? overMs : Math.min(overMs, Math.max(1_000, nowMs - this.at[from % rows]!))
    while (from < this.count && this.at[from % rows]! <= nowMs - overMs) from++
    const { atMs: _, ...sums } = this.sum(from, this.count, nowMs)
    const { cachedTokens, promptTokens, ...rest } = sums
    return {
      ...rest,
      overMs: reachMs,
      requestsPerS: (rest.requests * 1_000) / reachMs,
      hitRate: promptTokens === 0 ? null : cachedTokens / promptTokens
    }
  }

  /** Sums up the seconds that are over. */
  private close(nowMs: number): void {
    if (nowMs < this.endMs) return
    const first = Math.max(this.open, this.count - rows)
    if (first < this.count) this.push(this.sum(first, this.count, this.endMs))
    this.open = this.count
    const next = (Math.floor(nowMs / 1_000) + 1) * 1_000
    // Silence is seconds of nothing: but no more of them than are kept.
    const silentFrom = Math.max(this.endMs + (first < this.count ? 1_000 : 0), next - secondsMax * 1_000)
    for (let atMs = silentFrom; atMs < next; atMs += 1_000) this.push(this.sum(0, 0, atMs))
    this.endMs = next
  }

  /** Each time their number has doubled: so a worker's first request costs the same, however many there are. */
  private sweep(): void {
    for (const known of this.workers.keys()) if (!this.isListed(known)) this.workers.delete(known)
    this.sweepAt = Math.max(sweepAtLeast, 2 * this.workers.size)
  }

  private push(second: LiveSecond): void {
    this.closed.push(second)
    if (this.closed.length > secondsMax) this.closed.shift()
  }

  private sum(from: number, to: number, atMs: number): LiveSecond {
    const ttfts: Array<number> = []
    let errors = 0
    let promptTokens = 0
    let cachedTokens = 0
    for (let row = from; row < to; row++) {
      const i = row % rows
      errors += this.failed[i]!
      promptTokens += this.prompt[i]!
      cachedTokens += this.cached[i]!
      if (!Number.isNaN(this.ttft[i]!)) ttfts.push(this.ttft[i]!)
    }
    const ascending = Float64Array.from(ttfts).sort()
    const [ttftMsP50, ttftMsP90] = [quantile(ascending, 0.5), quantile(ascending, 0.9)]
    return { atMs, requests: to - from, errors, promptTokens, cachedTokens, ttftMsP50, ttftMsP90 }
  }
}
