/**
 * Continuous batching as vLLM V1 does it, as a state machine that is told the time.
 *
 * A step computes one token for every running decode and as much prompt as the token budget leaves, first come, first
 * served. A request enters when its blocks can be had to its very end, so nothing is ever preempted; while the first in
 * the queue does not fit, those behind it wait. Prefix hits are looked up at that moment. Blocks become hittable when
 * the step that fills them is scheduled, chunk by chunk; generated tokens fill blocks too. The last block of a fully
 * cached prompt is computed again.
 *
 * Blocks that lie below the device are copied back when a request enters that starts with them: they count as cached,
 * take a device block, and add a little to the step. A `unique` cache, as a radix tree is, holds each key once: a
 * request that computed a held block again gives its own copy back and goes on with the one held.
 *
 * `pinsMax` stands for a cache of which only a part is the device's: running requests hold so many blocks at most, the
 * rest is there to be hit, at no cost. A cache may be shared by several schedulers; each counts what its own requests hold.
 *
 * Times are milliseconds on the caller's clock, which may be real or virtual: `advance(now)` runs every step that ends
 * by then, `nextAt` says when the running one will. O(running + blocks touched) a step.
 */
import { BlockCache } from "./BlockCache.ts"
import type { Job, Listener, Task } from "./Task.ts"
import * as TimeModel from "./TimeModel.ts"

export interface SchedulerOptions {
  readonly blocks: number
  readonly blockSize: number
  /** Most blocks that running requests hold; all when left out. */
  readonly pinsMax?: number
  readonly rates: TimeModel.Rates
  /** Most tokens one step computes. */
  readonly stepTokens: number
  /** Most requests that run at once. */
  readonly maxRunning: number
  /** Copying a token's KV back to the device, microseconds. 0 when left out. */
  readonly loadUs?: number
  /** Hold each key once. */
  readonly unique?: boolean
}

export class Scheduler<K, J extends Job<K>> {
  readonly cache: BlockCache<K>
  /** Steps take this many times as long. */
  slow = 1
  readonly #options: SchedulerOptions
  readonly #listener: Listener<K, J>
  readonly #waiting: Array<Task<K, J>> = []
  readonly #running: Array<Task<K, J>> = []
  /** Tasks of the running step that get a token at its end. */
  #producing: Array<Task<K, J>> = []
  readonly #pinsMax: number
  /** References that tasks here hold, by block; how many blocks have one; and blocks promised to tasks and not taken yet. */
  readonly #held: Uint16Array
  #pinned = 0
  #promised = 0
  /** Tokens copied back to the device for the step that starts. */
  #loadedTokens = 0
  #stepEndsAt = Number.POSITIVE_INFINITY

  constructor(
    options: SchedulerOptions,
    listener: Listener<K, J>,
    cache = new BlockCache<K>(options.blocks, listener.removed)
  ) {
    this.#options = options
    this.#listener = listener
    this.#pinsMax = Math.min(options.pinsMax ?? options.blocks, options.blocks)
    this.#held = new Uint16Array(cache.blocks)
    this.cache = cache
  }

  get running(): number {
    return this.#running.length
  }

