/**
 * A fleet in a few lines, in virtual time: each worker computes prompts one after the other, keeps blocks in an LRU
 * cache of its own, and decodes beside that. The router in front is the real ledger; its index is the true caches.
 *
 * A block is a number that names it and all before it, as a chained hash does.
 */
import * as Ledger from "../../actors/Ledger.ts"
import type * as Policies from "../../src/hot/Policies.ts"

export interface SimRequest {
  readonly atMs: number
  readonly blocks: ReadonlyArray<number>
  readonly outputTokens: number
  /** Lower goes first, on workers that serve by it. 0 when left out. */
  readonly priority?: number
}

export interface SimFleet {
  readonly workers: number
  readonly blockSize: number
  readonly capacityBlocks: number
  readonly requestMs: number
  readonly tokenMs: number
  readonly pairMs: number
  readonly decodeMs: number
  /** By slot: prefill takes so many times as long. 1 where left out. */
  readonly slow?: ReadonlyArray<number>
  /** Workers serve by priority: `told` when the router knows. By arrival when left out. */
  readonly byPriority?: "told" | "untold"
  /** By slot: so much of the cache. 1 where left out. */
  readonly cacheShare?: ReadonlyArray<number>
}

export interface SimResult {
  /** In the order of the requests. */
  readonly ttftMs: ReadonlyArray<number>
  readonly ttftMsMean: number
  readonly ttftMsP90: number
  /** Share of prompt blocks taken from a cache. */
  readonly hitRate: number
  readonly requests: ReadonlyArray<number>
  readonly slots: ReadonlyArray<number>
  /** Time spent on prefill, by slot. */
  readonly busyMs: ReadonlyArray<number>
  /** Greatest prefill time of a worker over the mean. */
  readonly imbalance: number
  readonly snapshot: Ledger.Snapshot
}

interface Job {
  readonly index: number
  readonly request: SimRequest
  readonly booking: Ledger.Booking
}

interface Worker {
  readonly cache: Set<number>
  readonly capacityBlocks: number
  readonly slow: number
  readonly queue: Array<Job>
  busy: boolean
  busyMs: number
  requests: number
}

const overlapOf = (cache: Set<number>, blocks: ReadonlyArray<number>): number => {
  let depth = 0
  while (depth < blocks.length && cache.has(blocks[depth]!)) depth++
  return depth
}

/** Least recently used first; of one prompt the tail is older than the head, as engines free it. */
const store = (cache: Set<number>, blocks: ReadonlyArray<number>, capacity: number): void => {
  for (let i = blocks.length - 1; i >= 0; i--) {
    cache.delete(blocks[i]!)
    cache.add(blocks[i]!)
  }
  for (const block of cache) {
    if (cache.size <= capacity) break
    cache.delete(block)
  }
}

export const keysOf = (blocks: ReadonlyArray<number>): Int32Array => {
  const keys = new Int32Array(blocks.length * 2)
  blocks.forEach((block, i) => {
    keys[2 * i] = Math.imul(block + 1, 0x9e3779b1)
    keys[2 * i + 1] = Math.imul(block + 1, 0x85ebca6b) ^ 0x5bd1e995
  })
  return keys
}

