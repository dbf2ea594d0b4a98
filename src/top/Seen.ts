/** Seen: the fleet as it was last told, put together from `fleet` events. Pure. */
import type { LiveChange, LiveFleet, LiveTotals, LiveWorker } from "../domain/Live.ts"

export interface Seen {
  readonly atMs: number
  readonly totals: LiveTotals
  readonly workers: ReadonlyMap<string, LiveWorker>
}

/** A first event has all of every worker; null stands for what came before it. */
export const apply = (before: Seen | null, told: LiveFleet): Seen => {
  const workers = new Map(told.whole ? [] : before?.workers)
  for (const id of told.gone) workers.delete(id)
  for (const change of told.workers) {
    const known = workers.get(change.id)
    workers.set(change.id, known === undefined ? (change as LiveChange & LiveWorker) : { ...known, ...change })
  }
  return { atMs: told.atMs, totals: told.totals, workers }
}

/** Numbers in names count as numbers. */
const { compare } = new Intl.Collator("en", { numeric: true })
const name = (a: LiveWorker, b: LiveWorker): number => compare(a.id, b.id)
const load = (worker: LiveWorker): number => worker.queued + worker.active
/** What needs an eye first. */
const unwell = ["open", "halfOpen", "suspect", "draining", "joining"]
const rank = ({ state }: LiveWorker): number => (unwell.indexOf(state) + unwell.length + 1) % (unwell.length + 1)

/** Ways to sort, in the order in which the key goes through them. The most first, but for names; ties by name. */
export const orders = {
  load: (a, b) => load(b) - load(a) || b.waitMs - a.waitMs,
  wait: (a, b) => b.waitMs - a.waitMs,
  "hit rate": (a, b) => (b.hitRate ?? -1) - (a.hitRate ?? -1),
  state: (a, b) => rank(a) - rank(b) || load(b) - load(a),
  name
} satisfies Record<string, (a: LiveWorker, b: LiveWorker) => number>
export type Order = keyof typeof orders
export const orderNames = Object.keys(orders) as ReadonlyArray<Order>

export const sorted = ({ workers }: Seen, order: Order): ReadonlyArray<LiveWorker> =>
  [...workers.values()].sort((a, b) => orders[order](a, b) || name(a, b))
