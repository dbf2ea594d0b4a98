/**
 * One data-parallel rank of one life of a simulated engine: scheduler, cache, counters and events, driven by a clock. A
 * restart makes a new one.
 *
 * Tokens reach their request through `Generation.onToken`, on the turn of the timer that ended the step. Events of a step
 * are handed to `publish` when it ends, as one batch, in the order they happened.
 */
import type { CachedBlock, TrueBlock } from "./CacheDump.ts"
import type { Block, CacheEvent, Namer } from "./CacheEvent.ts"
import { type Blocks, CacheLog } from "./CacheLog.ts"
import { Counters } from "./Counters.ts"
import type { Generation } from "./Generation.ts"
import { Scheduler } from "./Scheduler.ts"
import { roomBlocks, type SimOptions } from "./SimOptions.ts"
import type { Job, Task } from "./Task.ts"
import * as TimeModel from "./TimeModel.ts"

export type { CachedBlock } from "./CacheDump.ts"

interface EngineJob extends Job<string>, Blocks {}

export type EngineTask = Task<string, EngineJob>

/** What a dialect makes of a cache. */
export interface Ways {
  readonly namer: Namer
  /** Each key is held once, as in a radix tree. */
  readonly unique: boolean
}

type Publish = (events: ReadonlyArray<CacheEvent>) => void

export class EngineCore {
  readonly counters = new Counters()
  readonly startedAt = Date.now() / 1000
  readonly #scheduler: Scheduler<string, EngineJob>
  readonly #log: CacheLog
  readonly #publish: Publish
  readonly #clock: () => number
  #timer: NodeJS.Timeout | undefined
  #kick: NodeJS.Immediate | undefined
  #ended = false

  constructor(options: SimOptions, ways: Ways, publish: Publish, clock = () => performance.now()) {
    this.#publish = publish
    this.#clock = clock
    this.#log = new CacheLog(options, ways.namer, (key) => this.#scheduler.cache.copies(key))
    this.#scheduler = new Scheduler<string, EngineJob>(
      {
        blocks: options.blocks,
        blockSize: options.blockSize,
        pinsMax: roomBlocks(options),
        rates: TimeModel.scaled(options.rates, options.speed),
        stepTokens: options.stepTokens,
        maxRunning: options.maxRunning,
        loadUs: options.hostLoadUs / options.speed,
        unique: ways.unique
      },
      {
        // What is copied back as a request enters comes before its tokens are counted.
        stored: ({ computed, job }, from, to) =>
          this.#log.stored(job, from, to, Math.max(computed, to * options.blockSize)),
        removed: (key) => this.#log.removed(key),
        loadable: (key) => this.#log.loadable(key),
        admitted: (task) => this.#admitted(task),
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

  get waitingTokens(): number {
    return this.#scheduler.waitingTokens
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
    const job: EngineJob = {
      ...generation,
      blocks: [],
      window: [],
      promptTokens: generation.prompt.length,
      outputTokens: generation.output.length,
      key: () => this.#log.next(job)
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
    this.#log.clear()
    this.#flush()
    return true
  }

  /** Nothing happens any more. */
  end(): void {
    this.#ended = true
    clearTimeout(this.#timer)
    clearImmediate(this.#kick)
  }

  /** The true cache: every block once, each parent before its children. */
  dump(): ReadonlyArray<CachedBlock> {
    return this.#log.dump()
  }

  /** The same with every ancestor, held or not, so that each chain begins at a first block. */
  truth(): ReadonlyArray<TrueBlock> {
    return this.#log.truth()
  }

  /** Publishes a batch: blocks nobody asked for are stored, and those of the call before removed. */
  churn(tokenIds: ReadonlyArray<number>, before: ReadonlyArray<Block>): ReadonlyArray<Block> {
    const blocks = this.#log.chain(tokenIds)
    const events = before.map((block): CacheEvent => ({ _tag: "Removed", tier: "device", block })).reverse()
    if (blocks.length > 0) events.unshift({ _tag: "Stored", tier: "device", blocks })
    if (events.length > 0) this.#publish(events)
    return blocks
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

  #admitted({ cachedTokens, committed, job, loadedTokens }: EngineTask): void {
    this.counters.queries += job.promptTokens
    this.counters.hits += cachedTokens
    this.counters.loaded += loadedTokens
    if (job.reportsAll === true) this.#log.again(job, committed)
  }

  #token({ cachedTokens, generated, job, queuedAt }: EngineTask, now: number): void {
    this.counters.generationTokens++
    if (generated === 1) this.counters.first(job.promptTokens, now - queuedAt)
    job.onToken(generated, cachedTokens)
  }

  #flush(): void {
    const events = this.#log.take()
    if (events.length > 0) this.#publish(events)
  }
}
