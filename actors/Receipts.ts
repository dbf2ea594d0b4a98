/**
 * Receipts: the newest requests that are over, and who is told of each as it ends.
 *
 * Owns     a ring of `max` records, and where each lies by its request's id.
 * Hears    `add`, once a request is over: synchronously, on the turn that ended it. O(1).
 * Answers  `find`, `lines`, `records`, synchronously: a record becomes a receipt only when somebody asks for it.
 * Loses    the oldest record when full; all, when the process ends.
 *
 * Of two records of one id the newest is found. A listener that throws costs nobody else anything: it is told on, and
 * `failed` hears why.
 */
import type { Receipt, ReceiptLine, ReceiptOutcome } from "../src/domain/Receipt.ts"

/** Which lines are wanted: older than the request of an id, of a worker or one rank of it, of an outcome. All when left out. */
export interface Wanted {
  readonly before?: string | null
  readonly worker?: string | null
  readonly outcome?: ReceiptOutcome | null
}

export interface Receipts<Record> {
  readonly add: (record: Record) => void
  readonly find: (id: string) => Receipt | null
  /** The newest first, at most `limit`. None where `before` is not here any more: whatever is older has gone before it. */
  readonly lines: (limit: number, wanted?: Wanted) => ReadonlyArray<ReceiptLine>
  /** All there are, the newest first. */
  readonly records: () => ReadonlyArray<Record>
  /** Records added since the start. */
  readonly added: () => number
  /** Calls back with every record from now on. Returns how to stop that. */
  readonly listen: (listener: (record: Record) => void) => () => void
}

export interface Options<Record> {
  readonly id: (record: Record) => string
  readonly receipt: (record: Record) => Receipt
  readonly line: (record: Record) => ReceiptLine
  /** Records kept, at least 1. */
  readonly max: number
  readonly failed: (defect: unknown) => void
}

export const make = <Record>({ failed, id, line, max, receipt }: Options<Record>): Receipts<Record> => {
  /** The record numbered n lies at n % max. */
  const ring: Array<Record> = []
  const numbers = new Map<string, number>()
  const listeners = new Set<(record: Record) => void>()
  let next = 0

  const at = (number: number): Record => ring[number % max]!

  function* newestFirst(below: number): Generator<Record> {
    for (let number = below - 1; number >= Math.max(0, next - max); number--) yield at(number)
  }

  return {
    add: (record) => {
      if (next >= max) {
        const oldest = id(at(next))
        if (numbers.get(oldest) === next - max) numbers.delete(oldest)
      }
      ring[next % max] = record
      numbers.set(id(record), next++)
      for (const listener of listeners) {
        try {
          listener(record)
        } catch (defect) {
          failed(defect)
        }
      }
    },
    find: (wanted) => {
      const number = numbers.get(wanted)
      return number === undefined ? null : receipt(at(number))
    },
    lines: (limit, { before = null, outcome = null, worker = null } = {}) => {
      const found: Array<ReceiptLine> = []
      const below = before === null ? next : (numbers.get(before) ?? 0)
      for (const record of newestFirst(below)) {
        if (found.length >= limit) break
        const each = line(record)
        if (worker !== null && each.worker !== worker && !each.worker?.startsWith(`${worker}/dp`)) continue
        if (outcome !== null && each.outcome !== outcome) continue
        found.push(each)
      }
      return found
    },
    records: () => [...newestFirst(next)],
    added: () => next,
    listen: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
  }
}
