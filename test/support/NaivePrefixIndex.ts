/** The prefix index as anyone would write it first: a set of holders per key. Oracle of tests, opponent of benches. */
import type { KeyLanes } from "../../src/domain/Block.ts"

const keyAt = (keys: KeyLanes, i: number): bigint => (BigInt(keys[i * 2 + 1]!) << 32n) | BigInt(keys[i * 2]! >>> 0)

export class NaivePrefixIndex {
  readonly holders = new Map<bigint, Set<number>>()

  store(holder: number, keys: KeyLanes, count = keys.length / 2): void {
    for (let i = 0; i < count; i++) {
      const key = keyAt(keys, i)
      const set = this.holders.get(key)
      if (set === undefined) this.holders.set(key, new Set([holder]))
      else set.add(holder)
    }
  }

  remove(holder: number, keys: KeyLanes, count = keys.length / 2): number {
    let removed = 0
    for (let i = 0; i < count; i++) {
      const key = keyAt(keys, i)
      const set = this.holders.get(key)
      if (set?.delete(holder)) removed++
      if (set?.size === 0) this.holders.delete(key)
    }
    return removed
  }

  clear(holder: number): void {
    for (const [key, set] of this.holders) if (set.delete(holder) && set.size === 0) this.holders.delete(key)
  }

  copy(from: number, to: number): void {
    for (const set of this.holders.values()) if (set.has(from)) set.add(to)
  }

  overlap(keys: KeyLanes, count: number, out: Uint32Array): void {
    out.fill(0)
    let alive: ReadonlyArray<number> | undefined
    for (let i = 0; i < count; i++) {
      const set = this.holders.get(keyAt(keys, i))
      if (set === undefined) return
      alive = alive === undefined ? [...set] : alive.filter((holder) => set.has(holder))
      if (alive.length === 0) return
      for (const holder of alive) out[holder] = i + 1
    }
  }

  memberships(): number {
    let sum = 0
    for (const set of this.holders.values()) sum += set.size
    return sum
  }
}
