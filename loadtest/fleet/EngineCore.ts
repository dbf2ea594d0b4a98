/**
 * One life of one simulated engine: scheduler, cache, counters and events, driven by a clock. A restart makes a new one.
 *
 * Tokens reach their request through `Generation.onToken`, on the turn of the timer that ended the step. Events of a step
 * are handed to `publish` when it ends, as one batch, in the order they happened.
 */
import * as BlockHash from "./BlockHash.ts"
import type { CacheEvent } from "./EventEncoding.ts"
import { type Job, Scheduler, type Task } from "./Scheduler.ts"
import type { SimOptions } from "./SimOptions.ts"
import * as TimeModel from "./TimeModel.ts"

/** One prompt and the answer it will get. */
export interface Generation {
  readonly prompt: ReadonlyArray<number>
  readonly output: ReadonlyArray<number>
  readonly lora: string | null
  readonly salt: string | null
  /** Called for each token, with the count so far; the last when it equals `output.length`. */
  readonly onToken: (generated: number, cachedTokens: number) => void
}

interface EngineJob extends Job<string>, Generation {
  /** Digests of its leading blocks. */
  readonly digests: Array<Buffer>
}

export type EngineTask = Task<string, EngineJob>

/** What the cache holds under one hash. */
interface Held {
  readonly digest: Buffer
  readonly parent: Buffer | null
  readonly tokenIds: ReadonlyArray<number>
  readonly salt: string | null
  readonly lora: string | null
}

/** One cached block, as `GET /sim/cache` shows it. Hashes are unsigned decimals, as the events carry them. */
export interface CachedBlock {
  readonly hash: string
  readonly parentHash: string | null
  /** The whole digest, hex. */
  readonly digest: string
  readonly tokenIds: ReadonlyArray<number>
  readonly salt: string | null
  readonly lora: string | null
  readonly copies: number
}

/** Upper bounds in seconds; vLLM's own for `time_to_first_token_seconds`. */
export const ttftBounds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560
]

export interface Counters {
  received: number
  stopped: number
  lengthened: number
  aborted: number
  /** Tokens looked up in the cache, and found. */
  queries: number
  hits: number
  promptTokens: number
  generationTokens: number
  /** Per bound, not cumulative; one more for what is above the last. */
  readonly ttftCounts: Array<number>
  ttftSum: number
}

export class EngineCore {
  readonly counters: Counters
  readonly startedAt = Date.now() / 1000
  readonly #scheduler: Scheduler<string, EngineJob>
  readonly #options: SimOptions
  readonly #root: Buffer
  readonly #publish: (events: ReadonlyArray<CacheEvent>) => void
  readonly #clock: () => number
  readonly #held = new Map<string, Held>()
  #pending: Array<CacheEvent> = []
  #timer: NodeJS.Timeout | undefined
  #kick: NodeJS.Immediate | undefined
  #ended = false