  /** Those in the batch, and those that wait, each first come first. */
  get tasks(): { readonly running: ReadonlyArray<Task<K, J>>; readonly waiting: ReadonlyArray<Task<K, J>> } {
    return { running: this.#running, waiting: this.#waiting }
  }

  /** Blocks that running tasks hold or were promised. */
  get pinned(): number {
    return this.#pinned + this.#promised
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Prompt tokens of those that wait. */
  get waitingTokens(): number {
    return this.#waiting.reduce((sum, { job }) => sum + job.promptTokens, 0)
  }

  /** Fraction of blocks that requests hold. */
  get usage(): number {
    return this.#pinned / this.#pinsMax
  }

  /** When the running step ends; Infinity when there is none. */
  get nextAt(): number {
    return this.#stepEndsAt
  }

  /**
   * Queues a request for the next step. When a step is due by `now`, `advance` first; call `advance` again once those
   * that arrive together are in, to start a step on an idle engine.
   */
  add(job: J, now: number): Task<K, J> {
    const task: Task<K, J> = {
      job,
      queuedAt: now,
      admittedAt: Number.NaN,
      cachedTokens: 0,
      loadedTokens: 0,
      computed: 0,
      generated: 0,
      blocks: [],
      committed: 0,
      keys: [],
      done: false
    }
    const priority = job.priority ?? 0
    const behind = this.#waiting.findLastIndex((other) => (other.job.priority ?? 0) <= priority)
    this.#waiting.splice(behind + 1, 0, task)
    return task
  }

  /** Takes a request out, wherever it is, and frees its blocks at once. False when it is not (or no longer) here. */
  abort(task: Task<K, J>): boolean {
    const queued = this.#waiting.indexOf(task)
    if (queued >= 0) {
      this.#waiting.splice(queued, 1)
      task.done = true
      return true
    }
    if (task.done) return false
    this.#leave(task)
    return true
  }

  /** Nothing happens for `ms` more: the running step ends later. */
  stall(now: number, ms: number): void {
    this.#stepEndsAt = (this.#stepEndsAt === Number.POSITIVE_INFINITY ? now : this.#stepEndsAt) + ms
  }

  /** Forgets the cache. False, and nothing done, while requests hold blocks. */
  reset(): boolean {
    return this.cache.reset()
  }

  /** Runs every step that ends by `now`, and starts one when there is work. */
  advance(now: number): void {
    if (this.#stepEndsAt === Number.POSITIVE_INFINITY) {
      // An idle engine started when the newest of those that wait came.
      const newest = this.#waiting.reduce((at, { queuedAt }) => Math.max(at, queuedAt), Number.NEGATIVE_INFINITY)
      this.#start(this.#waiting.length === 0 ? now : Math.min(now, newest))
    }
    while (this.#stepEndsAt <= now) {
      const endedAt = this.#stepEndsAt
      this.#stepEndsAt = Number.POSITIVE_INFINITY
      this.#finish(endedAt)
      this.#start(endedAt)
    }
  }

  #finish(now: number): void {
    const producing = this.#producing
    this.#producing = []
    for (const task of producing) {
      if (task.done) continue // Aborted while the step ran.
      task.generated++
      if (task.generated === task.job.outputTokens) this.#leave(task)
      this.#listener.token(task, now)
    }
    this.#listener.stepped?.(now)
  }

  #start(now: number): void {
    const work: TimeModel.StepWork = { prefillTokens: 0, prefillContext: 0, decodes: 0, decodeContext: 0 }
    let budget = this.#options.stepTokens
    const { blockSize } = this.#options
    for (const task of this.#running) {
      if (budget === 0) break
      if (task.generated === 0) {
        budget -= this.#prefill(task, budget, work)
        continue
      }
      // A decode: one token, the same work for all of them, many thousand times.
      const computed = ++task.computed
      budget--
      work.decodes++
      work.decodeContext += computed
      if (task.blocks.length * blockSize < computed) this.#grow(task)
      if (computed % blockSize === 0) this.#commit(task, computed / blockSize)
      this.#producing.push(task)
    }
    while (budget > 0 && this.#waiting.length > 0 && this.#running.length < this.#options.maxRunning) {
      const task = this.#waiting[0]!
      if (!this.#admit(task, now)) break
      this.#waiting.shift()
      this.#running.push(task)
      budget -= this.#prefill(task, budget, work)
    }
    if (budget < this.#options.stepTokens) {
      const loadMs = (this.#loadedTokens * (this.#options.loadUs ?? 0)) / 1e3
      this.#stepEndsAt = now + (TimeModel.stepMs(this.#options.rates, work) + loadMs) * this.slow
    }
    this.#loadedTokens = 0
  }

  /** Finds what is cached and promises the rest. False when the blocks are not there. */
  #admit(task: Task<K, J>, now: number): boolean {
    const { blockSize } = this.#options
    const { job } = task
    // One token at least is computed, or there would be nothing to sample from.
    const hittable = Math.floor((job.promptTokens - 1) / blockSize)
    /** Blocks to take over; -1 for one to copy back. */
    const hits: Array<number> = []
    let idle = 0
    let loads = 0
    for (let i = 0; i < hittable; i++) {
      const block = this.cache.find(this.#key(task, i))
      if (block >= 0) {
        if (this.#held[block] === 0) idle++
      } else if (this.#listener.loadable?.(task.keys[i]!) === true) loads++
      else break
      hits.push(block)
    }
    const fresh = this.#blocksOf(job) - hits.length
    if (fresh + loads + idle > this.#pinsMax - this.#pinned - this.#promised) return false
    for (const block of hits) if (block >= 0) this.#touch(block)
    this.#promised += fresh
    task.blocks.push(...hits)
    if (loads > 0) this.#load(task)
    this.#loadedTokens += task.loadedTokens
    task.committed = hits.length
    task.computed = hits.length * blockSize
    task.cachedTokens = task.computed
    task.admittedAt = now
    this.#listener.admitted?.(task, now)
    return true
  }

  /** Gives a device block to each of a task's blocks that has none, in order, and what lies below the device with it. */
  #load(task: Task<K, J>): void {
    const { blocks } = task
    for (let from = 0; from < blocks.length; from++) {
      if (blocks[from]! >= 0) continue
      let to = from
      for (; to < blocks.length && blocks[to]! < 0; to++) {
        blocks[to] = this.#allocate()
        this.cache.commit(blocks[to]!, task.keys[to]!)
      }
      task.loadedTokens += (to - from) * this.#options.blockSize
      this.#listener.stored(task, from, to)
      from = to
    }
  }

  /** Blocks a job ends with. The last token it generates is never computed. */
  #blocksOf(job: J): number {
    return Math.ceil((job.promptTokens + job.outputTokens - 1) / this.#options.blockSize)
  }

  /** Gives a task without a first token its share of the step. Answers the tokens it takes. */
  #prefill(task: Task<K, J>, budget: number, work: TimeModel.StepWork): number {
    const { promptTokens } = task.job
    const tokens = Math.min(promptTokens - task.computed, budget)
    work.prefillTokens += tokens
    work.prefillContext += TimeModel.attended(task.computed, tokens)
    task.computed += tokens
    this.#grow(task)
    this.#commit(task, Math.floor(task.computed / this.#options.blockSize))
    if (task.computed === promptTokens) this.#producing.push(task)
    return tokens
  }

  /** Takes the blocks that a task's tokens need. */
  #grow(task: Task<K, J>): void {
    while (task.blocks.length * this.#options.blockSize < task.computed) {
      task.blocks.push(this.#allocate())
      this.#promised--
    }
  }

  /** Makes blocks up to `full` hittable. */
  #commit(task: Task<K, J>, full: number): void {
    let from = task.committed
    for (let i = from; i < full; i++) {
      const key = this.#key(task, i)
      const held = this.#options.unique === true ? this.cache.find(key) : -1
      if (held < 0) {
        this.cache.commit(task.blocks[i]!, key)
        continue
      }
      this.#touch(held)
      this.#release([task.blocks[i]!])
      task.blocks[i] = held
      if (i > from) this.#listener.stored(task, from, i)
      from = i + 1
    }
    task.committed = full
    if (full > from) this.#listener.stored(task, from, full)
  }

  #key(task: Task<K, J>, index: number): K {
    if (index === task.keys.length) task.keys.push(task.job.key(index))
    return task.keys[index]!
  }

  #leave(task: Task<K, J>): void {
    task.done = true
    this.#running.splice(this.#running.indexOf(task), 1)
    this.#promised -= this.#blocksOf(task.job) - task.blocks.length
    this.#release(task.blocks)
  }

  #touch(block: number): void {
    if (this.#held[block]!++ === 0) this.#pinned++
    this.cache.touch(block)
  }

  #allocate(): number {
    const block = this.cache.allocate()
    this.#held[block] = 1
    this.#pinned++
    return block
  }

  #release(blocks: ReadonlyArray<number>): void {
    for (const block of blocks) if (--this.#held[block]! === 0) this.#pinned--
    this.cache.release(blocks)
  }
}
