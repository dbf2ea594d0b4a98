/**
 * WaitingRoom: requests that are not sent yet, by the worker that each would go to: by priority, then the shortest first.
 *
 * Short is what its prompt takes where most of it is held; every ms waited counts for `ageing` of one, so that a long prompt is
 * not passed for ever: after ten minutes at most one of three. That makes a key that never changes.
 */

/** A request that waits. */
export interface Waiting {
  /** Where it would go. */
  readonly slot: number
  /** Its prefill there, and where most of its prompt is held, ms. */
  readonly ownMs: number
  readonly leastMs: number
  readonly bornMs: number
  /** Lower goes first. */
  readonly priority: number
}

const ageing = 0.3

const keyOf = (leastMs: number, bornMs: number): number => leastMs + ageing * bornMs

/** Whether `a` goes after one with this priority and key. */
const isAfter = (a: Waiting, priority: number, key: number): boolean =>
  a.priority === priority ? keyOf(a.leastMs, a.bornMs) > key : a.priority > priority

export class WaitingRoom<A extends Waiting> {
  /** By slot, each in order. */
  readonly #queues: Array<Array<A>> = []
  /** All of them, who was put in last at the end. */
  readonly #all = new Set<A>()

  get size(): number {
    return this.#all.size
  }

  /** Fills in the prefill, by slot, of those that go before such a request. O(waiting). */
  ahead(priority: number, leastMs: number, bornMs: number, out: Float64Array): void {
    const key = keyOf(leastMs, bornMs)
    out.fill(0)
    for (let slot = 0; slot < this.#queues.length; slot++) {
      let sum = 0
      for (const each of this.#queues[slot]!) {
        if (isAfter(each, priority, key)) break
        sum += each.ownMs
      }
      out[slot] = sum
    }
  }

  put(waiting: A): void {
    const { bornMs, leastMs, priority, slot } = waiting
    const key = keyOf(leastMs, bornMs)
    for (let i = this.#queues.length; i <= slot; i++) this.#queues.push([])
    const queue = this.#queues[slot]!
    let at = queue.length
    while (at > 0 && isAfter(queue[at - 1]!, priority, key)) at--
    queue.splice(at, 0, waiting)
    this.#all.add(waiting)
  }

  /** Takes it out, where it is in. */
  take(waiting: A): boolean {
    if (!this.#all.delete(waiting)) return false
    const queue = this.#queues[waiting.slot]!
    queue.splice(queue.indexOf(waiting), 1)
    return true
  }

  /** Of those that would go to a worker, the one to go next. */
  first(slot: number): A | undefined {
    return this.#queues[slot]?.[0]
  }

  /** Slots that anybody waits for are below it. */
  get slots(): number {
    return this.#queues.length
  }

  /** Who was put in longest ago. Taken out and put back, all are found in as many calls as there are. */
  another(): A | undefined {
    for (const waiting of this.#all) return waiting
    return undefined
  }
}
