/** Outcomes of the judge as they would come from replays, written down. */
import type { Cell } from "../../loadtest/judge/Cell.ts"
import type { Figure, Outcome, RivalFigure } from "../../loadtest/judge/Outcome.ts"

export const figure = (name: string, p90Ms: number, more: Partial<Figure> = {}): Figure => ({
  name,
  p90Ms,
  isAbove: false,
  hitRate: 0.5,
  inTime: 0.99,
  e2eMsMean: 10_000,
  ...more
})

export const rival = (name: string, p90Ms: number, more: Partial<RivalFigure> = {}): RivalFigure => ({
  ...figure(name, p90Ms, more),
  isDefault: more.isDefault ?? false,
  isOurs: more.isOurs ?? false
})

export const outcome = (cell: Cell, seed: number, ours: Figure, more: Partial<Outcome> = {}): Outcome => ({
  cell,
  seed,
  ours,
  bounds: [],
  disturbed: [],
  rivals: [],
  ...more
})
