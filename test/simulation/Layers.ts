/** What an index that applies every change at once would hold for one slot: plain sets, the oracle of the simulation. */
import type { KvDelta } from "../../src/domain/KvEvent.ts"
import { nameOf } from "./ModelEngine.ts"

export class Layers {
  /** By layer; undefined is not told apart. */
  private sets: Array<Set<number> | undefined> = [new Set()]

  apply(delta: KvDelta): void {
    if (delta._tag === "Cleared") {
      this.sets = [new Set()]
      return
    }
    if (delta._tag === "Deepened") {
      this.sets[delta.layer] = new Set(this.within(delta.layer - 1))
      return
    }
    const set = this.sets[delta.layer]
    if (set === undefined) throw new Error(`${delta._tag} on layer ${delta.layer}, which was never told apart`)
    for (let at = 0; at < delta.keys.length; at += 2) {
      if (delta._tag === "Stored") set.add(nameOf(delta.keys, at))
      else set.delete(nameOf(delta.keys, at))
    }
  }

  clone(): Layers {
    const same = new Layers()
    same.replace(this)
    return same
  }

  replace({ sets }: Layers): void {
    this.sets = sets.map((set) => (set === undefined ? undefined : new Set(set)))
  }

  /** What is within reach of a layer. */
  within(layer: number): Set<number> {
    for (let nearest = layer; nearest > 0; nearest--) {
      const set = this.sets[nearest]
      if (set !== undefined) return set
    }
    return this.sets[0]!
  }
}
