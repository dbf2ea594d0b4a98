/** Observe: what the router shows of itself: metrics from requests as they settle, and the rest read when asked for. */
import type { Collector } from "../actors/Collector.ts"
import type { Fleet } from "../actors/Fleet.ts"
import type { Guesses } from "../actors/Guesses.ts"
import type { Ledger } from "../actors/Ledger.ts"
import type { PrefixIndex } from "../actors/PrefixIndex.ts"
import type { Trust } from "../actors/Trust.ts"
import { type Layer, tiers } from "./domain/Tier.ts"
import type { Settled } from "./http/Request.ts"
import type { Labels } from "./telemetry/Metrics.ts"
import * as Metrics from "./telemetry/Metrics.ts"
import * as ReplicaMetrics from "./telemetry/ReplicaMetrics.ts"
import * as RouterMetrics from "./telemetry/RouterMetrics.ts"
import * as StoreMetrics from "./telemetry/StoreMetrics.ts"
import * as WorkerMetrics from "./telemetry/WorkerMetrics.ts"

export interface Deps {
  readonly fleet: Fleet["Service"]
  readonly index: PrefixIndex["Service"]
  readonly collector: Collector["Service"]
  readonly trust: Trust["Service"]
  readonly guesses: Guesses["Service"]
  readonly ledger: Ledger["Service"]
  readonly now: () => number
  /** Requests being answered now: all, and those of one slot. */
  readonly inFlight: () => number
  readonly inFlightOf: (slot: number) => number
  /** Where there are several routers: what is shown of the others. */
  readonly replicas?: () => ReplicaMetrics.Numbers
  /** Where there is a metadata store. */
  readonly store?: () => StoreMetrics.Numbers
}

export interface Observe {
  readonly settled: (record: Settled) => void
  readonly refused: (status: number) => void
  /** How far the cache of one rank is known, and what it was given: for the admin API. */
  readonly rank: (slot: number) => unknown
  /** Prometheus text. */
  readonly metrics: () => string
}

const layerNames = [...tiers, "guess"] as const
const trusts = ["exact", "degraded", "approximate"] as const

/** What a collector counts, and the metric it goes to. */
const eventCounters = [
  ["batches", "eventBatches"],
  ["gaps", "eventGaps"],
  ["replays", "eventReplays"],
  ["replayFailures", "eventReplayFailures"],
  ["purges", "eventPurges"],
  ["restarts", "eventRestarts"],
  ["decodeErrors", "eventDecodeErrors"],
  ["overflows", "eventOverflows"],
  ["unknown", "eventUnknown"]
] as const
type Told = Record<(typeof eventCounters)[number][0], number>

const outcomeOf = ({ outcome, status, worker }: Settled): RouterMetrics.RequestOutcome => {
  if (outcome === "clientGone") return "cancelled"
  if (status >= 500) return worker === null ? "no_worker" : "worker_error"
  if (status >= 400) return "client_error"
  return outcome === "failed" ? "died" : "ok"
}

export const make = (deps: Deps): Observe => {
  const { collector, fleet, guesses, index, ledger, trust } = deps
  const registry = Metrics.registry()
  const metrics = RouterMetrics.make(registry)
  const workers = WorkerMetrics.make(registry)
  if (deps.replicas !== undefined) ReplicaMetrics.make(registry, deps.replicas)
  if (deps.store !== undefined) StoreMetrics.make(registry, deps.store)
  /** Counters that the collectors keep themselves: what was last told of each slot of each worker. */
  const told = new Map<string, Told>()
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
    const known = new Set<string>()
    for (const { facts, slots, spec } of fleet.list()) {
      for (const [i, slot] of slots.entries()) {
        known.add(`${spec.id} ${slot}`)
        countEvents(`${spec.id} ${slot}`, slot)
        gaugeRank(slot, { worker: spec.id, rank: String(facts?.ranks[i] ?? 0) })
      }
    }
    workers.sweep()
    for (const name of told.keys()) if (!known.has(name)) told.delete(name)
  })
  const countEvents = (name: string, slot: number): void => {
    const state = collector.state(slot)
    if (state === null) return
    const before = told.get(name)
    const unknown = Object.values(state.unknown).reduce((sum, count) => sum + count, 0)
    const now: Told = { ...state, unknown }
    for (const [counter, handle] of eventCounters) {
      // A collector that was started anew counts from 0 again.
      const from = before !== undefined && before[counter] <= now[counter] ? before[counter] : 0
      metrics[handle].add(now[counter] - from)
    }
    told.set(name, now)
  }
  const gaugeRank = (slot: number, labels: Labels): void => {
    const view = trust.of(slot)
    if (view === null) return
    for (const each of trusts)
      workers.set("warmpath_worker_trust", { ...labels, trust: each }, each === view.trust ? 1 : 0)
    workers.set("warmpath_worker_credit", labels, view.credit)
    const { deliveredShare, meanShare, meanTokens, samples } = view.error
    workers.set("warmpath_worker_delivered_ratio", labels, deliveredShare)
    workers.set("warmpath_worker_prediction_error_tokens", labels, samples === 0 ? null : meanTokens)
    workers.set("warmpath_worker_prediction_error_ratio", labels, samples === 0 ? null : meanShare)
    const blocks = blocksOf(slot)
    for (const tier of layerNames) workers.set("warmpath_worker_blocks", { ...labels, tier }, blocks[tier])
  }
  const trustOf = (slot: number) => {
    const view = trust.of(slot)
    if (view === null) return null
    const { sinceMs, state: _, ...shown } = view
    return { ...shown, since: new Date(sinceMs).toISOString() }
  }
  /** By the nearest tier that has a copy; a layer of the index holds those of nearer tiers, too. */
  const blocksOf = (slot: number): Record<(typeof layerNames)[number], number> => {
    const within = layerNames.map((_, layer) => index.heldBy(slot, layer as Layer))
    const [device, host, disk, external, guess] = within as [number, number, number, number, number]
    return { device, host: host - device, disk: disk - host, external: external - disk, guess }
  }
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
    rank: (slot) => ({
      slot,
      rank: fleet.rank(slot),
      inFlight: deps.inFlightOf(slot),
      ...trustOf(slot),
      blocks: blocksOf(slot),
      events: collector.state(slot),
      guesses: guesses.of(slot),
      ledger: ledger.worker(slot, deps.now())
    }),
    metrics: registry.render
  }
}
