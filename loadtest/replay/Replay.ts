/**
 * A trace, a fleet of simulated engines and a router, in virtual time.
 *
 * Engines are `fleet/Scheduler.ts`; one loop runs whatever is next: the end of an engine's step or something on the
 * agenda. What an engine stores and evicts in a step is told when the step ends, as events are. No network, no tokenizer:
 * a request is at its engine, and a token at its client, in no time.
 */

import { percentile } from "../client/Stats.ts"
import { Scheduler } from "../fleet/Scheduler.ts"
import type { Job, Task } from "../fleet/Task.ts"
import type * as TimeModel from "../fleet/TimeModel.ts"
import { Agenda } from "./Agenda.ts"
import * as Sessions from "./Sessions.ts"
import type * as Trace from "./Trace.ts"

/** How the router is set up, and what it is allowed to know. */
export interface Mode {
  readonly name: string
  readonly policy: "eta" | "round-robin"
  readonly view: "events" | "model"
  /** Blocks a worker is said to have, per true one; null when it does not say. */
  readonly told: number | null
  /** Answers say how many prompt tokens came from the cache. */
  readonly reports: boolean
  /** Share of a modelled overlap to believe at most; null as production has it. */
  readonly credit: number | null
}

/** One request at one worker. */
export interface Routed {
  readonly slot: number
  /** Prompt tokens the worker was thought to hold. */
  readonly predictedTokens: number
  readonly firstByte: (nowMs: number) => void
  readonly settle: (nowMs: number, cachedTokens: number) => void
}

/** A router: ids as in the trace. */
export interface Router {
  readonly route: (request: Trace.Request, nowMs: number) => Routed
  /** A worker computed a chain behind a block, or null. */
  readonly stored: (slot: number, parent: number | null, ids: ReadonlyArray<number>) => void
  readonly removed: (slot: number, ids: ReadonlyArray<number>) => void
  /** Believed, by worker, where a model stands in. */
  readonly capacityBlocks: () => ReadonlyArray<number>
}

/** Engines, all alike. */
export interface Fleet {
  readonly workers: number
  /** Blocks of each one's cache, of the trace's size. */
  readonly blocks: number
  readonly rates: TimeModel.Rates
  readonly stepTokens: number
  readonly maxRunning: number
}

export interface Options {
  readonly seed: number
  /** Sessions alive at once, in the whole fleet; for traces of sessions. */
  readonly live: number
  /** When it ends; requests still out then are left out. Arrivals end by themselves. */
  readonly durationMs: number
}

export interface Result {
  readonly mode: string
  /** After the first fifth of the time. */
  readonly requests: number
  readonly ttftMsP50: number
  readonly ttftMsP90: number
  readonly ttftMsMean: number
  /** Share of prompt tokens taken from a cache. */
  readonly hitRate: number
  /** Tokens predicted to be cached that were not, and cached that were not predicted, over tokens predicted. */
  readonly tooMany: number
  readonly tooFew: number
  /** Mean over workers of capacity believed / true; null where events tell. */
  readonly capacity: number | null
  /** Requests per second that were finished. */
  readonly perSecond: number
}

interface Sent extends Job<number> {
  readonly atMs: number
  readonly routed: Routed
  readonly done: (nowMs: number) => void
}

/** The part of the time left out: caches fill and rates are learned. */
const warmShare = 0.2
/** Ids of blocks that hold generated tokens begin here; nobody asks for them. */
const answersFrom = 2 ** 51

