/**
 * Report: from raw results to the few figures that matter, and the table that compares two policies.
 *
 * Hit rate = Σ cached_tokens / Σ prompt_tokens, both as the engines reported them in `usage`; engines cache whole blocks,
 * so it is a block hit rate. TTFT is the client's: from handing over the request to the first record with content. Spread
 * is largest over mean across workers: 1 is even.
 */
import Table from "cli-table3"
import type { Colors } from "picocolors/types.js"
import type { Result } from "../client/Driver.ts"
import * as Stats from "../client/Stats.ts"
import { type Label, labels } from "../workloads/Workload.ts"

export interface Share {
  readonly requests: number
  readonly promptTokens: number
  readonly cachedTokens: number
  /** Null when no usage was reported. */
  readonly hitRate: number | null
  readonly ttftMs: { readonly p50: number | null; readonly p90: number | null; readonly p99: number | null }
}

/** What one worker did, by its own count. */
export interface WorkerShare {
  readonly worker: string
  readonly requests: number
  readonly promptTokens: number
  readonly cachedTokens: number
}

export interface Summary {
  readonly policy: string
  readonly seconds: number
  readonly planned: number
  readonly succeeded: number
  /** Refused, broken off or never sent because a session had ended early. */
  readonly failed: number
  /** Distinct reasons, the most frequent first, at most five. */
  readonly errors: ReadonlyArray<string>
  readonly all: Share
  readonly byLabel: Readonly<Record<Label, Share>>
  readonly itlMsP50: number | null
  readonly workers: ReadonlyArray<WorkerShare>
  readonly spread: { readonly requests: number | null; readonly prefillTokens: number | null }
}

const share = (results: ReadonlyArray<Result>): Share => {
  const usages = results.flatMap((result) => (result.usage === null ? [] : [result.usage]))
  const promptTokens = Stats.sum(usages.map((usage) => usage.promptTokens))
  const cachedTokens = Stats.sum(usages.map((usage) => usage.cachedTokens))
  const ttft = results.flatMap((result) => (result.ok && result.ttftMs !== null ? [result.ttftMs] : []))
  return {
    requests: results.length,
    promptTokens,
    cachedTokens,
    hitRate: Stats.ratio(cachedTokens, promptTokens),
    ttftMs: {
      p50: Stats.percentile(ttft, 0.5),
      p90: Stats.percentile(ttft, 0.9),
      p99: Stats.percentile(ttft, 0.99)
    }
  }
}

const reasons = (results: ReadonlyArray<Result>): ReadonlyArray<string> => {
  const counts = new Map<string, number>()
  for (const { error } of results) if (error !== null) counts.set(error, (counts.get(error) ?? 0) + 1)
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 5)
    .map(([error, count]) => `${count} × ${error}`)
}

export interface SummaryInput {
  readonly policy: string
  readonly seconds: number
  readonly planned: number
  readonly results: ReadonlyArray<Result>
  readonly workers: ReadonlyArray<WorkerShare>
}

export const summarise = ({ planned, policy, results, seconds, workers }: SummaryInput): Summary => {
  const succeeded = results.filter((result) => result.ok).length
  const of = (label: Label) => share(results.filter((result) => result.label === label))
  return {
    policy,
    seconds,
    planned,
    succeeded,
    failed: planned - succeeded,
    errors: reasons(results),
    all: share(results),
    byLabel: { agent: of("agent"), rag: of("rag"), chat: of("chat") },
    itlMsP50: Stats.percentile(
      results.flatMap((result) => (result.itlMs === null ? [] : [result.itlMs])),
      0.5
    ),
    workers,
    spread: {
      requests: Stats.spread(workers.map((worker) => worker.requests)),
      prefillTokens: Stats.spread(workers.map((worker) => worker.promptTokens - worker.cachedTokens))
    }
  }
}

export const percent = (value: number | null): string => (value === null ? "–" : `${(value * 100).toFixed(1)} %`)

export const millis = (value: number | null): string =>
  value === null ? "–" : value < 9_950 ? `${value.toFixed(0)} ms` : `${(value / 1_000).toFixed(1)} s`

