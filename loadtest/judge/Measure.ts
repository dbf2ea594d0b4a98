/**
 * Measure: what a goal is about, from the outcomes of one cell. Ratios are of the same traffic, seed by seed; the median of
 * the seeds counts, and of several strategies the one that comes best out of that.
 */
import { median } from "../micro/Measure.ts"
import * as Bounds from "../replay/Bounds.ts"
import * as Outcome from "./Outcome.ts"

export interface Measured {
  readonly value: number
  /** All it is compared with were given up: the ratio is below `value`. */
  readonly isBelow: boolean
  /** What it is compared with. */
  readonly against: string
}

/** What has to be run beside ours. */
export type Needs = "rivals" | "defaults" | "pooled" | "nothing" | { readonly disturbance: string }

export interface Measure {
  readonly needs: Needs
  /** Of the seeds of one cell. Null where what it compares with was not run. */
  readonly of: (seeds: ReadonlyArray<Outcome.Outcome>) => Measured | null
}

type Figures = ReadonlyArray<Outcome.Figure>

/** Ours over each of some others: the highest, but of those that were given up only if all were. */
const over = (
  seeds: ReadonlyArray<Outcome.Outcome>,
  ours: (outcome: Outcome.Outcome) => number,
  others: (outcome: Outcome.Outcome) => Figures,
  of: (figure: Outcome.Figure) => number
): Measured | null => {
  const [first, ...rest] = seeds.map(others)
  if (first === undefined) return null
  // Who is behind under the first seed is not run under others.
  const names = first.map(({ name }) => name).filter((name) => rest.every((each) => each.some((x) => x.name === name)))
  const measured = names.map((against): Measured => {
    const all = seeds.map((seed) => others(seed).find(({ name }) => name === against)!)
    const value = median(all.map((figure, at) => ours(seeds[at]!) / of(figure)))
    return { value, isBelow: all.filter(({ isAbove }) => isAbove).length * 2 > all.length, against }
  })
  return measured.reduce<Measured | null>((best, each) => {
    if (best === null || (best.isBelow && !each.isBelow)) return each
    return each.isBelow === best.isBelow && each.value > best.value ? each : best
  }, null)
}

const p90 = (figure: Outcome.Figure): number => figure.p90Ms
const own = ({ ours }: Outcome.Outcome): number => ours.p90Ms
const pooledOf = ({ bounds }: Outcome.Outcome): Figures => bounds.filter(({ name }) => name === Bounds.pooled.name)

export const bestPeer: Measure = {
  needs: "rivals",
  of: (seeds) => over(seeds, own, ({ rivals }) => Outcome.peers(rivals), p90)
}

/** The best of the rivals as we tuned them for these traces. */
export const bestMade: Measure = {
  needs: "rivals",
  of: (seeds) => over(seeds, own, ({ rivals }) => rivals.filter(({ isOurs }) => isOurs), p90)
}

export const bestDefault: Measure = {
  needs: "defaults",
  of: (seeds) => over(seeds, own, ({ rivals }) => rivals.filter(({ isDefault }) => isDefault), p90)
}

export const pooled: Measure = { needs: "pooled", of: (seeds) => over(seeds, own, pooledOf, p90) }

export const pooledHits: Measure = {
  needs: "pooled",
  of: (seeds) =>
    over(
      seeds,
      ({ ours }) => ours.hitRate,
      pooledOf,
      ({ hitRate }) => hitRate
    )
}

export const pooledE2e: Measure = {
  needs: "pooled",
  of: (seeds) =>
    over(
      seeds,
      ({ ours }) => ours.e2eMsMean,
      pooledOf,
      ({ e2eMsMean }) => e2eMsMean
    )
}

export const inTime: Measure = {
  needs: "nothing",
  of: (seeds) =>
    seeds.length === 0
      ? null
      : { value: median(seeds.map(({ ours }) => ours.inTime)), isBelow: false, against: "1 s + 2 × cold prefill" }
}

/** Ours disturbed, over ours undisturbed. */
export const disturbed = (disturbance: string): Measure => ({
  needs: { disturbance },
  of: (seeds) => {
    const p90Of = (seed: Outcome.Outcome) => seed.disturbed.find(({ name }) => name === disturbance)?.p90Ms
    const ratios = seeds.flatMap((seed) => {
      const disturbedMs = p90Of(seed)
      return disturbedMs === undefined ? [] : [disturbedMs / own(seed)]
    })
    return ratios.length === 0 ? null : { value: median(ratios), isBelow: false, against: "warmpath" }
  }
})
