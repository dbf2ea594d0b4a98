/** Outcome: what strategies came to in one cell under one seed, all on the same traffic, and who was best. */
import type { Cell } from "./Cell.ts"

export interface Figure {
  readonly name: string
  /** TTFT. */
  readonly p90Ms: number
  /** It was given up: its p90 is above `p90Ms`, and its other figures are of a part. */
  readonly isAbove: boolean
  readonly hitRate: number
  readonly inTime: number
  readonly e2eMsMean: number
}

export interface RivalFigure extends Figure {
  readonly isDefault: boolean
  /** As nobody ships it, made by us for these traces: no peer. */
  readonly isOurs: boolean
}

/** Rivals as their projects have them, or tell how to tune them. */
export const peers = (rivals: ReadonlyArray<RivalFigure>): ReadonlyArray<RivalFigure> =>
  rivals.filter(({ isOurs }) => !isOurs)

export interface Outcome {
  readonly cell: Cell
  readonly seed: number
  readonly ours: Figure
  readonly bounds: ReadonlyArray<Figure>
  /** Ours with less or worse knowledge. */
  readonly disturbed: ReadonlyArray<Figure>
  readonly rivals: ReadonlyArray<RivalFigure>
}

/** The least p90 of those that ran to the end; if none did, the least that one is known to be above. */
export const best = <F extends Figure>(figures: ReadonlyArray<F>): F | null =>
  figures.reduce<F | null>((least, each) => {
    if (least === null || (least.isAbove && !each.isAbove)) return each
    return each.isAbove === least.isAbove && each.p90Ms < least.p90Ms ? each : least
  }, null)

/**
 * Names of those not known to be more than `margin` times the best, among peers or among defaults, and of our own that
 * ran to the end: the best first. Of a group of which nobody is left all are: some goal compares with its best.
 */
export const contenders = (rivals: ReadonlyArray<RivalFigure>, margin: number): ReadonlyArray<string> => {
  const defaults = rivals.filter(({ isDefault }) => isDefault)
  const made = rivals.filter(({ isOurs }) => isOurs)
  const within = (of: ReadonlyArray<RivalFigure>, mostMs: number) => {
    const left = of.filter(({ isAbove, p90Ms }) => !isAbove && p90Ms <= mostMs)
    return left.length > 0 ? left : of
  }
  const near = (of: ReadonlyArray<RivalFigure>) => within(of, margin * (best(of)?.p90Ms ?? 0))
  const found = new Set([...near(peers(rivals)), ...near(defaults), ...within(made, Infinity)])
  return [...found].sort((a, b) => a.p90Ms - b.p90Ms).map(({ name }) => name)
}
