/**
 * PieceWalk: a request looked up in pieces, without I/O: what to fetch next, and who holds how much once that came.
 *
 * Three rounds at most, each of all pieces at once. First the aligned nodes; where a path leaves one, the node that branches
 * off there; where it leaves that, too, all nodes that could be on the rest of the piece. What lies behind a stretch that
 * nobody holds in full is not followed.
 */
import type { KeyLanes } from "../domain/Block.ts"
import { GUESS, type Layer, layersMax } from "../domain/Tier.ts"
import * as PieceNode from "./PieceNode.ts"

export interface PieceWalk {
  readonly keys: KeyLanes
  readonly stride: number
  readonly pieces: Array<Piece>
  round: number
}

/** A piece as far as it is known. */
interface Piece {
  readonly keys: KeyLanes
  readonly end: number
  /** Keys up to here were found. */
  at: number
  /** Nothing more to fetch for it. */
  isDone: boolean
  /** Places that anyone holds. */
  held: number
  readonly tags: Array<number>
  readonly masks: Array<number>
}

/** A `Reach` of the port `StateStore`. */
export interface Reach {
  readonly name: string
  readonly blocks: ReadonlyArray<number>
}

/** A walk along the first `count` keys. */
export const make = (keys: KeyLanes, count: number, stride: number): PieceWalk => {
  const blocks = Math.max(0, Math.min(count, keys.length >> 1))
  const pieces = Array.from({ length: Math.ceil(blocks / stride) }, (_, i): Piece => {
    const end = Math.min(stride, blocks - i * stride)
    const own = keys.subarray(2 * i * stride, 2 * (i * stride + end))
    return { keys: own, end, at: 0, isDone: false, held: 0, tags: [], masks: [] }
  })
  return { keys, stride, pieces, round: 0 }
}

/** The nodes to fetch next, four lanes each: head, and own first key. None when the walk is over. */
export const wanted = (walk: PieceWalk): Int32Array => {
  const lanes: Array<number> = []
  for (const piece of walk.pieces) {
    if (piece.isDone) continue
    const { keys } = piece
    const last = asksAll(walk) ? piece.end : piece.at + 1
    for (let at = piece.at; at < last; at++) lanes.push(keys[0]!, keys[1]!, keys[2 * at]!, keys[2 * at + 1]!)
  }
  return Int32Array.from(lanes)
}

const asksAll = ({ round }: PieceWalk): boolean => round === 2

/** Takes what came for `wanted`, in its order: null where there is no such node. What is no node counts as none. */
export const take = (walk: PieceWalk, nodes: ReadonlyArray<Uint8Array | null>): void => {
  let next = 0
  for (const piece of walk.pieces) {
    if (piece.isDone) continue
    const from = piece.at
    const asked = asksAll(walk) ? piece.end - from : 1
    while (!piece.isDone && piece.at - from < asked) add(walk, piece, nodes[next + piece.at - from] ?? null)
    next += asked
  }
  walk.round++
  if (walk.round === 3) for (const piece of walk.pieces) piece.isDone = true
  cut(walk)
}

/** Adds the node at the piece's next place. */
const add = (walk: PieceWalk, piece: Piece, bytes: Uint8Array | null): void => {
  const { at, end, keys } = piece
  const node = bytes === null ? null : PieceNode.of(bytes)
  if (node === null || !PieceNode.fits(node, walk.stride, keys, at)) {
    piece.isDone = true
    return
  }
  piece.at = at + PieceNode.matching(node, keys, at, end)
  piece.isDone = piece.at === end || piece.at === at + PieceNode.count(node)
  const places = PieceNode.before(piece.at) & ~PieceNode.before(at)
  for (let holder = PieceNode.holders(node) - 1; holder >= 0; holder--) {
    const mask = PieceNode.mask(node, holder) & places
    if (mask === 0) continue
    piece.held |= mask
    piece.tags.push(PieceNode.tag(node, holder))
    piece.masks.push(mask)
  }
}

