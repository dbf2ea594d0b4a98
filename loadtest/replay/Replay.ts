/**
 * A trace, a fleet of simulated engines and a router, in virtual time.
 *
 * Engines are `fleet/Scheduler.ts`; one loop runs whatever is next: the end of an engine's step or something on the
 * agenda. What an engine stores and evicts in a step is told when the step ends, as events are. No network, no tokenizer:
 * a request is at its engine, and a token at its client, in no time.
 */
import { BlockCache } from "../fleet/BlockCache.ts"
import { Scheduler } from "../fleet/Scheduler.ts"
import type { Job, Task } from "../fleet/Task.ts"
import * as TimeModel from "../fleet/TimeModel.ts"
import { Agenda } from "./Agenda.ts"
import { Figures, warmShare } from "./Figures.ts"
import type { Fleet } from "./Profiles.ts"
import type { Result } from "./Result.ts"
import * as Routing from "./Routing.ts"
import * as Sessions from "./Sessions.ts"
import type { Strategy } from "./Strategy.ts"
import type * as Trace from "./Trace.ts"
import * as Truth from "./Truth.ts"

export interface Options {
  readonly seed: number
  /** Sessions alive at once, in the whole fleet; for traces of sessions. */
  readonly live: number
  /** When it ends; requests still out then are left out. Arrivals end by themselves. */
  readonly durationMs: number
  /** What the router is told of caches; all, at once, when left out. */
  readonly knowledge?: Routing.Knowledge
  /**
   * Gives up once the p90 TTFT is sure to be above this: who looks for the best need not know the rest. Of sessions only
   * with `requestsMax`: so many of their requests count at most.
   */
  readonly giveUpMs?: number
  readonly requestsMax?: number
  /** Told now and then how far it is, 0 to 1. */
  readonly onProgress?: (share: number) => void
}

export interface Ran {
  readonly result: Result
  /** Mean over workers of capacity believed / true; null where events tell. */
  readonly capacity: number | null
  /** The p90 TTFT is above `giveUpMs`; the result is of what had been answered by then. */
  readonly gaveUp: boolean
}

export interface Sent extends Job<number> {
  readonly atMs: number
  readonly routed: Routing.Routed
  readonly request: Trace.Request
  readonly done: (nowMs: number) => void
  /** Prompt tokens its engine held when it was sent, where a bound asks. */
  heldTokens: number
  firstMs: number
}

export type Engine = Scheduler<number, Sent>

/** Ids of blocks that hold generated tokens begin here; nobody asks for them. */
const answersFrom = 2 ** 51
const progressEvery = 1_024

