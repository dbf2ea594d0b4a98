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
    digits(perS(crowded, crowdedMs)),
    trips === 0 ? "" : digits(trips),
    store.serverUs === null ? "" : digits(serverUs / serial),
    isSpinning ? "" : digits(clientUs / serial)
  )
}

/** What the goals are about: medians by way and number of blocks, and bytes a block by store. */
export interface Figures {
  readonly p50: Map<string, Map<number, number>>
  readonly bytes: Map<string, number>
}

interface Goal {
  readonly what: string
  /** Undefined where it was not measured. */
  readonly ratio: number | undefined
  readonly atLeast: number
}

const perBlock = "Redis, a key for each block"

export const goals = ({ bytes, p50 }: Figures): ReadonlyArray<string> => {
  const depths = [...(p50.get("our Redis")?.keys() ?? [])]
  const over = (slow: string, fast: string, depth: number): number | undefined => {
    const [a, b] = [p50.get(slow)?.get(depth), p50.get(fast)?.get(depth)]
    return a === undefined || b === undefined ? undefined : a / b
  }
  const deepest = Math.max(...depths)
  const smaller = bytes.get(perBlock)! / bytes.get("our Redis")!
  const all: ReadonlyArray<Goal> = [
    {
      what: `our Redis over Redis, GET per block, D = ${deepest}`,
      ratio: over("Redis, GET per block", "our Redis", deepest),
      atLeast: 5
    },
    { what: "our Redis smaller than a key for each block, times", ratio: smaller, atLeast: 5 },
    ...depths.flatMap((depth) => [
      {
        what: `rdma RPC, tcp over our Redis, D = ${depth}`,
        ratio: over("our Redis", "rdma RPC, tcp", depth),
        atLeast: 1
      },
      {
        what: `rdma RPC, shm over our Redis, D = ${depth}`,
        ratio: over("our Redis", "rdma RPC, shm", depth),
        atLeast: 3
      },
      { what: `local index over our Redis, D = ${depth}`, ratio: over("our Redis", "local index", depth), atLeast: 100 }
    ])
  ]
  return all.map(({ atLeast, ratio, what }) =>
    ratio === undefined
      ? `  ${what.padEnd(52)} not measured, goal ${atLeast}`
      : `  ${what.padEnd(52)}${digits(ratio).padStart(8)} x   goal ${String(atLeast).padStart(3)}   ${ratio >= atLeast ? "met" : "MISSED"}`
  )
}
