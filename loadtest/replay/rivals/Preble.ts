/**
 * Preble's E2, exploitation and exploration (Srivatsa et al., "Preble: Efficient Distributed Prompt Scheduling for LLM
 * Serving", 2024).
 *
 * It remembers what it sent where. A prompt of which some worker holds more than half goes to the worker that holds
 * most of it; any other to the least cost, in ms: the work sent there within a window, prefill and decode, what it
 * would evict there by how often that was used, and its own prefill there. When the most loaded worker has more than
 * `imbalance` times the work of the least loaded, what would go to the former for its cache goes to the latter.
 *
 * Left out: a prefix that has become too popular for one worker is not copied ahead of demand.
 */
import * as Random from "../../Random.ts"
import * as Pick from "./Pick.ts"
import { PlacedPrefixes } from "./PlacedPrefixes.ts"
import type { Asked, Make, Setting } from "./Rival.ts"

interface Dials {
  readonly windowMs: number
  readonly imbalance: number
}

/** Profiled beforehand, as Preble has it: about 13 000 tokens a second on either hardware that replays stand for. */
const prefillMsPerToken = 0.075
/** Of the blocks that would be evicted, so many are looked at, and stand for the rest. */
const evictedSeen = 4
/** How fast the mean of decode times follows. */
const decodeShare = 0.02

const make =
  ({ imbalance, windowMs }: Dials): Make =>
  ({ blockSize, capacityTokens, seed, sent, workers }) => {
    const random = Random.make(seed)
    const keptBlocks = Math.max(1, Math.floor(capacityTokens / blockSize))
    const prefixes = new PlacedPrefixes(workers, keptBlocks)
    const matched = new Uint32Array(workers)
    let matchedKeys: Int32Array | null = null
    const window = new Window(workers, windowMs)
    const costs = new Float64Array(workers)
    const candidates = new Uint8Array(workers)
    const decoding = new Map<Asked, number>()
    let decodeMs = 0

    const match = ({ blocks, keys }: Asked): void => {
      prefixes.match(keys, blocks, matched)
      matchedKeys = keys
    }

    const prefillMs = ({ promptTokens }: Asked, slot: number): number =>
      Math.max(1, promptTokens - matched[slot]! * blockSize) * prefillMsPerToken

    const evictMs = ({ blocks }: Asked, slot: number, nowMs: number): number => {
      const evicted = prefixes.size(slot) + blocks - matched[slot]! - keptBlocks
      if (evicted <= 0) return 0
      const seen = Math.min(evicted, evictedSeen)
      const used = prefixes.usedSince(slot, seen, nowMs - windowMs) / seen
      return (used * evicted * blockSize * prefillMsPerToken) / Math.max(1, window.requests[slot]!)
    }

    const exploit = (eligible: Uint8Array, longest: number): number => {
      for (let slot = 0; slot < workers; slot++) candidates[slot] = matched[slot] === longest ? eligible[slot]! : 0
      const slot = Pick.lowestAtRandom(window.workMs, candidates, random)
      const least = Pick.lowestAtRandom(window.workMs, eligible, random)
      for (let other = 0; other < workers; other++) {
        if (eligible[other] === 1 && window.workMs[other]! > window.workMs[slot]!) return slot
      }
      return window.workMs[slot]! > imbalance * window.workMs[least]! ? least : slot
    }

    return {
      place: (asked, nowMs) => {
        const { eligible } = asked
        window.advance(nowMs)
        match(asked)
        let longest = 0
        for (let slot = 0; slot < workers; slot++) {
          if (eligible[slot] === 1 && matched[slot]! > longest) longest = matched[slot]!
        }
        if (longest * blockSize * 2 > asked.promptTokens) return exploit(eligible, longest)
        for (let slot = 0; slot < workers; slot++) {
          costs[slot] = window.workMs[slot]! + evictMs(asked, slot, nowMs) + prefillMs(asked, slot)
        }
        return Pick.lowestAtRandom(costs, eligible, random)
      },
      booked: (asked, slot, nowMs) => {
        // Mostly it was placed just now.
        if (asked.keys !== matchedKeys) match(asked)
        matchedKeys = null
        window.add(slot, prefillMs(asked, slot) + decodeMs, nowMs)
        prefixes.add(slot, asked.keys, asked.blocks, nowMs)
      },
      firstToken: (asked, _, nowMs) => void decoding.set(asked, nowMs),
      ended: (asked, slot, nowMs) => {
        const sinceMs = decoding.get(asked)
        if (sinceMs === undefined) return
        decoding.delete(asked)
        // Requests decode side by side: of a worker's time one takes its share.
        const ownMs = (nowMs - sinceMs) / (sent.outstanding[slot]! + 1)
        decodeMs += (decodeMs === 0 ? 1 : decodeShare) * (ownMs - decodeMs)
      }
    }
  }

/** By slot: requests sent within a time, and their work. */
class Window {
  readonly requests: Int32Array
  readonly workMs: Float64Array
  readonly #windowMs: number
  #first = 0
  #sent: Array<{ readonly slot: number; readonly workMs: number; readonly atMs: number }> = []

  constructor(workers: number, windowMs: number) {
    this.requests = new Int32Array(workers)
    this.workMs = new Float64Array(workers)
    this.#windowMs = windowMs
  }

  add(slot: number, workMs: number, atMs: number): void {
    this.#sent.push({ slot, workMs, atMs })
    this.requests[slot]!++
    this.workMs[slot]! += workMs
  }

  advance(nowMs: number): void {
    for (; this.#first < this.#sent.length; this.#first++) {
      const { atMs, slot, workMs } = this.#sent[this.#first]!
      if (atMs > nowMs - this.#windowMs) break
      // Sums of what comes and goes drift: nothing left is nothing.
      this.workMs[slot] = --this.requests[slot]! === 0 ? 0 : this.workMs[slot]! - workMs
    }
    if (this.#first < 65_536) return
    this.#sent = this.#sent.slice(this.#first)
    this.#first = 0
  }
}

export const settings: ReadonlyArray<Setting> = [
  {
    name: "preble",
    about: "Preble's E2: window 180 s, rebalances above 2 times",
    isDefault: true,
    scrapeMs: null,
    make: make({ windowMs: 180_000, imbalance: 2 })
  },
  {
    name: "preble-600s",
    about: "Preble's E2: window 600 s, rebalances above 2 times",
    isDefault: false,
    scrapeMs: null,
    make: make({ windowMs: 600_000, imbalance: 2 })
  }
]
