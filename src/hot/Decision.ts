/**
 * Decision: all that one placement by cost follows from, as plain data: what `Cost.ts` read of the load table, the fleet
 * and the request. `again` puts it back into a table and makes the placement with the same code, to the last bit.
 *
 * Lists are indexed by slot. A test watches which columns `Cost.ts` reads, so that none is missing here.
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
  readonly eligible: ReadonlyArray<number>
  /** Leading prompt tokens held or on their way, before `credit`. */
  readonly cachedTokens: ReadonlyArray<number>
  readonly fleet: Readonly<Record<Figure, number>>
  readonly load: Readonly<Record<Column, ReadonlyArray<number>>>
  /** When the engine reported its load; null when it never did. */
  readonly hintMs: ReadonlyArray<number | null>
  readonly rates: Rates
}

/** Coefficients of `RateModel`: the fleet's a, b, c, d and e; by slot those of workers with their own. */
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
  "recent",
  "hintForeign",
  "hintTokens"
] as const
export type Column = (typeof columns)[number]

/** Where those of decode begin in a row of `RateModel`. */
export const decodeFrom = 3

export const of = (
  load: LoadTable.LoadTable,
  cachedTokens: Uint32Array,
  promptTokens: number,
  nowMs: number,
  rotation: number,
  eligible: Uint8Array = load.eligible
): Decision => {
  const { slots } = load
  const first = (column: ArrayLike<number> & Iterable<number>) => Array.from(column).slice(0, slots)
  return {
    atMs: nowMs,
    promptTokens,
    rotation,
    eligible: first(eligible),
    cachedTokens: first(cachedTokens),
    fleet: Object.fromEntries(figures.map((name) => [name, load[name]])) as Record<Figure, number>,
    load: Object.fromEntries(columns.map((name) => [name, first(load[name])])) as Record<Column, Array<number>>,
    hintMs: first(load.hintMs).map((ms) => (ms === -Infinity ? null : ms)),
    rates: ratesOf(load.rates, slots)
  }
}

const ratesOf = (rates: RateModel.RateModel, slots: number): Rates => {
  const row = (of: number, from: number, to: number) => [
    ...rates.theta.subarray(of * RateModel.terms + from, of * RateModel.terms + to)
  ]
  const prefill: Record<string, ReadonlyArray<number>> = {}
  const decode: Record<string, ReadonlyArray<number>> = {}
  for (let slot = 0; slot < slots; slot++) {
    if (rates.row[slot] === slot) prefill[slot] = row(slot, 0, decodeFrom)
    if (rates.decodes[slot]! > 0) decode[slot] = row(slot, decodeFrom, RateModel.terms)
  }
  return { fleet: row(rates.workersMax, 0, RateModel.terms), prefill, decode }
}

/** The placement, made again. */
export const again = (decision: Decision): Placement => {
  const { atMs, cachedTokens, eligible, promptTokens, rotation } = decision
  return Cost.explain(
    tableOf(decision),
    Uint32Array.from(cachedTokens),
    promptTokens,
    atMs,
    rotation,
    Uint8Array.from(eligible)
  )
}

const tableOf = (decision: Decision): LoadTable.LoadTable => {
  const slots = decision.cachedTokens.length
  const table = LoadTable.make(slots)
  table.slots = slots
  for (const name of figures) table[name] = decision.fleet[name]
  for (const name of columns) table[name].set(decision.load[name])
  table.hintMs.set(decision.hintMs.map((ms) => ms ?? -Infinity))
  const { decodes, row, theta } = table.rates
  const { decode, fleet, prefill } = decision.rates
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
