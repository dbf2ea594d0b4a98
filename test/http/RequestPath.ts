/** The request path without a fleet behind it: two ready workers of given facts, and everything it does written down. */
import type { Fleet } from "../../actors/Fleet.ts"
import type { Route } from "../../actors/FleetRoutes.ts"
import * as Ledger from "../../actors/Ledger.ts"
import type { Report } from "../../actors/Pictures.ts"
import type { WorkerFacts } from "../../src/domain/Worker.ts"
import * as BlockHash from "../../src/hot/BlockHash.ts"
import type { Pool } from "../../src/http/Pool.ts"
import * as Request from "../../src/http/Request.ts"
import type { Forward } from "../../src/http/Upstream.ts"

const workersMax = 4

export const facts: WorkerFacts = {
  engine: "unknown",
  models: [{ id: "m", parent: null, root: null, maxModelLen: null }],
  blockSize: 16,
  blockCount: null,
  eventSources: [],
  ranks: [],
  priorityOrder: null,
  unsetPriority: null,
  tokenizes: false,
  startedAtMs: null
}

export interface Options {
  readonly deps?: Partial<Request.Deps>
  /** What is special about each worker. */
  readonly workers?: ReadonlyArray<Partial<WorkerFacts>>
  readonly urls?: ReadonlyArray<string>
}

export const setUp = ({ deps: given = {}, urls = [], workers: special = [{}, {}] }: Options = {}) => {
  const ledger = Ledger.make({ policy: "eta", workersMax })
  const workers = special.map((some, slot) => ({
    slot,
    slots: [slot],
    spec: { id: `w${slot}`, url: urls[slot] ?? `http://127.0.0.1:${9_000 + slot}` },
    facts: { ...facts, ...some }
  }))
  const route: Route = {
    model: "m",
    served: "m",
    lora: null,
    maxModelLen: null,
    eligible: Uint8Array.from(workers, () => 1),
    eligibleCount: workers.length,
    workers: workers.length,
    states: `${workers.length} ready`
  }
  const state = {
    routes: new Map<string, Route>([["m", route]]),
    forwards: [] as Forward[],
    learned: [] as number[],
    reports: [] as Report[],
    reported: [] as number[],
    records: [] as Request.Settled[],
    refused: [] as number[],
    outcomes: [] as string[]
  }
  const inFlight = new Uint32Array(workersMax)
  for (const { slot } of workers) ledger.join(slot, null)
  const fleet = {
    resolve: (name: string) => state.routes.get(name),
    worker: (slot: number) => workers[slot],
    sent: () => {},
    outcome: (_slot: number, kind: string) => void state.outcomes.push(kind),
    models: () => [],
    list: () => []
  } as unknown as Fleet["Service"]
  const deps: Request.Deps = {
    fleet,
    ledger,
    hasher: BlockHash.make(0n),
    depths: (_keys, _count, out) => {
      out.fill(0)
      return false
    },
    blockSizes: new Uint32Array(workersMax).fill(16),
    evicted: () => 0,
    tokenizerOf: () => null,
    computed: (slot) => {
      state.learned.push(slot)
      return (report) => void state.reports.push(report)
    },
    rankOf: () => null,
    reportsFull: (slot) => void state.reported.push(slot),
    pool: { origin: () => ({}) } as unknown as Pool,
    forward: (_pool, forward) => {
      state.forwards.push(forward)
      return { abort: () => {} }
    },
    inFlight,
    workersMax,
    retriesMax: 2,
    draining: () => false,
    now: () => performance.now(),
    settled: (record) => void state.records.push(record),
    refused: (status) => void state.refused.push(status),
    ...given
  }
  const idle = () => {
    const { workers: loads } = ledger.snapshot(performance.now())
    return inFlight.every((count) => count === 0) && loads.every(({ active, queued }) => active + queued === 0)
  }
  return { ...state, deps, handle: Request.make(deps), idle, inFlight, ledger }
}
