/**
 * Decision: all that one placement by cost follows from, as plain data: what `Cost.ts` read of the load table, the fleet
 * and the request. `again` puts it back into a table and makes the placement with the same code, to the last bit.
 *
 * Lists are in the order of `slots`. Workers that were not the cheapest may be left out: the placement among those that
 * are kept is the same. A test watches which columns `Cost.ts` reads, so that none is missing here.
 */
import type { Placement } from "../domain/Placement.ts"
import * as Cost from "./Cost.ts"
import * as LoadTable from "./LoadTable.ts"
import * as RateModel from "./RateModel.ts"

export interface Decision {
  readonly atMs: number
  readonly promptTokens: number
  /** Ties go to the first slot at or after it. */
  readonly rotation: number
  /** Ascending. */
  readonly slots: ReadonlyArray<number>
  readonly eligible: ReadonlyArray<number>
  /** Leading prompt tokens held or on their way, before `credit`. */
  readonly cachedTokens: ReadonlyArray<number>
  readonly fleet: Readonly<Record<Figure, number>>
  readonly load: Readonly<Record<Column, ReadonlyArray<number>>>
  /** When the engine reported its load; null when it never did. */
  readonly hintMs: ReadonlyArray<number | null>
  readonly rates: Rates
}

/** Coefficients of `RateModel`: the fleet's a, b, c, d and e; those of workers with their own, by their place in `slots`. */
export interface Rates {
  readonly fleet: ReadonlyArray<number>
  /** a, b, c */
  readonly prefill: Readonly<Record<string, ReadonlyArray<number>>>
  /** d, e */
  readonly decode: Readonly<Record<string, ReadonlyArray<number>>>
}

export const figures = [
  "workers",
  "busyMean",
  "arrivals",
  "recentTotal",
  "outputMean",
  "ownMeanMs",
  "coldMeanMs"
] as const
export type Figure = (typeof figures)[number]

export const columns = [
  "credit",
  "queued",
  "queuedUs",
  "queuedTokens",
  "busyUntilMs",
  "active",
  "activeTokens",
  "capacityTokens",
  "passedMs",
  "passedTokens",
  "aheadMs",
  "recent",
  "hintForeign",
  "hintTokens"
] as const
export type Column = (typeof columns)[number]

/** Where those of decode begin in a row of `RateModel`. */
export const decodeFrom = 3

/** `kept`: the slots to keep, ascending; all of them unless given. */
export const of = (
  load: LoadTable.LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  rotation: number,
  eligible: Uint8Array = load.eligible,
  kept: ReadonlyArray<number> = Array.from({ length: load.slots }, (_, slot) => slot)
): Decision => {
  const fleet = {} as Record<Figure, number>
  for (const name of figures) fleet[name] = load[name]
  const columnsKept = {} as Record<Column, ReadonlyArray<number>>
  for (const name of columns) columnsKept[name] = pick(load[name], kept)
  return {
    atMs: nowMs,
    promptTokens,
    // As `Cost` takes it: once the last slots are vacant, it may lie behind them all.
    rotation: load.slots === 0 ? 0 : rotation % load.slots,
    slots: kept,
    eligible: pick(eligible, kept),
    cachedTokens: pick(cachedTokens, kept),
    fleet,
    load: columnsKept,
    hintMs: kept.map((slot) => (load.hintMs[slot] === -Infinity ? null : load.hintMs[slot]!)),
    rates: ratesOf(load.rates, kept)
  }
}

/** A loop: made for every request where there are receipts, and `map` takes twice as long. */
const pick = (column: ArrayLike<number>, kept: ReadonlyArray<number>): ReadonlyArray<number> => {
  const values = new Array<number>(kept.length)
  for (let i = 0; i < kept.length; i++) values[i] = column[kept[i]!]!
  return values
}

/**
 * Of these slots `most`, ascending: the one chosen, those with the longest prefixes (a quarter), and the cheapest.
 */
