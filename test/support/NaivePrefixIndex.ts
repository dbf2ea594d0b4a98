/** The prefix index as anyone would write it first: a set of holders per key. Oracle of tests, opponent of benches. */
import type { KeyLanes } from "../../src/domain/Block.ts"
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { DEVICE, GUESS, layersMax } from "../../src/domain/Tier.ts"

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

/** The same with layers: a holder per layer and slot, tiers that begin as copies, and what is not told apart read from below. */
export class NaiveLayers {
  readonly index = new NaivePrefixIndex()
  readonly active = new Set<number>()
  readonly workersMax: number

  constructor(workersMax: number) {
    this.workersMax = workersMax
  }

  apply(delta: Exclude<KvDelta, { _tag: "Cleared" }>): void {
    const { layer, worker } = delta
    const holder = layer * this.workersMax + worker
    if (delta._tag === "Deepened") {
      if (layer === DEVICE || layer === GUESS || this.own(worker, layer).length > 0) return
      this.active.add(holder)
      for (let from = layer - 1; from >= DEVICE; from--) {
        if (from !== DEVICE && !this.active.has(from * this.workersMax + worker)) continue
        this.index.copy(from * this.workersMax + worker, holder)
        return
      }
    } else if (layer !== DEVICE && layer !== GUESS && !this.active.has(holder)) return
    else if (delta._tag === "Stored") this.index.store(holder, delta.keys)
    else this.index.remove(holder, delta.keys)
  }

  clear(worker: number, guess: boolean): void {
    for (let layer = guess ? GUESS : DEVICE; layer < (guess ? layersMax : GUESS); layer++) {
      this.index.clear(layer * this.workersMax + worker)
      this.active.delete(layer * this.workersMax + worker)
    }
  }

  /** By layer and slot: `out[layer * workersMax + slot]`. */
  depths(keys: KeyLanes, count: number, out: Uint32Array): void {
    this.index.overlap(keys, count, out)
    for (let at = this.workersMax; at < GUESS * this.workersMax; at++) {
      out[at] = Math.max(out[at]!, out[at - this.workersMax]!)
    }
  }

  /** A tier that is not told apart reads as the one before it. */
  dump(worker: number, layer: number): KeyLanes {
    const told = layer === DEVICE || layer === GUESS || this.active.has(layer * this.workersMax + worker)
    return told ? this.own(worker, layer) : this.dump(worker, layer - 1)
  }

  private own(worker: number, layer: number): KeyLanes {
    const keys: Array<number> = []
    for (const [key, set] of this.index.holders) {
      if (set.has(layer * this.workersMax + worker)) keys.push(Number(BigInt.asIntN(32, key)), Number(key >> 32n))
    }
    return Int32Array.from(keys)
  }
}
