/** Measuring one core: thread CPU time, medians, and the line a case prints. */
import { execFileSync } from "node:child_process"
import { cpus } from "node:os"

export interface Options {
  /** Distinct blocks the index holds. */
  readonly blocks: number
  /** Distinct blocks the plain Map/Set index holds; 0 leaves it out. */
  readonly twinBlocks: number
  readonly workers: number
  readonly repeats: number
  /** CPU time to spend on each lookup cell, per repeat. */
  readonly cellMs: number
}

/** One measured figure. */
export interface Case {
  readonly name: string
  /** Median of the repeats: what the gate judges. */
  readonly value: number
  /** Best repeat: nearest to what the machine gives when nobody else is on it. */
  readonly best?: number
  readonly unit: string
  /** What the figure must reach, at 10 M blocks and 64 workers. */
  readonly gate?: { readonly atLeast: number } | { readonly atMost: number }
  /** The same figure of the plain index, and ours at the size that one was measured at. */
  readonly twin?: { readonly value: number; readonly ours: number }
}

/**
 * CPU milliseconds this thread spends in `work`. The clock ticks at up to 4 ms: let it work for 100 ms and more. Work
 * shorter than a tick is given in wall time.
 */
export const cpuMs = (work: () => void): number => {
  const started = performance.now()
  const before = process.threadCpuUsage()
  work()
  const spent = process.threadCpuUsage(before)
  return (spent.user + spent.system) / 1_000 || performance.now() - started
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** CPU nanoseconds per call of `work`, called as often as `cellMs` takes. `work` does `batch` calls at a time. */
export const cpuNsPerCall = (cellMs: number, batch: number, work: () => void): number => {
  work()
  let calls = 0
  const before = process.threadCpuUsage()
  for (;;) {
    work()
    calls += batch
    const spent = process.threadCpuUsage(before)
    const ms = (spent.user + spent.system) / 1_000
    if (ms >= cellMs) return (ms * 1e6) / calls
  }
}

/**
 * Collects garbage when node was started with --expose-gc. Twice: buffers are freed beside the first collection, and for
 * certain before the second, so that what is built next finds their memory.
 */
export const collect = (): void => {
  globalThis.gc?.()
  globalThis.gc?.()
}

/** The value below which this share of the values lies. */
export const quantile = (values: Float64Array, share: number): number =>
  values.toSorted()[Math.min(values.length - 1, Math.floor(values.length * share))]!

export const verdict = ({ gate, value }: Case): "pass" | "FAIL" | "" => {
  if (gate === undefined) return ""
  return ("atLeast" in gate ? value >= gate.atLeast : value <= gate.atMost) ? "pass" : "FAIL"
}

/** Commit of the checkout, with a mark when it has changes. */
export const commit = (): string => {
  try {
    const git = (...args: ReadonlyArray<string>) => execFileSync("git", args, { encoding: "utf8" }).trim()
    const changed = git("status", "--porcelain", "--", "src/hot", "loadtest/micro") !== ""
    return git("rev-parse", "--short", "HEAD") + (changed ? " with changes" : "")
  } catch {
    return "unknown"
  }
}

export const machine = (): string => `${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown CPU"}`

const number = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(3)

export const header = (): string =>
  `| ${"case".padEnd(30)} | ${"median".padStart(7)} |    best | unit       | ${"gate".padEnd(7)} | verdict | plain Map/Set |\n` +
  `|${"-".repeat(32)}|--------:|--------:|------------|---------|---------|---------------|`

export const line = (measured: Case, isJudged: boolean): string => {
  const { best, gate, name, twin, unit, value } = measured
  const bound = gate === undefined ? "" : "atLeast" in gate ? `>= ${gate.atLeast}` : `<= ${gate.atMost}`
  const ratio = twin === undefined ? 0 : unit.endsWith("/s") ? twin.ours / twin.value : twin.value / twin.ours
  const beside = twin === undefined ? "" : `${number(twin.value)} (${number(ratio)}x)`
  return (
    `| ${name.padEnd(30)} | ${number(value).padStart(7)} | ${(best === undefined ? "" : number(best)).padStart(7)} | ` +
    `${unit.padEnd(10)} | ${bound.padEnd(7)} | ${(isJudged ? verdict(measured) : "").padEnd(7)} | ${beside.padEnd(13)} |`
  )
}
