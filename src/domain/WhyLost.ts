/**
 * Why a candidate was not chosen, in words. The page, the command line and the admin API all say it in these.
 *
 * By cost, the term that speaks most against it is told: what it has more of than the one chosen. Where another policy
 * chose, its own rule is.
 */
import type { ReceiptCandidate } from "./Receipt.ts"

export type Judged = Omit<ReceiptCandidate, "lost">

/** `2048` as `2 048`. */
const grouped = (count: number): string => String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, " ")

const tokens = (count: number): string => `${grouped(count)} ${Math.round(count) === 1 ? "token" : "tokens"}`

/** Below 10 ms one digit more: there such differences decide. */
const ms = (value: number): string =>
  `${value < 0.1 ? "less than 0.1" : value < 10 ? Number(value.toFixed(1)) : grouped(value)} ms`

const tie = "a tie: it was not its turn"

/** Prompt tokens saved there, as far as its picture is believed. */
const believed = ({ cachedTokens, credit }: Judged): number => cachedTokens * credit

const computes = (own: Judged, chosen: Judged): string => {
  const others = own.othersMs - chosen.othersMs
  const more = `${ms(own.ownMs - chosen.ownMs)} more to compute${others >= 0.1 ? `, ${ms(others)} for others to wait` : ""}`
  const missing = chosen.cachedTokens - own.cachedTokens
  if (missing > 0) return `holds ${tokens(missing)} less: ${more}`
  if (believed(own) < believed(chosen))
    return `only ${Math.round(own.credit * 100)} % of what it holds is believed: ${more}`
  return `slower: ${more}`
}

const waits = (own: Judged, chosen: Judged): string => {
  const more = ms(own.waitMs - chosen.waitMs)
  return own.queued > 0 ? `busy: ${more} more of prefill ahead` : `busy: ${more} more until it can begin`
}

const byCost = (own: Judged, chosen: Judged): string => {
  if (own.costMs === chosen.costMs) return tie
  // Some ledgers of tools choose by rules of their own.
  if (own.costMs < chosen.costMs) return `cheaper by ${ms(chosen.costMs - own.costMs)}, but another rule chose`
  const against: ReadonlyArray<readonly [number, () => string]> = [
    [own.ownMs + own.othersMs - chosen.ownMs - chosen.othersMs, () => computes(own, chosen)],
    [own.waitMs - chosen.waitMs, () => waits(own, chosen)],
    [
      own.decodeMs - chosen.decodeMs,
      () => `its running requests would lose ${ms(own.decodeMs - chosen.decodeMs)} more`
    ],
    [own.recentMs - chosen.recentMs, () => `was given more lately: ${ms(own.recentMs - chosen.recentMs)} against it`]
  ]
  return against.reduce((most, each) => (each[0] > most[0] ? each : most))[1]()
}

const out = ({ active, queued }: Judged): number => active + queued

/** `policy`: what chose. Both were judged for the same request, at the same moment. */
export const whyLost = (own: Judged, chosen: Judged, policy: string): string => {
  switch (policy) {
    case "eta":
      return byCost(own, chosen)
    case "round-robin":
      return "round-robin: it was not its turn"
    case "least-loaded":
      return out(own) > out(chosen) ? `least-loaded: ${out(own)} requests there, ${out(chosen)} at the one chosen` : tie
    case "longest-prefix":
      return own.cachedTokens < chosen.cachedTokens
        ? `longest-prefix: holds ${tokens(chosen.cachedTokens - own.cachedTokens)} less`
        : tie
    default:
      return `${policy} chose another worker`
  }
}
