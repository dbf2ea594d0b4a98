/**
 * What a fleet's caches hold, as events in the order they would come: seeded, so every run is the same.
 *
 * Conversations start with one of many shared system prompts of 32 blocks and add 16 to 256 blocks of their own in turns
 * of 16; 1 024 go on at a time, mixed; a quarter of them also live, in part, on a second worker. Beside them stand query
 * chains of 128, 1 024 and 8 192 blocks whose first 4 blocks every worker holds.
 */
import type { KeyLanes } from "../../src/domain/Block.ts"

export const DEPTHS = [128, 1_024, 8_192] as const

export interface Workload {
  /** Every key once, chain by chain. */
  readonly keys: KeyLanes
  readonly blocks: number
  /** Events, four words each: worker, index of the parent key or -1, first key, count. */
  readonly events: Int32Array
  /** Removals in the same form (the parent is unused): tails first, about a fifth of all conversations. */
  readonly removals: KeyLanes
  readonly removalEvents: Int32Array
  /** Complete chains to ask for, by depth: `count` chains of `depth` keys. */
  readonly queries: ReadonlyArray<{ readonly depth: number; readonly count: number; readonly keys: KeyLanes }>
}

const TURN = 16
const SYSTEM = 32
const SHARED = 4
const OPEN = 1_024
const REMOVE_BATCH = 64

export const generate = (blocksWanted: number, workers: number, seed = 1): Workload => {
  let state = seed
  const word = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return x ^ (x >>> 14)
  }
  const below = (limit: number): number => (word() >>> 0) % limit

  // Random 64-bit keys are chained by position alone: what matters to an index is which blocks follow which.
  const keys = new Int32Array((blocksWanted + 70_000) * 2)
  let blocks = 0
  const fresh = (count: number): number => {
    const first = blocks
    for (let i = 0; i < count; i++, blocks++) {
      keys[blocks * 2] = word()
      keys[blocks * 2 + 1] = word()
    }
    return first
  }
  const events: Array<number> = []
  const removalEvents: Array<number> = []
  const removalIndex: Array<number> = []

  // Query chains, about 5 % of all blocks for each depth.
  const depths = DEPTHS.filter((depth) => depth * 3 <= blocksWanted / 20 || depth === DEPTHS[0])
  const queries: Array<{ depth: number; count: number; keys: KeyLanes }> = []
  const asked: Array<{ worker: number; parent: number; next: number; end: number }> = []
  const heads = Array.from({ length: 16 }, () => fresh(SHARED))
  for (const head of heads) for (let worker = 0; worker < workers; worker++) events.push(worker, -1, head, SHARED)
  for (const depth of depths) {
    const count = Math.max(2, Math.floor(blocksWanted / 20 / depth))
    const lanes = new Int32Array(count * depth * 2)
    for (let i = 0; i < count; i++) {
      const head = heads[below(heads.length)]!
      const first = fresh(depth - SHARED)
      asked.push({ worker: below(workers), parent: head + SHARED - 1, next: first, end: blocks })
      lanes.set(keys.subarray(head * 2, (head + SHARED) * 2), i * depth * 2)
      lanes.set(keys.subarray(first * 2, blocks * 2), (i * depth + SHARED) * 2)
    }
    queries.push({ depth, count, keys: lanes })
  }

  const prompts = Array.from({ length: Math.max(4, Math.floor(blocksWanted / 20_000)) }, () => fresh(SYSTEM))
  const hasPrompt = new Set<number>()
  const open: Array<{ worker: number; parent: number; next: number; end: number; second: number; first: number }> = []
  const begin = (): void => {
    const waiting = asked.length > 0 && below(4) === 0 ? asked.pop() : undefined
    if (waiting !== undefined) {
      open.push({ ...waiting, second: -1, first: -1 })
      return
    }
    const prompt = below(prompts.length)
    const worker = below(workers)
    if (!hasPrompt.has(prompt * workers + worker)) {
      hasPrompt.add(prompt * workers + worker)
      events.push(worker, -1, prompts[prompt]!, SYSTEM)
    }
    const first = fresh(TURN * (1 + below(16)))
    const second = below(4) === 0 ? below(workers) : -1
    if (second >= 0 && !hasPrompt.has(prompt * workers + second)) {
      hasPrompt.add(prompt * workers + second)
      events.push(second, -1, prompts[prompt]!, SYSTEM)
    }
    open.push({ worker, parent: prompts[prompt]! + SYSTEM - 1, next: first, end: blocks, second, first })
  }
  while (open.length < OPEN && blocks < blocksWanted) begin()
  while (open.length > 0) {
    const at = below(open.length)
    const chain = open[at]!
    const count = Math.min(TURN, chain.end - chain.next)
    events.push(chain.worker, chain.parent, chain.next, count)
    chain.parent = chain.next + count - 1
    chain.next += count
    if (chain.next < chain.end) continue
    open[at] = open[open.length - 1]!
    open.pop()
    if (chain.second >= 0) {
      const shared = TURN * (1 + below((chain.end - chain.first) / TURN))
      for (let i = chain.first; i < chain.first + shared; i += TURN) {
        events.push(chain.second, i === chain.first ? -1 : i - 1, i, TURN)
      }
    } else if (chain.first >= 0 && below(4) === 0) {
      for (let end = chain.end; end > chain.first; end -= REMOVE_BATCH) {
        const size = Math.min(REMOVE_BATCH, end - chain.first)
        removalEvents.push(chain.worker, -1, removalIndex.length, size)
        for (let i = 1; i <= size; i++) removalIndex.push(end - i)
      }
    }
    if (blocks < blocksWanted) begin()
    while (blocks >= blocksWanted && asked.length > 0) open.push({ ...asked.pop()!, second: -1, first: -1 })
  }
  const removals = new Int32Array(removalIndex.length * 2)
  for (let i = 0; i < removalIndex.length; i++) {
    removals[i * 2] = keys[removalIndex[i]! * 2]!
    removals[i * 2 + 1] = keys[removalIndex[i]! * 2 + 1]!
  }
  return {
    keys: keys.subarray(0, blocks * 2),
    blocks,
    events: Int32Array.from(events),
    removals,
    removalEvents: Int32Array.from(removalEvents),
    queries
  }
}