const plain = (value: number | null): string => (value === null ? "–" : value.toFixed(2))

const tokens = (value: number): string => (value < 9_950 ? `${value}` : `${(value / 1_000).toFixed(0)} k`)

const times = (value: number | null): string =>
  value === null || !Number.isFinite(value) ? "–" : `${value.toFixed(value < 9.95 ? 1 : 0)}×`

const over = (a: number | null, b: number | null): number | null => (a === null || b === null || b === 0 ? null : a / b)

const labelNames: Readonly<Record<Label, string>> = { agent: "coding agents", rag: "RAG", chat: "chat" }

/** No rules between rows. */
export const compact = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" }

/** Warmpath beside round robin. The last column says how many times better; below 1 is worse. */
export const comparison = (ours: Summary, theirs: Summary, colors: Colors): string => {
  const table = new Table({
    head: ["", "Warmpath", "round robin", "better by"].map((text) => colors.bold(text)),
    colAligns: ["left", "right", "right", "right"],
    chars: compact,
    style: { head: [], border: colors.isColorSupported ? ["gray"] : [] }
  })
  const verdict = (gain: number | null): string =>
    gain === null
      ? "–"
      : gain >= 1.05
        ? colors.green(times(gain))
        : gain < 0.95
          ? colors.yellow(times(gain))
          : times(gain)
  const higher = (name: string, a: number | null, b: number | null, show: (value: number | null) => string) =>
    table.push([name, show(a), show(b), verdict(over(a, b))])
  const lower = (name: string, a: number | null, b: number | null, show: (value: number | null) => string) =>
    table.push([name, show(a), show(b), verdict(over(b, a))])

  higher("block hit rate, all traffic", ours.all.hitRate, theirs.all.hitRate, percent)
  for (const label of labels) {
    higher(`  ${labelNames[label]}`, ours.byLabel[label].hitRate, theirs.byLabel[label].hitRate, percent)
  }
  lower("TTFT p50, all traffic", ours.all.ttftMs.p50, theirs.all.ttftMs.p50, millis)
  lower("TTFT p90", ours.all.ttftMs.p90, theirs.all.ttftMs.p90, millis)
  lower("TTFT p99", ours.all.ttftMs.p99, theirs.all.ttftMs.p99, millis)
  for (const label of labels) {
    lower(`  ${labelNames[label]}, p50`, ours.byLabel[label].ttftMs.p50, theirs.byLabel[label].ttftMs.p50, millis)
  }
  const computed = (summary: Summary) => summary.all.promptTokens - summary.all.cachedTokens
  lower("prompt tokens computed", computed(ours), computed(theirs), (value) => tokens(value ?? 0))
  table.push(["load spread, requests", plain(ours.spread.requests), plain(theirs.spread.requests), "max/mean"])
  table.push([
    "load spread, prefill tokens",
    plain(ours.spread.prefillTokens),
    plain(theirs.spread.prefillTokens),
    "max/mean"
  ])
  const answered = (summary: Summary) => {
    const text = `${summary.succeeded} of ${summary.planned}`
    return summary.failed === 0 ? text : colors.red(text)
  }
  table.push(["requests answered", answered(ours), answered(theirs), ""])
  return table.toString()
}

/** The table, how its figures are made, and what went wrong if anything did. */
export const text = (ours: Summary, theirs: Summary, colors: Colors): string => {
  const mine = ours.byLabel.agent.hitRate
  const other = theirs.byLabel.agent.hitRate
  const factor = over(mine, other)
  const trouble = [ours, theirs].flatMap((summary) =>
    summary.errors.map((error) => colors.red(`${summary.policy}: ${error}`))
  )
  return [
    "",
    comparison(ours, theirs, colors),
    colors.bold(
      `Coding agents found ${percent(mine)} of their prompts already computed, and ${percent(other)} under round robin` +
        `${factor === null ? "" : `: ${times(factor)}`}.`
    ),
    "Hit rate is cached_tokens / prompt_tokens, summed over requests, as the engines report them; engines cache whole",
    "blocks. TTFT is measured by the client, from sending to the first content. The engines' GPU time is simulated.",
    ...trouble
  ].join("\n")
}
