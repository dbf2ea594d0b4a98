/** The same traffic, the same engines: every strategy live, in real processes, and in virtual time. */
import * as TimeModel from "../../fleet/TimeModel.ts"
import * as Random from "../../Random.ts"
import type { Fleet } from "../Profiles.ts"
import * as Replay from "../Replay.ts"
import type { Result } from "../Result.ts"
import type { Strategy } from "../Strategy.ts"
import type { Trace } from "../Trace.ts"
import * as Live from "./Live.ts"
import { moved } from "./Moved.ts"
import * as Stage from "./Stage.ts"

export interface Scene {
  readonly trace: Trace
  readonly fleet: Fleet
  readonly durationMs: number
  /** Sessions alive at once. */
  readonly live: number
  readonly seed: number
  readonly speed: number
  /** Runs in virtual time besides the first, each with every request up to `movedMs` later. */
  readonly others: number
  /** Routers, and the server they share. */
  readonly replicas: number
  readonly nats: string | null
}

export interface Proven {
  readonly live: Result
  /** The first of exactly the same requests. */
  readonly offline: readonly [Result, ...ReadonlyArray<Result>]
  readonly problem: string | null
  readonly lateMsP99: number
  /** Cores used, on average: 1 is one core all the time. */
  readonly cores: { readonly engines: number; readonly router: number; readonly sender: number }
}

/** A few real ms are what a live run is off by. */
const movedMs = 5

export const prove = async (
  scene: Scene,
  strategy: Strategy,
  onProgress: (share: number) => void = () => {}
): Promise<Proven> => {
  const { durationMs, fleet, live, nats, others, replicas, seed, speed, trace } = scene
  const offlineOf = (each: Trace): Result => Replay.run(each, strategy, fleet, { seed, live, durationMs }).result
  const offline: Proven["offline"] = [
    offlineOf(trace),
    ...Array.from({ length: others }, (_, i) =>
      offlineOf(moved(trace, movedMs * speed, Random.make(Random.mix(seed, [i]))))
    )
  ]
  return Stage.use({ strategy, fleet, blockSize: trace.blockSize, speed, seed, replicas, nats }, async (stage) => {
    const { model, url, workers } = stage
    const before = await stage.cpuUs()
    const own = process.cpuUsage()
    const fromMs = performance.now()
    const played = await Live.replay(trace, {
      ...{ url, model, workers, seed, speed, durationMs, live, onProgress },
      strategy: strategy.name,
      coldMs: (tokens) => TimeModel.coldMs(fleet.rates, fleet.stepTokens, tokens)
    })
    const us = (performance.now() - fromMs) * 1000
    const sender = process.cpuUsage(own)
    const after = await stage.cpuUs()
    const { predicted, tooFew, tooMany } = await stage.predictions()
    return {
      ...played,
      live: { ...played.result, tooMany: tooMany / Math.max(1, predicted), tooFew: tooFew / Math.max(1, predicted) },
      offline,
      cores: {
        engines: (after.engines - before.engines) / us,
        router: (after.router - before.router) / us,
        sender: (sender.user + sender.system) / us
      }
    }
  })
}
