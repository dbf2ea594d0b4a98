/**
 * NodeReach: a request looked up in a node table: how many leading blocks are within reach of each layer of each name.
 *
 * The same answer as `PieceWalk` gives, over the records as they lie: no node is copied and no name spelled. In steps, so that
 * a long request among thousands of holders lets others pass.
 */
import type { KeyLanes } from "../domain/Block.ts"
import { GUESS, layersMax } from "../domain/Tier.ts"
import { namesMax } from "./NodeNames.ts"
import type { NodeTable } from "./NodeTable.ts"
import * as PieceNode from "./PieceNode.ts"

/** Of the piece at hand: places that the layers of a name hold, by slot of the name; and which piece they are of. */
const masks = new Int32Array(namesMax * layersMax)
const stamps = new Int32Array(namesMax)
let stamp = 0

export class NodeReach {
  /** Slots of names that hold a first block, and five depths for each. */
  readonly slots: Array<number> = []
  readonly depths: Array<number> = []
  private readonly table: NodeTable
  private keys: KeyLanes
  private readonly count: number
  private readonly stride: number
  /** Places in `slots` of names that hold all blocks so far. */
  private alive: Array<number> = []
  private piece = 0

  /** The first `count` keys, which stay as they are until the last step, or until `keep`. */
  constructor(table: NodeTable, keys: KeyLanes, count: number, stride: number) {
    this.table = table
    this.keys = keys
    this.count = count
    this.stride = stride
  }

  /** Goes on for about so many entries of nodes. True when it is done. */
  step(budget: number): boolean {
    const { count, stride } = this
    for (let left = budget; left > 0; this.piece++) {
      const from = this.piece * stride
      if (from >= count || (this.piece > 0 && this.alive.length === 0)) return true
      const end = Math.min(stride, count - from)
      stamp = (stamp + 1) | 0
      for (const at of this.alive) this.expect(this.slots[at]!)
      left -= 16 + this.gather(from, end)
      this.extend(from, end)
    }
    return false
  }

  /** The keys may change from now on. */
  keep(): void {
    this.keys = this.keys.slice()
  }

  private expect(slot: number): void {
    stamps[slot] = stamp
    masks.fill(0, slot * layersMax, (slot + 1) * layersMax)
  }

  /** Adds what the nodes on the path through a piece hold; answers how many entries were looked at. */
  private gather(from: number, end: number): number {
    const { keys, slots, table } = this
    const { names, words } = table
    const headLo = keys[2 * from]!
    const headHi = keys[2 * from + 1]!
    let looked = 0
    for (let at = 0; at < end; ) {
      const lane = 2 * (from + at)
      const record = table.find(keys[lane]!, keys[lane + 1]!)
      if (record === 0) break
      const shape = words[record + 4]!
      const n = (shape >>> 8) & 0xff
      if ((shape & 0xff) !== at || ((shape >>> 16) & 0xff) !== this.stride || !table.isOf(record, headLo, headHi)) break
      const first = record + 8
      const most = 2 * Math.min(n, end - at)
      let same = 2
      while (
        same < most &&
        words[first + same] === keys[lane + same] &&
        words[first + same + 1] === keys[lane + same + 1]
      ) {
        same += 2
      }
      const to = at + (same >> 1)
      const places = PieceNode.before(to) & ~PieceNode.before(at)
      const entries = first + 2 * n
      const h = words[record + 5]! >>> 16
      for (let entry = entries; entry < entries + 2 * h; entry += 2) {
        const mask = words[entry + 1]! & places
        if (mask === 0) continue
        const tag = words[entry]!
        const slot = names.slotOf(tag >>> 3)
        const layer = tag & 7
        if (slot === undefined || layer >= layersMax) continue
        if (stamps[slot] !== stamp) {
          if (from > 0) continue
          this.alive.push(slots.length)
          slots.push(slot)
          this.depths.push(0, 0, 0, 0, 0)
          this.expect(slot)
        }
        masks[slot * layersMax + layer]! |= mask
      }
      looked += h
      if (to === at + n) break
      at = to
    }
    return looked
  }

  /** Adds what each name holds of a piece to those of its layers that hold all before it. A tier has what nearer ones have. */
  private extend(from: number, end: number): void {
    const { depths, slots } = this
    this.alive = this.alive.filter((at) => {
      const first = slots[at]! * layersMax
      let within = 0
      let isWhole = false
      for (let layer = 0; layer < layersMax; layer++) {
        within = layer === GUESS ? masks[first + layer]! : within | masks[first + layer]!
        const depth = at * layersMax + layer
        if (depths[depth] !== from) continue
        const more = Math.min(end, PieceNode.leading(within))
        depths[depth] = from + more
        if (more === end) isWhole = true
      }
      return isWhole
    })
  }
}
