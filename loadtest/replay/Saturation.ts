/**
 * The most a fleet could serve: requests per second when all of a trace is queued from the start, each engine takes the
 * next one as soon as none waits at it, and all share one cache. Loads are given as shares of this rate.
 */
import { BlockCache } from "../fleet/BlockCache.ts"
import { Scheduler } from "../fleet/Scheduler.ts"
import type { Job } from "../fleet/Task.ts"
import type { Fleet } from "./Profiles.ts"
import * as Trace from "./Trace.ts"

const answersFrom = 2 ** 51

/** Requests per second of exactly these, in their order. */
export const perSecond = ({ blockSize, requests }: Trace.Arrivals, fleet: Fleet): number => {
  const { blocks, workers } = fleet
  const pool = new BlockCache<number>(blocks * workers, () => {})
  const options = { ...fleet, blocks: blocks * workers, blockSize }
  const ignored = { stored: () => {}, removed: () => {}, token: () => {} }
  const engines = Array.from({ length: workers }, () => new Scheduler<number, Job<number>>(options, ignored, pool))
  let next = 0
  let answers = answersFrom
  const feed = (engine: (typeof engines)[number], nowMs: number): void => {
    while (engine.waiting === 0 && next < requests.length) {
      const { blocks, outputTokens, promptTokens } = requests[next++]!
      const key = (index: number): number => (index < blocks.length ? blocks[index]! : answers++)
      engine.add({ promptTokens, outputTokens, key }, nowMs)
      engine.advance(nowMs)
    }
  }
  for (const engine of engines) feed(engine, 0)
  for (let nowMs = 0; ; ) {
    let first = engines[0]!
    for (const engine of engines) if (engine.nextAt < first.nextAt) first = engine
    // With the tail, in which one engine after the other runs out of work: half a per cent of an hour and more.
    if (first.nextAt === Infinity) return requests.length / (nowMs / 1000)
    nowMs = first.nextAt
    first.advance(nowMs)
    feed(first, nowMs)
  }
}

/**
 * Copies of a trace at which a fleet is at `load` of its saturation. The rate depends on how many copies share the
 * cache, a little: two rounds settle it.
 */
export const copies = (
  trace: Trace.Arrivals,
  fleet: Fleet,
  load: number,
  random: () => number
): { readonly copies: number; readonly perSecond: number } => {
  const once = trace.requests.length / (trace.durationMs / 1000)
  let rate = 1.3 * fleet.workers
  let found = 0
  for (let round = 0; round < 2; round++) {
    rate = perSecond(Trace.copied(trace, Math.max(0.05, rate / once), random), fleet)
    found = (load * rate) / once
  }
  return { copies: found, perSecond: rate }
}
