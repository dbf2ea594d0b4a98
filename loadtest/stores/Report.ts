/** Report: rows of figures, and what they come to beside the goals. */
import { median, quantile } from "../micro/Measure.ts"
import type { Asked, Written } from "./Bursts.ts"

export const digits = (value: number): string => {
  if (!Number.isFinite(value)) return "-"
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en-US").replaceAll(",", " ")
  return value >= 10 ? value.toFixed(1) : value.toPrecision(2)
}

export const row = (name: string, ...cells: ReadonlyArray<string>): string =>
  `${`  ${name}`.padEnd(36)}${cells.map((cell) => cell.padStart(12)).join("")}`

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
  row(what, "p50", "p99", "lookups/s", "round", "server CPU", "client CPU"),
  row("", "us", "us", "16 in flight", "trips", "us/lookup", "us/lookup")
]

export const askedRow = (asked: Asked, trips: number, isSpinning: boolean): string => {
  const { clientUs, crowded, crowdedMs, latencies, serial, serverUs, store, way } = asked
  return row(
    way.name,
    digits(median(latencies)),
    digits(quantile(Float64Array.from(latencies), 0.99)),
    crowded === 0 ? "" : digits(perS(crowded, crowdedMs)),
    trips === 0 ? "" : digits(trips),
    store.serverUs === null ? "" : digits(serverUs / serial),
    isSpinning ? "" : digits(clientUs / serial)
  )
}

/** What the goals are about: medians by way and number of blocks, and bytes a block by store. */
export interface Figures {
  readonly eventDriven: Map<string, Map<number, number>>
  readonly sleepless: Map<string, Map<number, number>>
  readonly bytes: Map<string, number>
}

export const figures = (): Figures => ({ eventDriven: new Map(), sleepless: new Map(), bytes: new Map() })

const perBlock = "Redis, a key for each block"
const ours = "our Redis"

const over = (p50: Figures["eventDriven"], slow: string, fast: string, depth: number): number =>
  (p50.get(slow)?.get(depth) ?? Number.NaN) / (p50.get(fast)?.get(depth) ?? Number.NaN)

/** What each goal came to. One over shared memory is about two ends that spin, since there is nothing to wait for. */
export const goals = ({ bytes, eventDriven, sleepless }: Figures): ReadonlyArray<string> => {
  const depths = [...(eventDriven.get(ours)?.keys() ?? [])]
  const deepest = Math.max(...depths)
  const goal = (what: string, ratio: number, atLeast: number): string => {
    const verdict = Number.isNaN(ratio) ? "not measured" : ratio >= atLeast ? "met" : "MISSED"
    return `  ${what.padEnd(60)}${digits(ratio).padStart(8)} x   goal ${String(atLeast).padStart(3)}   ${verdict}`
  }
  return [
    goal(`${ours} over GET per block, D = ${deepest}`, over(eventDriven, "Redis, GET per block", ours, deepest), 5),
    goal(`${ours} smaller than a key for each block`, bytes.get(perBlock)! / bytes.get(ours)!, 5),
    ...depths.flatMap((depth) => [
      goal(`rdma RPC, tcp over ${ours}, D = ${depth}`, over(eventDriven, ours, "rdma RPC, tcp", depth), 1),
      goal(`the same, clients that never sleep, D = ${depth}`, over(sleepless, ours, "rdma RPC, tcp", depth), 1),
      goal(
        `rdma RPC, shm over ${ours}, neither sleeps, D = ${depth}`,
        over(sleepless, ours, "rdma RPC, shm", depth),
        3
      ),
      goal(`local index over ${ours}, D = ${depth}`, over(eventDriven, ours, "local index", depth), 100),
      goal(`the same, caches cold, D = ${depth}`, over(eventDriven, ours, "local index, caches cold", depth), 100)
    ])
  ]
}
