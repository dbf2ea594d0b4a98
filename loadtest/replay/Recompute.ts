/**
 * Recompute: placements of a replay made once more by the router's own code, each from nothing but the line that the
 * replay wrote about it. One line at a time: a file may be of any length.
 */
import type { Placement } from "../../src/domain/Placement.ts"
import * as Decision from "../../src/hot/Decision.ts"
import * as Decisions from "./Decisions.ts"
import type { Line } from "./formats/Line.ts"
import { eachLine } from "./Lines.ts"
import * as ToldLine from "./ToldLine.ts"
import { TraceError } from "./TraceError.ts"

/** What was written of a placement, and what it comes to now. */
export interface Remade {
  /** From 1. */
  readonly line: number
  readonly told: Decisions.Told
  readonly placement: Placement
  /** The first thing that is not as written; null when all is, to the last bit. */
  readonly differs: string | null
}

export interface Checked {
  readonly placements: number
  readonly differ: number
  /** The first of those that differ. */
  readonly first: ReadonlyArray<Remade>
}

const firstMax = 5

/** All of them. Rejects with a `TraceError`. */
export const check = async (file: string): Promise<Checked> => {
  const first: Array<Remade> = []
  let placements = 0
  let differ = 0
  await eachLine(file, (line) => {
    const remade = remake(line)
    placements++
    if (remade.differs === null) return true
    if (++differ <= firstMax) first.push(remade)
    return true
  })
  if (placements === 0) throw new TraceError({ file, line: null, found: "there is no placement in it", accepted })
  return { placements, differ, first }
}

/** The one on a line, from 1. Rejects with a `TraceError`. */
export const one = async (file: string, number: number): Promise<Remade> => {
  let lines = 0
  let found: Remade | null = null
  await eachLine(file, (line) => {
    lines = line.number
    if (line.number < number) return true
    found = remake(line)
    return false
  })
  if (found !== null) return found
  throw new TraceError({ file, line: null, found: `it ends at line ${lines}`, accepted: `--request 1 to ${lines}` })
}

const accepted = "what `warmpath replay TRACE --decisions FILE` writes"

const remake = (line: Line): Remade => {
  const told = ToldLine.read(line)
  const placement = Decision.again(told)
  return { line: line.number, told, placement, differs: differenceOf(told, placement) }
}

const differenceOf = (told: Decisions.Told, placement: Placement): string | null => {
  if (placement.slot !== told.slot) return `worker ${told.slot} was chosen, recomputed it is ${placement.slot}`
  const terms = Decisions.termsOf(placement)
  for (const term of Decisions.terms) {
    for (const [i, { slot }] of placement.candidates.entries()) {
      const was = told.terms[term][i]!
      const now = terms[term][i]!
      if (was !== now)
        return `worker ${told.slot} either way, but ${term} of worker ${slot} was ${was}, recomputed ${now}`
    }
  }
  return null
}
