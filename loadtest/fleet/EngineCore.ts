/**
 * One data-parallel rank of one life of a simulated engine: scheduler, cache, counters and events, driven by a clock. A
 * restart makes a new one.
 *
 * Tokens reach their request through `Generation.onToken`, on the turn of the timer that ended the step. Events of a step
 * are handed to `publish` when it ends, as one batch, in the order they happened.
 */

import * as CacheDump from "./CacheDump.ts"
import type { Block, CacheEvent, MmKey, Namer } from "./CacheEvent.ts"
import { Offload } from "./Offload.ts"
import { type Job, Scheduler, type Task } from "./Scheduler.ts"
import type { SimOptions } from "./SimOptions.ts"
import { type Announced, SlidingWindow } from "./SlidingWindow.ts"
import * as TimeModel from "./TimeModel.ts"

export type { CachedBlock } from "./CacheDump.ts"

/** A picture in a prompt: what names it, and the tokens that stand for it. */
export interface Picture {
  readonly identifier: string
  readonly offset: number
  readonly length: number
}

/** One prompt and the answer it will get. */
export interface Generation {
  readonly prompt: ReadonlyArray<number>
  readonly output: ReadonlyArray<number>
  readonly lora: string | null
  readonly salt: string | null
  readonly pictures?: ReadonlyArray<Picture>
  /** The lowest enters first. */
  readonly priority?: number
  /** Announce the reused prefix again. */
  readonly reportsAll?: boolean
  /** Called for each token, with the count so far; the last when it equals `output.length`. */
  readonly onToken: (generated: number, cachedTokens: number) => void
}

interface EngineJob extends Job<string>, Generation {
  /** Its leading blocks. */
  readonly blocks: Array<Block>
  /** What the sliding-window group keeps of them. */
  readonly window: Array<Announced>
}

export type EngineTask = Task<string, EngineJob>

/** What a dialect makes of a cache. */
export interface Ways {
  readonly namer: Namer
  /** Each key is held once, as in a radix tree. */
  readonly unique: boolean
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
  /** Found below the device. */
  loaded: number
  /** Requests that named their rank. */
  rankNamed: number
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
  readonly #name: Namer
  readonly #publish: (events: ReadonlyArray<CacheEvent>) => void
  readonly #clock: () => number
  /** Blocks that some tier holds. */
  readonly #held = new Map<string, Block>()
  readonly #offload: Offload
  readonly #window: SlidingWindow | undefined
  #pending: Array<CacheEvent> = []
  #timer: NodeJS.Timeout | undefined
  #kick: NodeJS.Immediate | undefined
  #ended = false

