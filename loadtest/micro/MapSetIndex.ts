/**
 * The prefix index as anyone would write it first: `Map<key, Set<worker>>`. What the bench compares with.
 *
 * Keys are read as bigints through a BigInt64Array over the same lanes, the cheapest way to a 64-bit Map key.
 */
export class MapSetIndex {
  readonly holders = new Map<bigint, Set<number>>()

  store(worker: number, keys: BigInt64Array, from: number, to: number): void {
    const { holders } = this
    for (let i = from; i < to; i++) {
      const key = keys[i]!
      const set = holders.get(key)
      if (set === undefined) holders.set(key, new Set([worker]))
      else set.add(worker)
    }
  }

  remove(worker: number, keys: BigInt64Array, from: number, to: number): number {
    const { holders } = this
    let removed = 0
    for (let i = from; i < to; i++) {
      const key = keys[i]!
      const set = holders.get(key)
      if (set?.delete(worker)) removed++
      if (set?.size === 0) holders.delete(key)
    }
    return removed
  }

  /** Leading blocks of each worker. Returns the deepest. */
  overlap(keys: BigInt64Array, from: number, to: number, out: Uint32Array): number {
    out.fill(0)
    const { holders } = this
    let alive: Set<number> | undefined
    let depth = 0
    for (let i = from; i < to; i++) {
      const set = holders.get(keys[i]!)
      if (set === undefined) break
      if (alive === undefined) alive = new Set(set)
      else {
        for (const worker of alive) {
          if (set.has(worker)) continue
          alive.delete(worker)
          out[worker] = depth
        }
      }
      if (alive.size === 0) return depth
      depth++
    }
    if (alive !== undefined) for (const worker of alive) out[worker] = depth
    return depth
  }
}
