/** Observe: what the router shows of itself: metrics from requests as they settle, and the rest read when asked for. */
import type { Collector } from "../actors/Collector.ts"
import type { Fleet } from "../actors/Fleet.ts"
import * as Lifecycle from "../actors/FleetLifecycle.ts"
import type { Guesses } from "../actors/Guesses.ts"
import type { Ledger } from "../actors/Ledger.ts"
import type { PrefixIndex } from "../actors/PrefixIndex.ts"
import type { Trust } from "../actors/Trust.ts"
import { type Layer, tiers } from "./domain/Tier.ts"
import { outcomeOf, regretOf } from "./http/ReceiptOf.ts"
import type { Settled } from "./http/Request.ts"
import * as Metrics from "./telemetry/Metrics.ts"
import * as ProcessMetrics from "./telemetry/ProcessMetrics.ts"
import * as ReceiptMetrics from "./telemetry/ReceiptMetrics.ts"
import * as ReplicaMetrics from "./telemetry/ReplicaMetrics.ts"
import * as RequestMetrics from "./telemetry/RequestMetrics.ts"
import * as RouterMetrics from "./telemetry/RouterMetrics.ts"
import * as SpanMetrics from "./telemetry/SpanMetrics.ts"
import type { Counts } from "./telemetry/Spans.ts"
import * as StoreMetrics from "./telemetry/StoreMetrics.ts"
import * as TrafficMetrics from "./telemetry/TrafficMetrics.ts"
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
  /** Of them, those that wait for their turn. */
  readonly waiting: () => number
  /** Where there are several routers: what is shown of the others. */
  readonly replicas?: () => ReplicaMetrics.Numbers
  /** Where there is a metadata store. */
  readonly store?: () => StoreMetrics.Numbers
  /** Where requests are traced. */
  readonly spans?: Readonly<Counts>
  /** Where receipts are written somewhere. */
  readonly receiptSinks?: () => ReceiptMetrics.Numbers
}

export interface Observe {
  readonly settled: (record: Settled) => void
  readonly refused: (status: number) => void
  /** A batch of KV events was read that its engine published then, seconds since the epoch. */
  readonly heard: (publishedAt: number) => void
  /** How far the cache of one rank is known, and what it was given: for the admin API. */
  readonly rank: (slot: number) => unknown
  /** Prometheus text. */
  readonly metrics: () => string
  /** The same, for other forms. */
  readonly collect: Metrics.Registry["collect"]
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

/** A worker that has left is listed no more. */
const states = Lifecycle.states.filter((state) => state !== "gone")

export const make = (deps: Deps): Observe => {
  const { collector, fleet, guesses, index, ledger, trust } = deps
  const registry = Metrics.registry()
  const metrics = RouterMetrics.make(registry)
  const workers = WorkerMetrics.make(registry)
  /** Also by workers that drain. */
  const served = (): ReadonlySet<string> => {
    const names = new Set(fleet.list().flatMap(({ facts }) => facts?.models.map(({ id }) => id) ?? []))
    return new Set([...names].flatMap((name) => fleet.resolve(name)?.model ?? []))
  }
  const requests = RequestMetrics.make(registry, served)
  const traffic = TrafficMetrics.make(registry, (worker) => fleet.find(worker) !== undefined, served)
  ProcessMetrics.make(registry)
  if (deps.replicas !== undefined) ReplicaMetrics.make(registry, deps.replicas)
  if (deps.store !== undefined) StoreMetrics.make(registry, deps.store)
  if (deps.receiptSinks !== undefined) ReceiptMetrics.make(registry, deps.receiptSinks)
  if (deps.spans !== undefined) SpanMetrics.make(registry, deps.spans)
  /** Counters that the collectors keep themselves: what was last told of each slot of each worker. */
  const told = new Map<string, Told>()
  const indexTold = new Map<string, number>()
  registry.onScrape(() => {
    metrics.inFlight.set(deps.inFlight())
    metrics.waiting.set(deps.waiting())
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
    const listed = fleet.list()
    metrics.workers.set(listed.length)
    metrics.workersAble.set(listed.filter(({ state }) => Lifecycle.takesWork(state)).length)
    for (const { facts, slots, spec, state } of listed) {
      const whole = workers.of(spec.id)
      whole.set("up", ["ready", "suspect", "draining"].includes(state) ? 1 : 0)
      for (const each of states) whole.set("state", each === state ? 1 : 0, each)
      for (const [i, slot] of slots.entries()) {
        const rank = workers.of(spec.id, String(facts?.ranks[i] ?? 0))
        known.add(`${spec.id} ${slot}`)
        countEvents(`${spec.id} ${slot}`, slot, rank)
        gaugeLoad(slot, rank)
        gaugeTrust(slot, rank)
      }
    }
    workers.sweep()
    traffic.sweep()
    requests.sweep()
    for (const name of told.keys()) if (!known.has(name)) told.delete(name)
  })
  const countEvents = (name: string, slot: number, rank: WorkerMetrics.Told): void => {
    const state = collector.state(slot)
    if (state === null) return
    for (const each of ["batches", "gaps", "purges"] as const) rank.count(each, state[each])
    rank.set("eventsWhole", state.health === "whole" ? 1 : 0)
    rank.set("eventsHeld", state.lagEvents)
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
  const gaugeLoad = (slot: number, rank: WorkerMetrics.Told): void => {
    rank.set("inFlight", deps.inFlightOf(slot))
    const load = ledger.worker(slot, deps.now())
    if (load === null) return
    rank.set("queued", load.queued)
    rank.set("active", load.active)
    rank.set("activeTokens", load.activeTokens)
    rank.set("wait", load.waitMs / 1_000)
  }
  const gaugeTrust = (slot: number, rank: WorkerMetrics.Told): void => {
    const view = trust.of(slot)
    if (view === null) return
    for (const each of trusts) rank.set("trust", each === view.trust ? 1 : 0, each)
    rank.set("credit", view.credit)
    const { deliveredShare, meanShare, meanTokens, samples } = view.error
    rank.set("deliveredRatio", deliveredShare)
    rank.set("errorTokens", samples === 0 ? null : meanTokens)
    rank.set("errorRatio", samples === 0 ? null : meanShare)
    const blocks = blocksOf(slot)
    for (const tier of layerNames) rank.set("blocks", blocks[tier], tier)
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
      const { decisionMs, deliveredTokens, outputTokens, predictedTokens, promptTokens, tries } = record
      const outcome = outcomeOf(record)
      metrics.requests[outcome].add(1)
      requests.record(record, outcome)
      traffic.record(record, outcome, regretOf(record)?.pictureTokens ?? null)
      if (decisionMs !== null) metrics.decision.record(decisionMs)
      if (tries === 0) return
      metrics.retries.add(tries - 1)
      metrics.promptTokens.add(promptTokens)
      metrics.predictedCachedTokens.add(predictedTokens)
      if (outputTokens !== null) metrics.outputTokens.add(outputTokens)
      if (deliveredTokens === null) return
      metrics.deliveredCachedTokens.add(deliveredTokens)
      metrics.predictedForDelivered.add(predictedTokens)
    },
    // Others from 500 on are of what a client asks that HTTP/1.1 has and this has not.
    refused: (status) => metrics.requests[status === 500 ? "defect" : "client_error"].add(1),
    // Two clocks: what comes before it was sent came at once.
    heard: (publishedAt) => metrics.eventLag.record(Math.max(0, Date.now() - publishedAt * 1_000)),
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
    metrics: registry.render,
    collect: registry.collect
  }
}
