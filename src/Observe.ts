/** Observe: what the router shows of itself: metrics from requests as they settle, and the rest read when asked for. */
import type { Collector } from "../actors/Collector.ts"
import type { Fleet } from "../actors/Fleet.ts"
import type { Ledger } from "../actors/Ledger.ts"
import type { PrefixIndex } from "../actors/PrefixIndex.ts"
import type { Settled } from "./http/Request.ts"
import * as Metrics from "./telemetry/Metrics.ts"
import * as RouterMetrics from "./telemetry/RouterMetrics.ts"

export interface Deps {
  readonly fleet: Fleet["Service"]
  readonly index: PrefixIndex["Service"]
  readonly collector: Collector["Service"]
  readonly ledger: Ledger["Service"]
  readonly now: () => number
  /** Requests being answered now. */
  readonly inFlight: () => number
}

export interface Observe {
  readonly settled: (record: Settled) => void
  readonly refused: (status: number) => void
  /** How far a worker's cache is known, and what it was given: for the admin API. */
  readonly cache: (slot: number) => unknown
  /** Prometheus text. */
  readonly metrics: () => string
}

const outcomeOf = ({ outcome, status, worker }: Settled): RouterMetrics.RequestOutcome => {
  if (outcome === "clientGone") return "cancelled"
  if (status >= 500) return worker === null ? "no_worker" : "worker_error"
  if (status >= 400) return "client_error"
  return outcome === "failed" ? "died" : "ok"
}

export const make = (deps: Deps): Observe => {
  const { collector, fleet, index, ledger } = deps
  const registry = Metrics.registry()
  const metrics = RouterMetrics.make(registry)
  /** Counters that the collectors keep themselves: what was last told of each worker. */
  const told = new Map<
    string,
    { batches: number; gaps: number; replays: number; purges: number; decodeErrors: number }
  >()
  const indexTold = new Map<string, number>()
  registry.onScrape(() => {
    metrics.inFlight.set(deps.inFlight())
    const stats = index.stats()
    metrics.indexBlocks.set(stats.blocks)
    metrics.indexBytes.set(stats.bytes)
    for (const [counter, count] of [
      ["indexEvictedBlocks", stats.evictedBlocks],
      ["indexStoresFull", stats.storesFull],
      ["indexStoresOrphaned", stats.storesOrphaned],
      ["indexOverflows", stats.overflowed],
      ["indexResets", stats.resets]
    ] as const) {
      // A table that was lost counts from 0 again.
      const before = indexTold.get(counter) ?? 0
      metrics[counter].add(count >= before ? count - before : count)
      indexTold.set(counter, count)
    }
    const known = new Set(fleet.list().map(({ spec }) => spec.id))
    for (const id of told.keys()) if (!known.has(id)) told.delete(id)
    for (const id of known) {
      const state = collector.state(id)
      if (state === null) continue
      const before = told.get(id)
      // A collector that was started anew counts from 0 again.
      const grown = (name: "batches" | "gaps" | "replays" | "purges" | "decodeErrors") =>
        state[name] - (before !== undefined && before[name] <= state[name] ? before[name] : 0)
      metrics.eventBatches.add(grown("batches"))
      metrics.eventGaps.add(grown("gaps"))
      metrics.eventReplays.add(grown("replays"))
      metrics.eventPurges.add(grown("purges"))
      metrics.eventDecodeErrors.add(grown("decodeErrors"))
      const { batches, decodeErrors, gaps, purges, replays } = state
      told.set(id, { batches, gaps, replays, purges, decodeErrors })
    }
  })
  return {
    settled: (record) => {
      const { decisionMs, deliveredTokens, predictedTokens, promptTokens, totalMs, tries, ttftMs } = record
      metrics.requests[outcomeOf(record)].add(1)
      metrics.duration.record(totalMs)
      if (decisionMs !== null) metrics.decision.record(decisionMs)
      if (ttftMs !== null) metrics.ttft.record(ttftMs)
      if (tries === 0) return
      metrics.retries.add(tries - 1)
      metrics.promptTokens.add(promptTokens)
      metrics.predictedCachedTokens.add(predictedTokens)
      if (deliveredTokens === null) return
      metrics.reportedCachedTokens.add(deliveredTokens)
      metrics.predictedForReported.add(predictedTokens)
    },
    refused: (status) => metrics.requests[status < 500 ? "client_error" : "no_worker"].add(1),
    cache: (slot) => {
      const id = fleet.worker(slot)?.spec.id
      return {
        blocks: index.heldBy(slot),
        events: id === undefined ? null : collector.state(id),
        ledger: ledger.worker(slot, deps.now())
      }
    },
    metrics: registry.render
  }
}
