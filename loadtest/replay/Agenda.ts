/** What happens when, in virtual time: a binary heap by time, then by order of adding. */
interface Act {
  readonly atMs: number
  readonly order: number
  readonly act: (nowMs: number) => void
}

const isBefore = (a: Act, b: Act): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

export class Agenda {
  readonly #heap: Array<Act> = []
  #order = 0

  /** When the next act is; Infinity when there is none. */
  get nextAt(): number {
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY
  }

  add(atMs: number, act: (nowMs: number) => void): void {
    const heap = this.#heap
    const added = { atMs, order: this.#order++, act }
    let at = heap.push(added) - 1
    for (let parent = (at - 1) >> 1; at > 0 && isBefore(added, heap[parent]!); parent = (at - 1) >> 1) {
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = added
  }

  /** Takes the next act out and does it. */
  next(): void {
    const heap = this.#heap
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length > 0) {
      let at = 0
      for (;;) {
        let child = 2 * at + 1
        if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
        if (child >= heap.length || !isBefore(heap[child]!, last)) break
        heap[at] = heap[child]!
        at = child
      }
      heap[at] = last
    }
    first.act(first.atMs)
  }
}
