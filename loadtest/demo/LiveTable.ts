/** LiveTable: one frame of the demo's live page, from a snapshot. Pure: the screen decides where it goes. */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import { compact, millis, percent } from "./Report.ts"

export interface WorkerView {
  readonly worker: string
  readonly inFlight: number
  readonly requests: number
  readonly hitRate: number | null
  /** Part of the cache that holds blocks, 0 to 1. */
  readonly cacheUsed: number
}

export interface Snapshot {
  /** Of the policy, short. */
  readonly name: string
  /** What it does, in half a sentence. */
  readonly way: string
  readonly done: number
  readonly planned: number
  readonly failed: number
  readonly elapsedSeconds: number
  /** Null when it has no end. */
  readonly leftSeconds: number | null
  readonly hitRate: number | null
  readonly agentHitRate: number | null
  readonly ttftMsP50: number | null
  readonly ttftMsP90: number | null
  readonly workers: ReadonlyArray<WorkerView>
}

/** `width` cells, as many of them full as `fraction` says. */
export const bar = (fraction: number, width: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * width)
  return "█".repeat(full) + "░".repeat(width - full)
}

const left = (seconds: number | null): string =>
  seconds === null ? "until Ctrl-C" : `about ${Math.max(0, Math.ceil(seconds))} s left in all`

export const frame = (snapshot: Snapshot, colors: Colors): string => {
  const table = new Table({
    head: ["worker", "in flight", "requests", "hit rate", "cache used"].map((text) => colors.bold(text)),
    colAligns: ["left", "right", "right", "right", "left"],
    colWidths: [24, 11, 10, 10, 19],
    chars: compact,
    style: { head: [], border: colors.isColorSupported ? ["gray"] : [] }
  })
  for (const { cacheUsed, hitRate, inFlight, requests, worker } of snapshot.workers) {
    const used = `${bar(cacheUsed, 10)} ${`${Math.round(cacheUsed * 100)} %`.padStart(5)}`
    table.push([worker, inFlight, requests, percent(hitRate), used])
  }
  const failed = snapshot.failed === 0 ? "" : colors.red(` · ${snapshot.failed} failed`)
  return [
    `${colors.bold(snapshot.name)}: ${snapshot.way}`,
    `${colors.cyan(bar(snapshot.planned === 0 ? 0 : snapshot.done / snapshot.planned, 30))} ` +
      `${snapshot.done} of ${snapshot.planned} requests${failed} · ${left(snapshot.leftSeconds)}`,
    table.toString(),
    `hit rate ${colors.bold(percent(snapshot.hitRate))} (agents ${percent(snapshot.agentHitRate)}) · ` +
      `TTFT p50 ${colors.bold(millis(snapshot.ttftMsP50))}, p90 ${colors.bold(millis(snapshot.ttftMsP90))}`
  ].join("\n")
}

/** The same in one line, for logs and pipes. */
export const line = (snapshot: Snapshot): string =>
  `${snapshot.name}: ${snapshot.elapsedSeconds.toFixed(0)} s, ${snapshot.done} of ${snapshot.planned} requests, ` +
  `${snapshot.failed} failed, hit rate ${percent(snapshot.hitRate)} (agents ${percent(snapshot.agentHitRate)}), ` +
  `TTFT p50 ${millis(snapshot.ttftMsP50)} p90 ${millis(snapshot.ttftMsP90)}`
