/** Remake: a placement that a receipt tells of, made once more by the router's own code from its decision alone. */
import type { Placement } from "../../../src/domain/Placement.ts"
import * as Decision from "../../../src/hot/Decision.ts"
import * as Decisions from "../Decisions.ts"
import type { Try } from "./ReceiptLine.ts"

export interface Remade {
  readonly placement: Placement
  /** The first thing that is not as the receipt says; null when all is, to the last bit. */
  readonly differs: string | null
}

/** Its decisions follow from the cost. Of others only the costs can be made again. */
export const isByCost = ({ policy }: Pick<Try, "policy">): boolean => policy === "eta"

export const remake = (told: Try, decision: Decision.Decision): Remade => {
  const placement = Decision.again(decision)
  return { placement, differs: differenceOf(told, placement) }
}

const differenceOf = (told: Try, placement: Placement): string | null => {
  const nameOf = (slot: number) => told.candidates.find((each) => each.slot === slot)?.worker ?? `slot ${slot}`
  if (isByCost(told) && placement.slot !== told.slot) {
    return `${told.worker} was chosen, recomputed it is ${nameOf(placement.slot)}`
  }
  for (const was of told.candidates) {
    const now = placement.candidates.find(({ slot }) => slot === was.slot)
    if (now === undefined) return `${was.worker} was a candidate, recomputed it is none`
    for (const term of [...Decisions.terms, "costMs"] as const) {
      if (was[term] !== now[term]) return `${term} of ${was.worker} was ${was[term]}, recomputed ${now[term]}`
    }
  }
  return null
}
