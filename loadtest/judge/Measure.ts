/** Measure: what a goal is about, from one outcome. Ratios are of the same traffic. */
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
  /** Null where what it compares with was not run. */
  readonly of: (outcome: Outcome.Outcome) => Measured | null
}

const ratio = (part: number, whole: Outcome.Figure | null, of: (figure: Outcome.Figure) => number): Measured | null =>
  whole === null ? null : { value: part / of(whole), isBelow: whole.isAbove, against: whole.name }

const pooledOf = ({ bounds }: Outcome.Outcome): Outcome.Figure | null =>
  bounds.find(({ name }) => name === Bounds.pooled.name) ?? null

const p90 = (figure: Outcome.Figure): number => figure.p90Ms

export const bestPeer: Measure = {
  needs: "rivals",
  of: ({ ours, rivals }) => ratio(ours.p90Ms, Outcome.best(Outcome.peers(rivals)), p90)
}

/** The best of the rivals as we tuned them for these traces. */
export const bestMade: Measure = {
  needs: "rivals",
  of: ({ ours, rivals }) => ratio(ours.p90Ms, Outcome.best(rivals.filter(({ isOurs }) => isOurs)), p90)
}

export const bestDefault: Measure = {
  needs: "defaults",
  of: ({ ours, rivals }) => ratio(ours.p90Ms, Outcome.best(rivals.filter(({ isDefault }) => isDefault)), p90)
}

export const pooled: Measure = { needs: "pooled", of: (each) => ratio(each.ours.p90Ms, pooledOf(each), p90) }

export const pooledHits: Measure = {
  needs: "pooled",
  of: (each) => ratio(each.ours.hitRate, pooledOf(each), (figure) => figure.hitRate)
}

export const pooledE2e: Measure = {
  needs: "pooled",
  of: (each) => ratio(each.ours.e2eMsMean, pooledOf(each), (figure) => figure.e2eMsMean)
}

export const inTime: Measure = {
  needs: "nothing",
  of: ({ ours }) => ({ value: ours.inTime, isBelow: false, against: "1 s + 2 × cold prefill" })
}

/** Ours disturbed, over ours undisturbed. */
export const disturbed = (disturbance: string): Measure => ({
  needs: { disturbance },
  of: (each) => {
    const found = each.disturbed.find(({ name }) => name === disturbance)
    return found === undefined ? null : ratio(found.p90Ms, each.ours, p90)
  }
})