export const run = (trace: Trace.Trace, strategy: Strategy, fleet: Fleet, options: Options): Ran => {
  const { blockSize } = trace
  const { workers } = fleet
  const durationMs = Math.min(options.durationMs, trace.kind === "arrivals" ? trace.durationMs : Infinity)
  const agenda = new Agenda()
  const figures = new Figures(workers, durationMs)
  const cold = new Map<number, number>()
  const coldMs = (promptTokens: number): number => {
    const known = cold.get(promptTokens)
    if (known !== undefined) return known
    const ms = TimeModel.coldMs(fleet.rates, fleet.stepTokens, promptTokens)
    cold.set(promptTokens, ms)
    return ms
  }
  const pool = strategy.pooled === true ? new BlockCache<number>(fleet.blocks * workers, () => {}) : null
  const engineOptions = { ...fleet, blocks: pool === null ? fleet.blocks : fleet.blocks * workers, blockSize }
  const endsAt = new Float64Array(workers).fill(Infinity)
  let answers = answersFrom
  let late = 0

  const engines: Array<Engine> = Array.from({ length: workers }, (_, slot) => {
    /** What one step changed, in order: blocks of one chain, or those evicted. */
    let changes: Array<() => void> = []
    let evicted: Array<number> = []
    const flush = () => {
      const ids = evicted
      if (ids.length > 0) changes.push(() => router.removed(slot, ids))
      evicted = []
    }
    const engine: Engine = new Scheduler<number, Sent>(
      engineOptions,
      {
        stored: (task: Task<number, Sent>, from, to) => {
          if (!router.hears) return
          flush()
          const ids = task.keys.slice(from, to)
          const parent = from === 0 ? null : task.keys[from - 1]!
          changes.push(() => router.stored(slot, parent, ids))
        },
        removed: (id) => {
          if (router.hears && engine.cache.copies(id) === 0) evicted.push(id)
        },
        token: (task, now) => {
          const { job } = task
          if (task.generated === 1) {
            job.firstMs = now
            job.routed.firstByte(now)
            if (now - job.atMs > (options.giveUpMs ?? Infinity) && job.atMs >= durationMs * warmShare) late++
          }
          if (!task.done) return
          job.routed.settle(now, task.cachedTokens)
          figures.answered({
            slot,
            atMs: job.atMs,
            ttftMs: job.firstMs - job.atMs,
            e2eMs: now - job.atMs,
            promptTokens: job.promptTokens,
            cachedTokens: task.cachedTokens,
            predictedTokens: job.routed.predictedTokens,
            coldMs: coldMs(job.promptTokens)
          })
          job.done(now)
        },
        stepped: (now) => {
          flush()
          if (changes.length === 0) return
          const told = changes
          changes = []
          const tell = () => {
            for (const change of told) change()
          }
          if (lateMs > 0) agenda.add(now + lateMs, tell)
          else tell()
        }
      },
      ...(pool === null ? [] : [pool])
    )
    return engine
  })
  const lateMs = options.knowledge?.lateMs ?? 0
  const truth = Truth.make(engines, engineOptions)
  const router = Routing.make(strategy, {
    workers,
    blockSize,
    blocks: fleet.blocks,
    deviceBlocks: fleet.pinsMax,
    seed: options.seed,
    truth,
    knowledge: options.knowledge ?? Routing.everything,
    after: (nowMs, ms, run) => agenda.add(nowMs + ms, run)
  })

  const send = (request: Trace.Request, nowMs: number, done: (nowMs: number) => void): void => {
    truth.ask(request)
    const { blocks } = request
    router.route(request, nowMs, (routed, sentMs) => {
      const engine = engines[routed.slot]!
      engine.add(
        {
          promptTokens: request.promptTokens,
          outputTokens: request.outputTokens,
          key: (index) => (index < blocks.length ? blocks[index]! : answers++),
          atMs: nowMs,
          routed,
          request,
          done,
          heldTokens: strategy.kind === "bound" ? truth.heldTokens(routed.slot) : 0,
          firstMs: 0
        },
        sentMs
      )
      engine.advance(sentMs)
      endsAt[routed.slot] = engine.nextAt
    })
  }

  let toSend = 0
  let lateMax = (options.requestsMax ?? Infinity) / 10
  if (trace.kind === "arrivals") {
    const { requests } = trace
    lateMax = requests.filter(({ atMs }) => atMs >= durationMs * warmShare).length / 10
    toSend = requests.length
    let next = 0
    const arrive = (nowMs: number): void => {
      send(requests[next++]!, nowMs, () => {})
      toSend--
      if (next < requests.length) agenda.add(requests[next]!.atMs, arrive)
      if (next % progressEvery === 0) options.onProgress?.(next / requests.length)
    }
    if (requests.length > 0) agenda.add(requests[0]!.atMs, arrive)
  } else {
    Sessions.start(trace, agenda, { ...options, meetWithinMs: durationMs * warmShare * 0.75 }, send)
  }
  if (strategy.scrapeMs !== null) {
    const everyMs = strategy.scrapeMs
    const scrape = (nowMs: number): void => {
      for (const [slot, { running, waiting, usage }] of engines.entries()) {
        router.hint(slot, { running, waiting, kvUsage: usage }, nowMs)
      }
      if (toSend > 0 || trace.kind === "sessions") agenda.add(nowMs + everyMs, scrape)
    }
    agenda.add(everyMs, scrape)
  }

  let finishedMs = 0
  let told = 0
  while (late <= lateMax) {
    let first = 0
    for (let slot = 1; slot < workers; slot++) if (endsAt[slot]! < endsAt[first]!) first = slot
    const nextAt = Math.min(endsAt[first]!, agenda.nextAt)
    if (nextAt === Infinity || (trace.kind === "sessions" && nextAt > durationMs)) break
    if (endsAt[first]! <= nextAt) {
      engines[first]!.advance(nextAt)
      endsAt[first] = engines[first]!.nextAt
      finishedMs = nextAt
    } else agenda.next()
    if (trace.kind === "sessions" && nextAt > told + durationMs / 100) {
      told = nextAt
      options.onProgress?.(nextAt / durationMs)
    }
  }
  for (const [slot, engine] of engines.entries()) {
    const { running, waiting } = engine.tasks
    for (const { job } of [...running, ...waiting]) figures.unfinished(slot, job.atMs)
  }
  const believed = router.capacityBlocks().map((each) => each / fleet.blocks)
  return {
    result: figures.result(strategy.name, options.seed, finishedMs),
    capacity: believed.length === 0 ? null : believed.reduce((a, b) => a + b, 0) / believed.length,
    gaveUp: late > lateMax
  }
}
