/**
 * Engines as they are: when a request's first token would come, were it sent to one now and nothing after it.
 *
 * Nearly exact: prompts are prefilled first come, first served, a step's budget at a time, beside the decodes that run
 * now; and where device memory is short, running requests must end first, whose output lengths are known here. What a
 * waiting request will find cached is taken as it was when it came.
 */
import * as TimeModel from "../fleet/TimeModel.ts"
import type { Engine } from "./Replay.ts"
import type * as Strategy from "./Strategy.ts"
import type { Request } from "./Trace.ts"

export interface Truth extends Strategy.Truth {
  /** The request to be placed now. */
  readonly ask: (request: Request) => void
  /** Its leading tokens that a worker holds. */
  readonly heldTokens: (slot: number) => number
}

interface EngineOptions {
  readonly blockSize: number
  readonly pinsMax: number
  readonly stepTokens: number
  readonly rates: TimeModel.Rates
}

export const make = (engines: ReadonlyArray<Engine>, options: EngineOptions): Truth => {
  const { blockSize, pinsMax, rates, stepTokens } = options
  let asked: Request | null = null
  const held = new Map<unknown, number>()

  const heldTokens = (slot: number): number => {
    const { cache } = engines[slot]!
    const known = held.get(cache)
    if (known !== undefined) return known
    const { blocks, promptTokens } = asked!
    const most = Math.min(blocks.length, Math.floor((promptTokens - 1) / blockSize))
    let depth = 0
    while (depth < most && cache.find(blocks[depth]!) >= 0) depth++
    held.set(cache, depth * blockSize)
    return depth * blockSize
  }

  const blocksOf = (promptTokens: number, outputTokens: number, heldTokens: number): number =>
    Math.ceil((promptTokens + outputTokens - 1) / blockSize) - heldTokens / blockSize

  const ttftMs = (slot: number, nowMs: number): number => {
    const engine = engines[slot]!
    const { running, waiting } = engine.tasks
    const { outputTokens, promptTokens } = asked!
    const own = heldTokens(slot)
    let tokens = promptTokens - own
    let pairs = TimeModel.attended(own, tokens)
    let decodes = 0
    let decodeContext = 0
    for (const { computed, generated, job } of running) {
      if (generated > 0) {
        decodes++
        decodeContext += computed
        continue
      }
      const left = job.promptTokens - computed
      tokens += left
      pairs += TimeModel.attended(computed, left)
    }
    let missing = engine.pinned - pinsMax + blocksOf(promptTokens, outputTokens, own)
    for (const { job } of waiting) {
      const left = job.promptTokens - job.heldTokens
      tokens += left
      pairs += TimeModel.attended(job.heldTokens, left)
      missing += blocksOf(job.promptTokens, job.outputTokens, job.heldTokens)
    }
    const stepsLeft = Math.ceil(tokens / Math.max(1, stepTokens - decodes))
    const computeMs = (tokens * rates.tokenUs) / 1e3 + (pairs * rates.attentionNs) / 1e6
    const besideMs = rates.overheadMs + (decodeContext * rates.kvReadNs) / 1e6 + (decodes * rates.tokenUs) / 1e3
    const startMs = engine.nextAt === Infinity ? 0 : engine.nextAt - nowMs
    const prefillMs = startMs + Math.max(computeMs, stepsLeft * rates.floorMs) + stepsLeft * besideMs
    if (missing <= 0) return prefillMs
    const ends = running
      .map(({ blocks, generated, job }) => ({ blocks: blocks.length, left: job.outputTokens - generated }))
      .sort((a, b) => a.left - b.left)
    let tokensUntil = 0
    for (const { blocks, left } of ends) {
      tokensUntil = left
      missing -= blocks
      if (missing <= 0) break
    }
    const ownMs =
      ((promptTokens - own) * rates.tokenUs) / 1e3 +
      (TimeModel.attended(own, promptTokens - own) * rates.attentionNs) / 1e6
    return Math.max(prefillMs, startMs + tokensUntil * (rates.floorMs + besideMs) + ownMs)
  }

  return {
    ask: (request) => {
      asked = request
      held.clear()
    },
    asked: () => asked!,
    heldTokens,
    ttftMs
  }
}