  constructor(
    options: SimOptions,
    publish: (events: ReadonlyArray<CacheEvent>) => void,
    clock = () => performance.now()
  ) {
    this.#options = options
    this.#publish = publish
    this.#clock = clock
    this.#root = BlockHash.rootDigest(options.hashSeed)
    this.counters = {
      received: 0,
      stopped: 0,
      lengthened: 0,
      aborted: 0,
      queries: 0,
      hits: 0,
      promptTokens: 0,
      generationTokens: 0,
      ttftCounts: new Array<number>(ttftBounds.length + 1).fill(0),
      ttftSum: 0
    }
    this.#scheduler = new Scheduler<string, EngineJob>(
      {
        blocks: options.blocks,
        blockSize: options.blockSize,
        rates: TimeModel.scaled(options.rates, options.speed),
        stepTokens: options.stepTokens,
        maxRunning: options.maxRunning
      },
      {
        stored: (task, from, to) => this.#stored(task.job, from, to),
        removed: (key) => this.#removed(key),
        admitted: (task) => {
          this.counters.queries += task.job.promptTokens
          this.counters.hits += task.cachedTokens
        },
        token: (task, now) => this.#token(task, now),
        stepped: () => this.#flush()
      }
    )
  }

  get running(): number {
    return this.#scheduler.running
  }

  get waiting(): number {
    return this.#scheduler.waiting
  }

  get usage(): number {
    return this.#scheduler.usage
  }

  /** Blocks that hold a hash, copies counted. */
  get cachedBlocks(): number {
    return this.#scheduler.cache.cached
  }

  get freeBlocks(): number {
    return this.#scheduler.cache.free
  }

  submit(generation: Generation): EngineTask {
    const digests: Array<Buffer> = []
    const job: EngineJob = {
      ...generation,
      digests,
      promptTokens: generation.prompt.length,
      outputTokens: generation.output.length,
      key: (index) => this.#key(job, index)
    }
    this.counters.received++
    const now = this.#clock()
    // Steps that are due came before this request, however late their timer is.
    if (this.#scheduler.nextAt <= now) this.#scheduler.advance(now)
    const task = this.#scheduler.add(job, now)
    // Not at once: requests that arrive together share the first step, as an engine drains its queue before one.
    if (this.#scheduler.nextAt === Number.POSITIVE_INFINITY) this.#kick ??= setImmediate(() => this.#tick())
    return task
  }

  abort(task: EngineTask): void {
    if (this.#scheduler.abort(task)) this.counters.aborted++
  }

  slow(factor: number): void {
    this.#scheduler.slow = factor
  }

  stall(ms: number): void {
    this.#scheduler.stall(this.#clock(), ms)
    this.#arm()
  }

  /** Forgets the cache and says so. False while requests hold blocks. */
  reset(): boolean {
    if (!this.#scheduler.reset()) return false
    this.#held.clear()
    this.#pending.push({ _tag: "Cleared" })
    this.#flush()
    return true
  }

  /** Nothing happens any more. */
  end(): void {
    this.#ended = true
    clearTimeout(this.#timer)
    clearImmediate(this.#kick)
  }

  /** The true cache: every hash once, each parent before its children. */
  dump(): ReadonlyArray<CachedBlock> {
    const out: Array<CachedBlock> = []
    const seen = new Set<string>()
    for (const start of this.#held.keys()) {
      // Up to the first ancestor already written (or not cached), then down again.
      const path: Array<string> = []
      for (let key = start; this.#held.has(key) && !seen.has(key); ) {
        seen.add(key)
        path.push(key)
        const parent = this.#held.get(key)!.parent
        if (parent === null) break
        key = parent.toString("latin1")
      }
      for (const key of path.reverse()) {
        const { digest, parent, tokenIds, salt, lora } = this.#held.get(key)!
        out.push({
          hash: BlockHash.published(digest).toString(),
          parentHash: parent === null ? null : BlockHash.published(parent).toString(),
          digest: digest.toString("hex"),
          tokenIds,
          salt,
          lora,
          copies: this.#scheduler.cache.copies(key)
        })
      }
    }
    return out
  }

  #tick(): void {
    this.#kick = undefined
    if (this.#ended) return
    this.#scheduler.advance(this.#clock())
    this.#arm()
  }

  #arm(): void {
    clearTimeout(this.#timer)
    const at = this.#scheduler.nextAt
    if (this.#ended || at === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, at - this.#clock()))
  }

  #tokens(job: EngineJob, from: number, to: number): Array<number> {
    const { prompt, output } = job
    const tokens: Array<number> = []
    for (let i = from; i < to; i++) tokens.push(i < prompt.length ? prompt[i]! : output[i - prompt.length]!)
    return tokens
  }

  #extra(job: EngineJob, index: number): ReadonlyArray<string> {
    const extra: Array<string> = []
    if (job.lora !== null) extra.push(job.lora)
    if (job.salt !== null && index === 0) extra.push(job.salt)
    return extra
  }

  #key(job: EngineJob, index: number): string {
    const size = this.#options.blockSize
    const tokens = this.#tokens(job, index * size, (index + 1) * size)
    const parent = index === 0 ? this.#root : job.digests[index - 1]!
    const digest = BlockHash.digest(parent, tokens, 0, size, this.#extra(job, index))
    job.digests.push(digest)
    return digest.toString("latin1")
  }

  #stored(job: EngineJob, from: number, to: number): void {
    const size = this.#options.blockSize
    const tokenIds = this.#tokens(job, from * size, to * size)
    const hashes = job.digests.slice(from, to)
    const parent = from === 0 ? null : job.digests[from - 1]!
    const extraKeys: Array<ReadonlyArray<string> | null> = []
    for (let i = from; i < to; i++) {
      const extra = this.#extra(job, i)
      extraKeys.push(extra.length === 0 ? null : extra)
      const digest = job.digests[i]!
      const key = digest.toString("latin1")
      if (this.#held.has(key)) continue
      this.#held.set(key, {
        digest,
        parent: i === 0 ? null : job.digests[i - 1]!,
        tokenIds: tokenIds.slice((i - from) * size, (i - from + 1) * size),
        salt: job.salt,
        lora: job.lora
      })
    }
    this.#pending.push({
      _tag: "Stored",
      hashes,
      parent,
      tokenIds,
      blockSize: size,
      loraId: job.lora === null ? null : this.#options.loras.indexOf(job.lora) + 1,
      loraName: job.lora,
      extraKeys
    })
  }

  #removed(key: string): void {
    this.#pending.push({ _tag: "Removed", hashes: [Buffer.from(key, "latin1")] })
    if (this.#scheduler.cache.copies(key) === 0) this.#held.delete(key)
  }

  #token(task: EngineTask, now: number): void {
    const { counters } = this
    const { job, generated } = task
    counters.generationTokens++
    if (generated === 1) {
      counters.promptTokens += job.promptTokens
      const seconds = (now - task.queuedAt) / 1000
      const slot = ttftBounds.findIndex((bound) => seconds <= bound)
      counters.ttftCounts[slot < 0 ? ttftBounds.length : slot]!++
      counters.ttftSum += seconds
    }
    job.onToken(generated, task.cachedTokens)
  }

  #flush(): void {
    if (this.#pending.length === 0) return
    const events = this.#pending
    this.#pending = []
    this.#publish(events)
  }
}
