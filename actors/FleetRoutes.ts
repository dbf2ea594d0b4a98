/**
 * From a model's name to the workers that may take it: pure, rebuilt when the fleet changes, read on every request.
 *
 * Names: an alias is the operator's word for a served name. A served name that shares its root with an earlier one of
 * the same worker is the same model twice (`--served-model-name a b`), so both have one canonical name, and one cache.
 */
import type { ServedModel, WorkerFacts } from "../src/domain/Worker.ts"
import type { State } from "./FleetLifecycle.ts"

/** What routing needs to know of one worker. */
export interface Served {
  readonly slots: ReadonlyArray<number>
  readonly state: State
  readonly facts: WorkerFacts | null
  /** May take a request now. */
  readonly takes: boolean
  /** Not eligible, yet better than none: its breaker opened on answers it gave, and it does answer. */
  readonly lastResort: boolean
}

export interface Route {
  /** Canonical name of the base model: what block keys are made with. */
  readonly model: string
  /** The name the engines know; differs from the client's for an alias. */
  readonly served: string
  /** Adapter name, or null for a base model. */
  readonly lora: string | null
  /** Smallest context among those serving it, tokens; null when none tells. */
  readonly maxModelLen: number | null
  /** 1 for each slot that may take a request now, of every rank of a worker. Never changed: a new fleet state makes a new route. */
  readonly eligible: Uint8Array
  readonly eligibleCount: number
  /** Workers known to serve it, in any state. */
  readonly workers: number
  /** For the error when none is eligible: `2 open, 1 draining`. */
  readonly states: string
}

export type Aliases = ReadonlyMap<string, string>

const canonicalOf = (facts: WorkerFacts, model: ServedModel): string => {
  const base = model.parent === null ? model : (facts.models.find((other) => other.id === model.parent) ?? null)
  if (base === null) return model.parent!
  const first = facts.models.find((other) => other.parent === null && other.root !== null && other.root === base.root)
  return (first ?? base).id
}

/** Canonical name of a worker's first base model: the namespace of its KV events. Null before it answered. */
export const canonical = (facts: WorkerFacts | null): string | null => {
  const base = facts?.models.find((model) => model.parent === null) ?? facts?.models[0]
  return facts == null || base === undefined ? null : canonicalOf(facts, base)
}

/** Undefined when no worker serves that name. `slots`: length of the bitmap. */
export const route = (
  workers: ReadonlyArray<Served>,
  aliases: Aliases,
  slots: number,
  name: string
): Route | undefined => {
  const served = aliases.get(name) ?? name
  const serving: Array<Served> = []
  let model: string | null = null
  let lora: string | null = null
  let maxModelLen: number | null = null
  for (const worker of workers) {
    const found = worker.facts?.models.find((entry) => entry.id === served)
    if (worker.facts === null || found === undefined || worker.state === "gone") continue
    serving.push(worker)
    // Workers that disagree about a name are the operator's to align: the first one decides, always the same way.
    if (model === null) {
      model = canonicalOf(worker.facts, found)
      lora = found.parent === null ? null : found.id
    }
    if (found.maxModelLen !== null) maxModelLen = Math.min(maxModelLen ?? Infinity, found.maxModelLen)
  }
  if (model === null) return undefined
  const eligible = new Uint8Array(slots)
  let eligibleCount = 0
  const mark = (worker: Served) => {
    for (const slot of worker.slots) eligible[slot] = 1
    eligibleCount += worker.slots.length
  }
  for (const worker of serving) if (worker.takes) mark(worker)
  if (eligibleCount === 0) for (const worker of serving) if (worker.lastResort) mark(worker)
  const counts = new Map<State, number>()
  for (const { state } of serving) counts.set(state, (counts.get(state) ?? 0) + 1)
  const states = [...counts].map(([state, count]) => `${count} ${state}`).join(", ")
  return { model, served, lora, maxModelLen, eligible, eligibleCount, workers: serving.length, states }
}

/** Every name a client may ask for, once: served names of workers that stay, then aliases of those. */
export const models = (workers: ReadonlyArray<Served>, aliases: Aliases): ReadonlyArray<ServedModel> => {
  const known = new Map<string, ServedModel>()
  for (const { facts, state } of workers) {
    if (facts === null || state === "gone" || state === "draining") continue
    for (const model of facts.models) {
      const before = known.get(model.id)
      const lengths = [before?.maxModelLen, model.maxModelLen].filter((length) => length != null)
      known.set(model.id, { ...(before ?? model), maxModelLen: lengths.length === 0 ? null : Math.min(...lengths) })
    }
  }
  for (const [alias, served] of aliases) {
    const model = known.get(served)
    if (model !== undefined && !known.has(alias)) known.set(alias, { ...model, id: alias, root: model.root ?? served })
  }
  return [...known.values()]
}
