/** Job: what one thread does in one go. A cell under one seed, so that each rival need only be compared with the best so far. */
import * as Replay from "../replay/Replay.ts"
import type { Result } from "../replay/Result.ts"
import * as Strategies from "../replay/Strategies.ts"
import type { Strategy } from "../replay/Strategy.ts"
import type { Cell } from "./Cell.ts"
import * as Disturbances from "./Disturbances.ts"
import type { Figure, Outcome, RivalFigure } from "./Outcome.ts"
import type { Traffic } from "./Traffic.ts"

export interface Job {
  readonly cell: Cell
  readonly seed: number
  /** Requests per second at saturation; null for sessions. */
  readonly perSecond: number | null
  /** Bounds to run; "pooled-cache" is what goals compare with. */
  readonly bounds: ReadonlyArray<string>
  readonly disturbances: ReadonlyArray<string>
  /** The likely best first. */
  readonly rivals: ReadonlyArray<string>
  /** Rivals give up above so many times the best so far; defaults above the best default's, if `keepsDefaults`. Null: never. */
  readonly margin: number | null
  readonly keepsDefaults: boolean
}

/** No goal asks to be further ahead than this, so neither is a rival beyond it of interest. */
const aheadMax = 4

/** The same sessions send fewer requests the longer they wait: those of a slower router are no more than ours, by far. */
const requestsMost = 1.25
/**
 * Of as many requests as ours answered a tenth were not even sent, since the answers before them did not come: over the
 * same number its p90 is above anything, however soon the others were answered.
 */
const requestsLeast = 0.9

const figure = (name: string, { e2eMs, hitRate, inTime, ttftMs }: Result, aboveMs: number | null): Figure => ({
  name,
  p90Ms: aboveMs ?? ttftMs.p90,
  isAbove: aboveMs !== null,
  hitRate,
  inTime,
  e2eMsMean: e2eMs.mean
})

/** `onProgress`: 0 to 1. */
export const run = (job: Job, traffic: Traffic, onProgress: (share: number) => void): Outcome => {
  const { bounds, cell, disturbances, keepsDefaults, margin, rivals, seed } = job
  const { trace, fleet, ...staged } = traffic.stage(cell, job.perSecond, seed)
  const total = 1 + bounds.length + disturbances.length + rivals.length
  let done = 0
  const replay = (strategy: Strategy, options: Partial<Replay.Options> = {}): Replay.Ran => {
    const at = done++
    return Replay.run(trace, strategy, fleet, {
      ...staged,
      seed,
      ...options,
      onProgress: (share) => onProgress((at + share) / total)
    })
  }
  const own = replay(Strategies.ours).result
  const ours = figure(Strategies.ours.name, own, null)
  const disturbed = disturbances.map((name) => {
    const { knowledge, strategy } = Disturbances.byName(name)
    return figure(name, replay(strategy, { knowledge }).result, null)
  })
  const bound = bounds.map((name) => figure(name, replay(byName(name)).result, null))
  let leastMs = Infinity
  let leastDefaultMs = Infinity
  const found = rivals.map((name): RivalFigure => {
    const strategy = byName(name)
    const isDefault = strategy.isDefault === true
    const isOurs = strategy.isOurs === true
    const least = keepsDefaults && isDefault ? leastDefaultMs : leastMs
    const giveUpMs = margin === null ? Infinity : Math.min(aheadMax * ours.p90Ms, margin * least)
    const { gaveUp, result } = replay(strategy, { giveUpMs, requestsMax: requestsMost * own.requests })
    const isAbove = gaveUp || result.requests < requestsLeast * own.requests
    if (!isAbove && !isOurs) leastMs = Math.min(leastMs, result.ttftMs.p90)
    if (!isAbove && isDefault) leastDefaultMs = Math.min(leastDefaultMs, result.ttftMs.p90)
    const aboveMs = isAbove ? Math.min(giveUpMs, aheadMax * ours.p90Ms) : null
    return { ...figure(name, result, aboveMs), isDefault, isOurs }
  })
  return {
    cell,
    seed,
    ours,
    bounds: bound,
    disturbed,
    rivals: found
  }
}

const byName = (name: string): Strategy => {
  const found = Strategies.strategies.find((each) => each.name === name)
  if (found === undefined) throw new Error(`There is no strategy "${name}".`)
  return found
}