export const nearest = (
  slots: ReadonlyArray<number>,
  costs: Float64Array,
  cachedTokens: Uint32Array,
  chosen: number,
  most: number
): ReadonlyArray<number> => {
  const kept = new Set<number>([chosen])
  for (const slot of least(slots, (slot) => (cachedTokens[slot]! > 0 ? -cachedTokens[slot]! : Infinity), most)) {
    if (kept.size > most / 4) break
    kept.add(slot)
  }
  for (const slot of least(slots, (slot) => costs[slot]!, most)) {
    if (kept.size >= most) break
    kept.add(slot)
  }
  return [...kept].sort((a, b) => a - b)
}

/** The slots of the least values, ascending, at most so many; of equal ones the first. Infinity is none. Sorts no more. */
const least = (slots: ReadonlyArray<number>, worth: (slot: number) => number, most: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  const values: Array<number> = []
  for (const slot of slots) {
    const value = worth(slot)
    let at = values.length
    if (value === Infinity || (at === most && !(value < values[at - 1]!))) continue
    if (at === most) at--
    for (; at > 0 && values[at - 1]! > value; at--) {
      values[at] = values[at - 1]!
      found[at] = found[at - 1]!
    }
    values[at] = value
    found[at] = slot
  }
  return found
}

const ratesOf = (rates: RateModel.RateModel, kept: ReadonlyArray<number>): Rates => {
  const { theta } = rates
  const row = (of: number, from: number, to: number): ReadonlyArray<number> => {
    const values = new Array<number>(to - from)
    for (let i = 0; i < to - from; i++) values[i] = theta[of * RateModel.terms + from + i]!
    return values
  }
  const prefill: Record<string, ReadonlyArray<number>> = {}
  const decode: Record<string, ReadonlyArray<number>> = {}
  for (const [at, slot] of kept.entries()) {
    if (rates.row[slot] === slot) prefill[at] = row(slot, 0, decodeFrom)
    if (rates.decodes[slot]! > 0) decode[at] = row(slot, decodeFrom, RateModel.terms)
  }
  return { fleet: row(rates.workersMax, 0, RateModel.terms), prefill, decode }
}

/** The placement, made again. */
export const again = (decision: Decision): Placement => {
  const { atMs, cachedTokens, eligible, promptTokens, rotation, slots } = decision
  const start = slots.findIndex((slot) => slot >= rotation)
  const { candidates, slot, ...found } = Cost.explain(
    tableOf(decision),
    Uint32Array.from(cachedTokens),
    promptTokens,
    atMs,
    Math.max(0, start),
    Uint8Array.from(eligible)
  )
  return {
    ...found,
    slot: slots[slot] ?? LoadTable.NONE,
    candidates: candidates.map((candidate) => ({ ...candidate, slot: slots[candidate.slot]! }))
  }
}

/** The table of the last placement made again: those of a router are mostly among as many. */
let spare = LoadTable.make(0)

/** Good until the next call. Every column that `Cost` reads is written anew. */
const tableOf = (decision: Decision): LoadTable.LoadTable => {
  const slots = decision.cachedTokens.length
  if (spare.credit.length !== slots) spare = LoadTable.make(slots)
  const table = spare
  table.slots = slots
  for (const name of figures) table[name] = decision.fleet[name]
  for (const name of columns) table[name].set(decision.load[name])
  table.hintMs.set(decision.hintMs.map((ms) => ms ?? -Infinity))
  const { decodes, row, theta } = table.rates
  const { decode, fleet, prefill } = decision.rates
  row.fill(slots)
  decodes.fill(0)
  theta.set(fleet, slots * RateModel.terms)
  for (const [slot, own] of Object.entries(prefill)) {
    row[Number(slot)] = Number(slot)
    theta.set(own, Number(slot) * RateModel.terms)
  }
  for (const [slot, own] of Object.entries(decode)) {
    decodes[Number(slot)] = 1
    theta.set(own, Number(slot) * RateModel.terms + decodeFrom)
  }
  return table
}
