/**
 * KeyLayers: what a change of reach means for each layer of the index.
 *
 * A block's reach is the nearest tier with a copy; layer L of the index is what has reach L or less. Only changes of
 * reach are emitted, once for each layer told apart: stores into deeper layers first, removals from nearer layers
 * first, so that at no moment a layer holds what a deeper one does not. A layer is told apart from the first copy
 * counted on its tier. Should an engine have several groups (not `isOnly`), the last change of any of them decides.
 */
import type { KeyLanes } from "../domain/Block.ts"
import { anyChain, type KvDelta } from "../domain/KvEvent.ts"
import { DEVICE, EXTERNAL, type Layer } from "../domain/Tier.ts"
import * as KeySlice from "./KeySlice.ts"

export type Emit = (delta: KvDelta) => void

export class KeyLayers {
  private readonly worker: number
  /** Layers told apart: a bit each. */
  told = 1

  constructor(worker: number) {
    this.worker = worker
  }

  clear(emit: Emit): void {
    this.told = 1
    emit({ _tag: "Cleared", worker: this.worker, guess: false })
  }

  /** From the first copy on a lower tier on, its layer is told apart. */
  deepen(tier: number, emit: Emit): void {
    if (this.isTold(tier)) return
    this.told |= 1 << tier
    emit({ _tag: "Deepened", worker: this.worker, layer: tier as Layer })
  }

  private isTold(layer: number): boolean {
    return (this.told & (1 << layer)) !== 0
  }

  /** What of a slice came nearer, for each layer the stretches of keys that are new to it. */
  nearer(tier: number, size: number, parent: KeyLanes | null, isOnly: boolean, emit: Emit): void {
    const { worker } = this
    let all: KeyLanes | null = null
    for (let layer = EXTERNAL; layer >= tier; layer--) {
      if (!this.isTold(layer)) continue
      // With several groups another one may have had the last word on the deeper layers.
      const reachMin = isOnly ? layer + 1 : tier + 1
      let from = 0
      for (let i = 0; i <= size; i++) {
        if (i < size && KeySlice.reach[i]! >= reachMin) continue
        if (i === size && from === 0) {
          all ??= KeySlice.copied(0, size)
          emit({ _tag: "Stored", worker, layer: layer as Layer, parent, keys: all })
        } else if (i > from) {
          const before = from === 0 || parent === anyChain ? parent : KeySlice.copied(from - 1, from)
          const keys = KeySlice.copied(from, i)
          emit({ _tag: "Stored", worker, layer: layer as Layer, parent: before, keys })
        }
        from = i + 1
      }
    }
  }

  /** What of a slice went farther, for each layer the keys it lost. */
  farther(tier: number, size: number, isOnly: boolean, emit: Emit): void {
    const { worker } = this
    let all: KeyLanes | null = null
    for (let layer = isOnly ? tier : DEVICE; layer <= EXTERNAL; layer++) {
      if (!this.isTold(layer)) continue
      let lost = 0
      for (let i = 0; i < size; i++) if (KeySlice.reach[i]! > layer) lost++
      if (lost === 0) return
      let keys: KeyLanes
      if (lost === size) {
        all ??= KeySlice.copied(0, size)
        keys = all
      } else {
        keys = new Int32Array(lost * 2)
        for (let i = 0, at = 0; i < size; i++) {
          if (KeySlice.reach[i]! <= layer) continue
          keys[at++] = KeySlice.keys[i * 2]!
          keys[at++] = KeySlice.keys[i * 2 + 1]!
        }
      }
      emit({ _tag: "Removed", worker, layer: layer as Layer, keys })
    }
  }

  /** A key that is on no tier any more, whatever its reach was. */
  gone(key: KeyLanes, emit: Emit): void {
    for (let layer = DEVICE; layer <= EXTERNAL; layer++) {
      if (this.isTold(layer)) emit({ _tag: "Removed", worker: this.worker, layer: layer as Layer, keys: key })
    }
  }

  /** A key that is known from now on, with this reach; the block before it is not. */
  known(key: KeyLanes, reach: number, emit: Emit): void {
    for (let layer = EXTERNAL; layer >= reach; layer--) {
      if (this.isTold(layer))
        emit({ _tag: "Stored", worker: this.worker, layer: layer as Layer, parent: anyChain, keys: key })
    }
  }
}