  constructor(
    options: SimOptions,
    ways: Ways,
    publish: (events: ReadonlyArray<CacheEvent>) => void,
    clock = () => performance.now()
  ) {
    this.#options = options
    this.#publish = publish
    this.#clock = clock
    this.#name = ways.namer
    this.#window = options.slidingWindow > 0 ? new SlidingWindow(options.slidingWindow) : undefined
    this.#offload = new Offload(options.hostBlocks, options.diskBlocks, {
      stored: (tier, block) => this.#pending.push({ _tag: "Stored", tier, blocks: [block] }),
      removed: (tier, block) => {
        this.#pending.push({ _tag: "Removed", tier, block })
        this.#forget(block.key)
      }
    })
    this.counters = {
      received: 0,
      stopped: 0,
      lengthened: 0,
      aborted: 0,
      queries: 0,
      hits: 0,
      loaded: 0,
      rankNamed: 0,
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
        maxRunning: options.maxRunning,
        loadUs: options.hostLoadUs / options.speed,
        unique: ways.unique
      },
      {
        stored: (task, from, to) => this.#stored(task, from, to),
        removed: (key) => this.#removed(key),
        loadable: (key) => this.#offload.use(key),
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
      key: (index) => {
        const block = this.#block(job, index)
        job.blocks.push(block)
        return block.key
      }
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
    this.#offload.clear()
    this.#window?.clear()
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

  /** The true cache: every block once, each parent before its children. */
  dump(): ReadonlyArray<CacheDump.CachedBlock> {
    const tiered = this.#options.hostBlocks + this.#options.diskBlocks > 0
    return CacheDump.cached(this.#held, (key) => this.#tiers(key), tiered)
  }

  /** The same with every ancestor, held or not, so that each chain begins at a first block. */
  truth(): ReadonlyArray<CacheDump.TrueBlock> {
    return CacheDump.truth(this.#held, (key) => this.#tiers(key))
  }

  /** Blocks nobody asked for, in one chain: stored, then removed by the next call. Publishes a batch. */
  churn(tokenIds: ReadonlyArray<number>, before: ReadonlyArray<Block>): ReadonlyArray<Block> {
    const size = this.#options.blockSize
    const blocks: Array<Block> = []
    for (let i = 0; (i + 1) * size <= tokenIds.length; i++) {
      const facts = { tokenIds: tokenIds.slice(i * size, (i + 1) * size), parent: blocks.at(-1) ?? null }
      blocks.push(this.#named({ ...facts, salt: null, lora: null, mm: [] }))
    }
    const stored: ReadonlyArray<CacheEvent> = blocks.length === 0 ? [] : [{ _tag: "Stored", tier: "device", blocks }]
    const removed = before.map((block): CacheEvent => ({ _tag: "Removed", tier: "device", block }))
    if (stored.length + removed.length > 0) this.#publish([...stored, ...removed.reverse()])
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

  #tokens(job: EngineJob, from: number, to: number): Array<number> {
    const { prompt, output } = job
    const tokens: Array<number> = []
    for (let i = from; i < to; i++) tokens.push(i < prompt.length ? prompt[i]! : output[i - prompt.length]!)
    return tokens
  }

  #block(job: EngineJob, index: number): Block {
    const size = this.#options.blockSize
    const start = index * size
    return this.#named({
      parent: index === 0 ? null : job.blocks[index - 1]!,
      tokenIds: this.#tokens(job, start, start + size),
      salt: job.salt,
      lora: job.lora,
      mm: picturesIn(job.pictures ?? [], start, start + size)
    })
  }

  #named(facts: Parameters<Namer>[0]): Block {
    const name = this.#name(facts)
    return this.#held.get(name.key) ?? { ...name, ...facts }
  }

  #admitted(task: EngineTask): void {
    const { job } = task
    this.counters.queries += job.promptTokens
    this.counters.hits += task.cachedTokens
    this.counters.loaded += task.loadedTokens
    if (job.reportsAll !== true || task.committed === 0) return
    this.#pending.push({ _tag: "Stored", tier: "device", blocks: job.blocks.slice(0, task.committed) })
  }

  #stored(task: EngineTask, from: number, to: number): void {
    const { job } = task
    const size = this.#options.blockSize
    const blocks = job.blocks.slice(from, to)
    for (const block of blocks) this.#held.set(block.key, block)
    this.#pending.push({ _tag: "Stored", tier: "device", blocks })
    if (this.#window === undefined) return
    const computed = Math.max(task.computed, to * size)
    this.#pending.push(...this.#window.stored(job.window, blocks, from * size, computed))
  }

  #removed(key: string): void {
    const block = this.#held.get(key)!
    this.#offload.take(block)
    this.#pending.push({ _tag: "Removed", tier: "device", block })
    if (this.#scheduler.cache.copies(key) > 0) return
    if (this.#window !== undefined) this.#pending.push(...this.#window.evicted(block))
    this.#forget(key)
  }

  /** When no tier holds it any more. */
  #forget(key: string): void {
    if (this.#scheduler.cache.copies(key) === 0 && !this.#offload.holds(key)) this.#held.delete(key)
  }

  #tiers(key: string): CacheDump.Tiers {
    return {
      device: this.#scheduler.cache.copies(key),
      host: this.#offload.has("host", key) ? 1 : 0,
      disk: this.#offload.has("disk", key) ? 1 : 0
    }
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

/** Pictures that touch tokens `[start, end)`, as that block's keys. */
const picturesIn = (pictures: ReadonlyArray<Picture>, start: number, end: number): ReadonlyArray<MmKey> =>
  pictures
    .filter(({ length, offset }) => offset < end && offset + length > start)
    .map(({ identifier, offset }) => [identifier, offset - start])
