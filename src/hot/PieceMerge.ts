/**
 * PieceMerge: what a tenure tells of a path through a piece, written into the nodes that a store has of that piece.
 *
 * The same for every store whose nodes are at hand: sqlite, the memory node. Touches no node of another piece.
 */
import type { KeyLanes } from "../domain/Block.ts"
import { type Layer, layersMax } from "../domain/Tier.ts"
import * as PieceNode from "./PieceNode.ts"

/** Nodes by head and own first key, two lanes each. */
export interface Bag {
  /** Null where there is none. The bytes are the taker's to change. */
  readonly get: (headLo: number, headHi: number, lo: number, hi: number) => Uint8Array | null
  readonly put: (headLo: number, headHi: number, lo: number, hi: number, node: PieceNode.PieceNode) => void
  readonly delete: (headLo: number, headHi: number, lo: number, hi: number) => void
  /** Every node of the piece. */
  readonly drop: (headLo: number, headHi: number) => void
}

/** A `Share` of the port `StateStore`. */
export interface Share {
  readonly tenure: number
  readonly layer: Layer
  readonly stride: number
  readonly piece: number
  readonly parent: KeyLanes | null
  readonly keys: KeyLanes
  readonly told: number
  readonly held: number
}

interface Step {
  readonly at: number
  node: PieceNode.PieceNode
  isChanged: boolean
}

/** Whether it has the lengths of a share; others are not written. */
export const isShare = ({ keys, layer, parent, stride, tenure, told }: Share): boolean =>
  stride >= 1 &&
  stride <= PieceNode.strideMax &&
  keys.length % 2 === 0 &&
  keys.length <= 2 * stride &&
  (told & ~PieceNode.before(keys.length / 2)) === 0 &&
  (parent === null || parent.length === 2) &&
  tenure >= 1 &&
  tenure <= PieceNode.tenureMax &&
  layer >= 0 &&
  layer < layersMax

/**
 * Writes a share; `isAlive` tells tenures that count, where that is known. A piece with a node that is not as one was written
 * is dropped and begun anew: less is known then, and nothing is wrong.
 */
export const merge = (bag: Bag, share: Share, nowS: number, isAlive: ((tenure: number) => boolean) | null): void => {
  if (share.keys.length === 0 || share.told === 0) return
  const steps = walk(bag, share, nowS, isAlive)
  if (steps !== null) return settle(bag, share.keys, steps)
  bag.drop(share.keys[0]!, share.keys[1]!)
  settle(bag, share.keys, walk(bag, share, nowS, isAlive) ?? [])
}

/** The nodes along the path, changed but not put yet; null when one of them is not what it should be. */
const walk = (
  bag: Bag,
  share: Share,
  nowS: number,
  isAlive: ((tenure: number) => boolean) | null
): Array<Step> | null => {
  const { keys, stride } = share
  const end = keys.length / 2
  const held = share.told & share.held
  const tag = PieceNode.tagOf(share.tenure, share.layer)
  const steps: Array<Step> = []
  for (let at = 0; at < end; ) {
    const bytes = bag.get(keys[0]!, keys[1]!, keys[2 * at]!, keys[2 * at + 1]!)
    if (bytes === null) {
      if ((held & ~PieceNode.before(at)) !== 0) steps.push(begun(share, tag, at, nowS, steps.at(-1)))
      break
    }
    let node = PieceNode.of(bytes)
    if (node === null || !PieceNode.fits(node, stride, keys, at)) return null
    const wasTouched = PieceNode.touched(node)
    const to = at + PieceNode.matching(node, keys, at, end)
    const isAtEnd = to === at + PieceNode.count(node)
    // What goes on where the node ends belongs to it; elsewhere a branch has the rest.
    const more = isAtEnd ? held & ~PieceNode.before(to) : 0
    const has = more === 0 ? to : 32 - Math.clz32(more)
    if (more !== 0) node = PieceNode.grown(node, keys, has)
    const places = PieceNode.before(has) & ~PieceNode.before(at)
    const told = share.told & places
    const isNew = more !== 0 || wasTouched !== nowS || !isSame(node, tag, told, held & told)
    if (isNew) {
      node = PieceNode.marked(node, tag, told, held & told, isAlive)
      PieceNode.touch(node, nowS)
    }
    steps.push({ at, node, isChanged: isNew })
    if (isAtEnd) break
    at = to
  }
  return steps
}

const isSame = (node: PieceNode.PieceNode, tag: number, told: number, held: number): boolean => {
  for (let holder = PieceNode.holders(node) - 1; holder >= 0; holder--) {
    if (PieceNode.tag(node, holder) === tag) return (PieceNode.mask(node, holder) & told) === held
  }
  return held === 0
}

/** A node from place `at` on, which branches off the last there is. */
const begun = (share: Share, tag: number, at: number, nowS: number, from: Step | undefined): Step => {
  const { keys, parent, piece, stride } = share
  const held = share.told & share.held & ~PieceNode.before(at)
  const before = at === 0 ? parent : keys.subarray(2 * at - 2, 2 * at)
  const empty = PieceNode.make(stride, piece, before?.[0] ?? 0, before?.[1] ?? 0, keys, at, 32 - Math.clz32(held))
  const node = PieceNode.marked(empty, tag, held, held, null)
  PieceNode.touch(node, nowS)
  if (from !== undefined) {
    PieceNode.adopt(from.node, 1)
    from.isChanged = true
  }
  return { at, node, isChanged: true }
}

/** Puts what changed, from the last on: what nobody holds and nothing branches off goes, and with it what that leaves so. */
const settle = (bag: Bag, keys: KeyLanes, steps: ReadonlyArray<Step>): void => {
  for (let i = steps.length - 1; i >= 0; i--) {
    const { at, isChanged, node } = steps[i]!
    if (PieceNode.isEmpty(node)) {
      bag.delete(keys[0]!, keys[1]!, keys[2 * at]!, keys[2 * at + 1]!)
      const from = steps[i - 1]
      if (from === undefined) continue
      PieceNode.adopt(from.node, -1)
      from.isChanged = true
    } else if (isChanged) bag.put(keys[0]!, keys[1]!, keys[2 * at]!, keys[2 * at + 1]!, node)
  }
}
