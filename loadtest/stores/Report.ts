/** Report: rows of figures, and what they come to beside the goals. */
import { quantile } from "../micro/Measure.ts"
import type { Asked, Written } from "./Bursts.ts"

export const digits = (value: number): string => {
  if (!Number.isFinite(value)) return "-"
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en-US").replaceAll(",", " ")
  return value >= 10 ? value.toFixed(1) : value.toPrecision(2)
}

export const row = (name: string, ...cells: ReadonlyArray<string>): string =>
  `${`  ${name}`.padEnd(36)}${cells.map((cell) => cell.padStart(13)).join("")}`

const perS = (count: number, ms: number): number => count / (ms / 1_000)

export const writtenHeader: ReadonlyArray<string> = [
  row("written", "bytes", "shares", "server CPU", "client CPU"),
  row("", "a block", "a second", "us/share", "us/share")
]

export const writtenRow = ({ clientUs, serverUs, shares, store, wallMs }: Written, bytes: number): string =>
  row(
    store.name,
    digits(bytes),
    digits(perS(shares, wallMs)),
    store.serverUs === null ? "" : digits(serverUs / shares),
    digits(clientUs / shares)
  )

export const askedHeader = (what: string): ReadonlyArray<string> => [
  row(what, "p10", "p50", "p99", "lookups/s", "round", "server CPU", "client CPU"),
  row("", "us", "us", "us", "16 in flight", "trips", "us/lookup", "us/lookup")
]

export const askedRow = (asked: Asked, trips: number, isSpinning: boolean): string => {
  const { clientUs, crowded, crowdedMs, latencies, serial, serverUs, store, way } = asked
  return row(
    way.name,
    ...[0.1, 0.5, 0.99].map((share) => digits(quantile(Float64Array.from(latencies), share))),
    crowded === 0 ? "" : digits(perS(crowded, crowdedMs)),
    trips === 0 ? "" : digits(trips),
    store.serverUs === null ? "" : digits(serverUs / serial),
    isSpinning ? "" : digits(clientUs / serial)
  )
}

/** Latencies by way and number of blocks. */
export type Latencies = Map<string, Map<number, Float64Array>>

/** What the goals are about, and bytes a block by store. */
export interface Figures {
  readonly eventDriven: Latencies
  readonly sleepless: Latencies
  readonly bytes: Map<string, number>
}

export const figures = (): Figures => ({ eventDriven: new Map(), sleepless: new Map(), bytes: new Map() })

const perBlock = "Redis, a key for each block"
const ours = "our Redis"

/** How often one lookup goes into another; NaN where one was not measured. */
const over = (from: Latencies, slow: string, fast: string, depth: number, share: number): number => {
  const [a, b] = [slow, fast].map((way) => from.get(way)?.get(depth))
  return a === undefined || b === undefined ? Number.NaN : quantile(a, share) / quantile(b, share)
}

const goalRow = (what: string, p50: number, atLeast: number, p10: number | null): string => {
  const verdict = Number.isNaN(p50) ? "not measured" : p50 >= atLeast ? "met" : "MISSED"
  const beside = p10 === null || Number.isNaN(p10) ? "" : `   ${digits(p10)} x at p10`
  return `  ${what.padEnd(58)}${digits(p50).padStart(6)} x   goal ${String(atLeast).padStart(3)}   ${verdict}${beside}`
}

/**
 * What each goal came to, at the median; beside it at the tenth percentile, where others on the machine have least say.
 * That over shared memory is about two ends that spin, since there is nothing to wait for.
 */
export const goals = ({ bytes, eventDriven, sleepless }: Figures): ReadonlyArray<string> => {
  const depths = [...(eventDriven.get(ours)?.keys() ?? [])]
  const deepest = Math.max(...depths)
  const goal = (what: string, from: Latencies, slow: string, fast: string, depth: number, atLeast: number): string => {
    const [p50, p10] = [0.5, 0.1].map((share) => over(from, slow, fast, depth, share))
    return goalRow(`${what}, D = ${depth}`, p50!, atLeast, p10!)
  }
  return [
    goal(`${ours} over GET per block`, eventDriven, "Redis, GET per block", ours, deepest, 5),
    goalRow(`${ours} smaller than a key for each block`, bytes.get(perBlock)! / bytes.get(ours)!, 5, null),
    ...depths.flatMap((depth) => [
      goal(`rdma RPC, tcp over ${ours}`, eventDriven, ours, "rdma RPC, tcp", depth, 1),
      goal("the same, clients that never sleep", sleepless, ours, "rdma RPC, tcp", depth, 1),
      goal(`rdma RPC, shm over ${ours}, neither end sleeps`, sleepless, ours, "rdma RPC, shm", depth, 3),
      goal(`local index over ${ours}`, eventDriven, ours, "local index", depth, 100),
      goal("the same, caches cold", eventDriven, ours, "local index, caches cold", depth, 100)
    ])
  ]
}