export const run = (policy: Policies.Name, fleet: SimFleet, requests: ReadonlyArray<SimRequest>): SimResult => {
  const { blockSize, workers: count } = fleet
  const ledger = Ledger.make({ policy, workersMax: count })
  const workers: Array<Worker> = []
  for (let slot = 0; slot < count; slot++) {
    const capacityBlocks = Math.floor(fleet.capacityBlocks * (fleet.cacheShare?.[slot] ?? 1))
    ledger.join(slot, capacityBlocks * blockSize)
    if (fleet.byPriority === "told") ledger.setPriority(slot, 0)
    const slow = fleet.slow?.[slot] ?? 1
    workers.push({ cache: new Set(), capacityBlocks, slow, queue: [], busy: false, busyMs: 0, requests: 0 })
  }
  const ttftMs = new Array<number>(requests.length)
  const slots: Array<number> = []
  let hitBlocks = 0
  let blocks = 0
  const agenda = new Agenda()

  const rankOf = ({ request }: Job): number => (fleet.byPriority === undefined ? 0 : (request.priority ?? 0))
  const begin = (worker: Worker, nowMs: number): void => {
    const first = Math.min(...worker.queue.map(rankOf))
    const job = worker.queue.splice(
      worker.queue.findIndex((queued) => rankOf(queued) === first),
      1
    )[0]
    worker.busy = job !== undefined
    if (job === undefined) return
    const { request } = job
    const promptTokens = request.blocks.length * blockSize
    const depth = overlapOf(worker.cache, request.blocks)
    const uncached = Math.max(1, promptTokens - depth * blockSize)
    const pairs = uncached * (promptTokens - uncached / 2)
    const ms = worker.slow * (fleet.requestMs + fleet.tokenMs * uncached + fleet.pairMs * pairs)
    hitBlocks += depth
    blocks += request.blocks.length
    worker.busyMs += ms
    agenda.add(nowMs + ms, (doneMs) => {
      store(worker.cache, request.blocks, worker.capacityBlocks)
      ttftMs[job.index] = doneMs - request.atMs
      job.booking.firstByte(doneMs)
      agenda.add(doneMs + request.outputTokens * fleet.decodeMs, (endMs) =>
        job.booking.settle(endMs, {
          outputTokens: request.outputTokens,
          cachedTokens: depth * blockSize,
          outcome: "complete"
        })
      )
      begin(worker, doneMs)
    })
  }

  requests.forEach((request, index) => {
    agenda.add(request.atMs, (nowMs) => {
      const cachedTokens = Uint32Array.from(workers, (worker) => overlapOf(worker.cache, request.blocks) * blockSize)
      const promptTokens = request.blocks.length * blockSize
      const ask = {
        cachedTokens,
        heldTokens: cachedTokens,
        promptTokens,
        keys: keysOf(request.blocks),
        blockSize,
        priority: request.priority ?? null,
        eligible: null
      }
      const slot = ledger.place(ask, nowMs)
      const worker = workers[slot]!
      worker.queue.push({ index, request, booking: ledger.book(slot, ask, true, nowMs) })
      worker.requests++
      slots.push(slot)
      if (!worker.busy) begin(worker, nowMs)
    })
  })
  const endMs = agenda.run()
  const busyMean = workers.reduce((sum, worker) => sum + worker.busyMs, 0) / count
  return {
    ttftMs,
    ttftMsMean: ttftMs.reduce((sum, ms) => sum + ms, 0) / ttftMs.length,
    ttftMsP90: [...ttftMs].sort((a, b) => a - b)[Math.floor(ttftMs.length * 0.9)]!,
    hitRate: hitBlocks / blocks,
    requests: workers.map((worker) => worker.requests),
    slots,
    busyMs: workers.map((worker) => worker.busyMs),
    imbalance: Math.max(...workers.map((worker) => worker.busyMs)) / busyMean,
    snapshot: ledger.snapshot(endMs)
  }
}

/** What happens when: a binary heap by time, then by order of adding. */
class Agenda {
  readonly #heap: Array<{ readonly atMs: number; readonly order: number; readonly act: (nowMs: number) => void }> = []
  #order = 0

  add(atMs: number, act: (nowMs: number) => void): void {
    const heap = this.#heap
    heap.push({ atMs, order: this.#order++, act })
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1
      if (!this.#before(i, parent)) break
      this.#swap(i, parent)
      i = parent
    }
  }

  run(): number {
    const heap = this.#heap
    let nowMs = 0
    while (heap.length > 0) {
      const { act, atMs } = heap[0]!
      const last = heap.pop()!
      if (heap.length > 0) {
        heap[0] = last
        this.#sink()
      }
      nowMs = atMs
      act(nowMs)
    }
    return nowMs
  }

  #sink(): void {
    const size = this.#heap.length
    for (let i = 0; ; ) {
      let least = i
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < size && this.#before(child, least)) least = child
      }
      if (least === i) return
      this.#swap(i, least)
      i = least
    }
  }

  #before(a: number, b: number): boolean {
    const x = this.#heap[a]!
    const y = this.#heap[b]!
    return x.atMs < y.atMs || (x.atMs === y.atMs && x.order < y.order)
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap
    const held = heap[a]!
    heap[a] = heap[b]!
    heap[b] = held
  }
}