export const run = (
  trace: Trace.Trace,
  mode: Mode,
  makeRouter: (mode: Mode, workers: number, blockSize: number, blocks: number) => Router,
  fleet: Fleet,
  options: Options
): Result => {
  const { blockSize } = trace
  const durationMs = Math.min(options.durationMs, trace.kind === "arrivals" ? trace.durationMs : Infinity)
  const router = makeRouter(mode, fleet.workers, blockSize, fleet.blocks)
  const agenda = new Agenda()
  const ttftMs: Array<number> = []
  let promptTokens = 0
  let cachedTokens = 0
  let predictedTokens = 0
  let tooMany = 0
  let tooFew = 0
  let answers = answersFrom

  const engines = Array.from({ length: fleet.workers }, (_, slot) => {
    /** What one step changed, in order: blocks of one chain, or those evicted. */
    let changes: Array<() => void> = []
    let evicted: Array<number> = []
    const flush = () => {
      const ids = evicted
      if (ids.length > 0) changes.push(() => router.removed(slot, ids))
      evicted = []
    }
    const engine: Scheduler<number, Sent> = new Scheduler<number, Sent>(
      { ...fleet, blockSize },
      {
        stored: (task: Task<number, Sent>, from, to) => {
          flush()
          const ids = task.keys.slice(from, to)
          const parent = from === 0 ? null : task.keys[from - 1]!
          changes.push(() => router.stored(slot, parent, ids))
        },
        removed: (id) => {
          if (engine.cache.copies(id) === 0) evicted.push(id)
        },
        token: (task, now) => {
          const { job } = task
          if (task.generated === 1) {
            job.routed.firstByte(now)
            if (job.atMs >= durationMs * warmShare) {
              ttftMs.push(now - job.atMs)
              promptTokens += job.promptTokens
              cachedTokens += task.cachedTokens
              predictedTokens += job.routed.predictedTokens
              tooMany += Math.max(0, job.routed.predictedTokens - task.cachedTokens)
              tooFew += Math.max(0, task.cachedTokens - job.routed.predictedTokens)
            }
          }
          if (!task.done) return
          job.routed.settle(now, task.cachedTokens)
          job.done(now)
        },
        stepped: () => {
          flush()
          for (const change of changes) change()
          changes = []
        }
      }
    )
    return engine
  })

  const send = (request: Trace.Request, nowMs: number, done: (nowMs: number) => void): void => {
    const routed = router.route(request, nowMs)
    const { blocks } = request
    const engine = engines[routed.slot]!
    engine.add(
      {
        promptTokens: request.promptTokens,
        outputTokens: request.outputTokens,
        key: (index) => (index < blocks.length ? blocks[index]! : answers++),
        atMs: nowMs,
        routed,
        done
      },
      nowMs
    )
    engine.advance(nowMs)
  }

  if (trace.kind === "arrivals") {
    const { requests } = trace
    let at = 0
    const arrive = (nowMs: number): void => {
      send(requests[at++]!, nowMs, () => {})
      if (at < requests.length) agenda.add(requests[at]!.atMs, arrive)
    }
    if (requests.length > 0) agenda.add(requests[0]!.atMs, arrive)
  } else Sessions.start(trace, agenda, { ...options, meetWithinMs: durationMs * warmShare * 0.75 }, send)

  let finishedMs = 0
  for (;;) {
    let nextAt = agenda.nextAt
    for (const engine of engines) if (engine.nextAt < nextAt) nextAt = engine.nextAt
    if (nextAt === Infinity || (trace.kind === "sessions" && nextAt > durationMs)) break
    for (const engine of engines) if (engine.nextAt <= nextAt) engine.advance(nextAt)
    while (agenda.nextAt <= nextAt) agenda.next()
    finishedMs = nextAt
  }
  const capacities = router.capacityBlocks().map((each) => each / fleet.blocks)
  return {
    mode: mode.name,
    requests: ttftMs.length,
    ttftMsP50: percentile(ttftMs, 0.5) ?? 0,
    ttftMsP90: percentile(ttftMs, 0.9) ?? 0,
    ttftMsMean: ttftMs.reduce((total, ms) => total + ms, 0) / Math.max(1, ttftMs.length),
    hitRate: cachedTokens / Math.max(1, promptTokens),
    tooMany: tooMany / Math.max(1, predictedTokens),
    tooFew: tooFew / Math.max(1, predictedTokens),
    capacity: capacities.length === 0 ? null : capacities.reduce((a, b) => a + b, 0) / capacities.length,
    perSecond: ttftMs.length / Math.max(1e-9, (finishedMs - durationMs * warmShare) / 1000)
  }
}