/** Ends the walk at the first block that nobody can hold together with all before it. */
const cut = ({ pieces }: PieceWalk): void => {
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i]!
    const isWhole = PieceNode.leading(piece.held) >= piece.at
    if (!isWhole) piece.isDone = true
    if (isWhole && (!piece.isDone || piece.at === piece.end)) continue
    pieces.length = i + 1
  }
}

/** What one name holds of the pieces so far. */
interface Holder {
  readonly blocks: Array<number>
  /** By layer: places of this piece. */
  readonly masks: Int32Array
  /** Piece that the masks are of. */
  piece: number
}

/** How far each name reaches; `nameOf` tells the names of tenures that count. Those that hold no first block are left out. */
export const reach = (walk: PieceWalk, nameOf: (tenure: number) => string | undefined): Array<Reach> => {
  const holders = new Map<string, Holder>()
  for (let i = 0; i < walk.pieces.length; i++) {
    const { end, masks, tags } = walk.pieces[i]!
    for (let entry = 0; entry < tags.length; entry++) {
      const layer = PieceNode.layerOf(tags[entry]!)
      const name = nameOf(PieceNode.tenureOf(tags[entry]!))
      if (name === undefined || layer >= layersMax) continue
      let holder = holders.get(name)
      if (holder === undefined) {
        if (i > 0) continue
        holder = { blocks: new Array(layersMax).fill(0), masks: new Int32Array(layersMax), piece: i }
        holders.set(name, holder)
      } else if (holder.piece !== i) {
        holder.masks.fill(0)
        holder.piece = i
      }
      holder.masks[layer]! |= masks[entry]!
    }
    for (const holder of holders.values()) if (holder.piece === i) extend(holder, i * walk.stride, end)
  }
  return Array.from(holders, ([name, { blocks }]) => ({ name, blocks })).filter(({ blocks }) =>
    blocks.some((depth) => depth > 0)
  )
}

/** Adds what it holds of a piece to the layers that hold all before it. A tier has what nearer ones have. */
const extend = ({ blocks, masks }: Holder, before: number, end: number): void => {
  let within = 0
  for (let layer = 0; layer < layersMax; layer++) {
    within = layer === GUESS ? masks[layer]! : within | masks[layer]!
    if (blocks[layer] === before) blocks[layer] = before + Math.min(end, PieceNode.leading(within))
  }
}

/** A `Stretch` of the port `StateStore`. */
export interface Stretch {
  readonly stride: number
  readonly piece: number
  readonly base: number
  readonly parent: KeyLanes | null
  readonly keys: KeyLanes
  readonly touched: number
  readonly holders: ReadonlyArray<{ readonly name: string; readonly layer: Layer; readonly mask: number }>
}

/** A node as outsiders read it: holders by name. Null for what is no node, or has nobody that counts. */
export const stretch = (bytes: Uint8Array, nameOf: (tenure: number) => string | undefined): Stretch | null => {
  const node = PieceNode.of(bytes)
  if (node === null) return null
  // A name has several entries while it goes from one tenure to the next.
  const holders = new Map<string, { readonly name: string; readonly layer: Layer; mask: number }>()
  for (let holder = 0; holder < PieceNode.holders(node); holder++) {
    const tag = PieceNode.tag(node, holder)
    const name = nameOf(PieceNode.tenureOf(tag))
    const layer = PieceNode.layerOf(tag) as Layer
    const mask = PieceNode.mask(node, holder)
    if (name === undefined || layer >= layersMax || mask === 0) continue
    const known = holders.get(layer + name)
    if (known === undefined) holders.set(layer + name, { name, layer, mask })
    else known.mask |= mask
  }
  if (holders.size === 0) return null
  const lo = PieceNode.parentLo(node)
  const hi = PieceNode.parentHi(node)
  return {
    stride: PieceNode.stride(node),
    piece: PieceNode.piece(node),
    base: PieceNode.base(node),
    parent: lo === 0 && hi === 0 ? null : Int32Array.of(lo, hi),
    keys: PieceNode.keys(node).slice(),
    touched: PieceNode.touched(node),
    holders: Array.from(holders.values())
  }
}
