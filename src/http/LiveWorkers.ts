/** The workers as the page shows them: one row each, all ranks together, from what the actors know now. */
import type { WorkerStatus } from "../../actors/Fleet.ts"
import type { WorkerLoad } from "../../actors/Ledger.ts"
import type { View } from "../../actors/Trust.ts"
import type { LiveWorker } from "../domain/Live.ts"
import type { Trust } from "../domain/Worker.ts"
import type { Pulse } from "./Pulse.ts"

export interface Deps {
  readonly list: () => ReadonlyArray<WorkerStatus>
  readonly trust: (slot: number) => Pick<View, "trust" | "credit" | "error"> | null
  readonly load: (slot: number) => Pick<WorkerLoad, "queued" | "active" | "waitMs"> | null
  /** Blocks of its device, and guessed ones. */
  readonly blocks: (slot: number) => number
  readonly pulse: Pick<Pulse, "worker">
}

const worse: ReadonlyArray<Trust> = ["exact", "degraded", "approximate"]

/** What nobody can see is no change. */
const hundredths = (share: number): number => Math.round(100 * share) / 100

const isSome = <A>(value: A | null): value is A => value !== null

const rowOf = (status: WorkerStatus, { blocks, load, pulse, trust }: Deps): LiveWorker => {
  const { facts, slots, spec, state, why } = status
  const views = slots.map(trust).filter(isSome)
  const delivered = views.map(({ error }) => error.deliveredShare).filter(isSome)
  const loads = slots.map(load).filter(isSome)
  const sum = (of: (each: (typeof loads)[number]) => number) => loads.reduce((total, each) => total + of(each), 0)
  const { hitRate, ttftsMs } = pulse.worker(spec.id)
  return {
    id: spec.id,
    url: spec.url,
    state,
    why,
    engine: facts?.engine ?? null,
    model: (facts?.models.find(({ parent }) => parent === null) ?? facts?.models[0])?.id ?? null,
    ranks: slots.length,
    trust: worse.findLast((each) => views.some((view) => view.trust === each)) ?? null,
    credit: views.length === 0 ? null : hundredths(Math.min(...views.map(({ credit }) => credit))),
    queued: sum(({ queued }) => queued),
    active: sum(({ active }) => active),
    waitMs: loads.length === 0 ? 0 : Math.round(Math.min(...loads.map(({ waitMs }) => waitMs))),
    inFlight: status.inFlight,
    deliveredShare: delivered.length === 0 ? null : hundredths(Math.min(...delivered)),
    blocks: slots.reduce((total, slot) => total + blocks(slot), 0),
    blocksMax: facts?.blockCount == null ? null : facts.blockCount * slots.length,
    hitRate: hitRate === null ? null : hundredths(hitRate),
    ttftsMs
  }
}

export const rows = (deps: Deps): ReadonlyArray<LiveWorker> => deps.list().map((status) => rowOf(status, deps))
