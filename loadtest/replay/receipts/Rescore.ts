/**
 * Rescore: placements that receipts tell of, under other weights. Each is judged alone, with the load that there was.
 *
 * What another worker would have come to is read off the placement as it was made: what it held, and its wait and prefill
 * as they were predicted. So variants are measured by the same rule, whatever they make of the cost.
 */
import type { Candidate, Placement } from "../../../src/domain/Placement.ts"
import * as Decision from "../../../src/hot/Decision.ts"
import type { ReceiptLine } from "./ReceiptLine.ts"
import * as Regret from "./Regret.ts"
import { isByCost, remake } from "./Remake.ts"
import { under, type Variant, type Weights } from "./Variants.ts"

/** One variant, over all placements that were made by cost. Differences are: it, less what was done. */
export interface Row {
  readonly name: string
  readonly weights: Partial<Weights>
  /** Placements that go elsewhere. */
  differ: number
  /** Prompt tokens held where they go. */
  heldTokens: number
  /** Predicted wait and prefill; the sum. */
  waitOwnMs: number
}

export interface Difference {
  readonly file: string
  readonly line: number
  readonly id: string
  readonly what: string
}

export interface Rescored {
  readonly receipts: number
  /** First and last of them, ISO 8601, as read. */
  readonly from: string | null
  readonly to: string | null
  /** Those whose decision was kept; and those that cannot be made again, as it was not. */
  readonly placements: number
  readonly unkept: number
  /** Those that come out otherwise under the weights there are, and the first of them. */
  readonly differ: number
  readonly first: ReadonlyArray<Difference>
  /** Placements by cost, which are what variants are about. */
  readonly byCost: number
  /** Of those, the ones whose receipt leaves candidates out. */
  readonly narrowed: number
  readonly variants: ReadonlyArray<Row>
  readonly regret: Regret.Regret
}

const firstMax = 5

export const make = (variants: ReadonlyArray<Variant>) => {
  const rows = variants.map((variant): Row => ({ ...variant, differ: 0, heldTokens: 0, waitOwnMs: 0 }))
  const first: Array<Difference> = []
  const regret = Regret.make()
  const counts = { receipts: 0, placements: 0, differ: 0, byCost: 0, narrowed: 0, unkept: 0 }
  let from: string | null = null
  let to: string | null = null

  const judge = (decision: Decision.Decision, usual: Placement): void => {
    counts.byCost++
    const chosen = at(usual, usual.slot)
    if (chosen === undefined) return
    for (const row of rows) {
      const { slot } = under(row.weights, () => Decision.again(decision))
      const other = at(usual, slot)
      if (slot === usual.slot || other === undefined) continue
      row.differ++
      row.heldTokens += other.cachedTokens - chosen.cachedTokens
      row.waitOwnMs += other.waitMs + other.ownMs - chosen.waitMs - chosen.ownMs
    }
  }

  return {
    take: (receipt: ReceiptLine, file: string, line: number): void => {
      counts.receipts++
      if (from === null || receipt.at < from) from = receipt.at
      if (to === null || receipt.at > to) to = receipt.at
      for (const told of receipt.tries) {
        regret.take(receipt.id, told)
        if (told.decision === null) {
          counts.unkept++
          continue
        }
        counts.placements++
        const { differs, placement } = remake(told, told.decision)
        if (differs !== null && ++counts.differ <= firstMax) first.push({ file, line, id: receipt.id, what: differs })
        if (!isByCost(told)) continue
        if (told.others > 0) counts.narrowed++
        judge(told.decision, placement)
      }
    },
    result: (): Rescored => ({ ...counts, from, to, first, variants: rows, regret: regret.result() })
  }
}

const at = ({ candidates }: Placement, slot: number): Candidate | undefined =>
  candidates.find((candidate) => candidate.slot === slot)
