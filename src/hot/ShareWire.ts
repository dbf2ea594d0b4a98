/**
 * ShareWire: shares as words, one after another, to be handed to whoever merges them.
 *
 *   │ tag │ stride │ keys << 1 | has a parent │ piece │ told │ held │ parent lo, hi │ keys × lo, hi │
 */
import type { Layer } from "../domain/Tier.ts"
import { isShare, type Share } from "./PieceMerge.ts"
import * as PieceNode from "./PieceNode.ts"

const headWords = 8

export const encode = (shares: ReadonlyArray<Share>): Int32Array => {
  let words = 0
  for (const { keys } of shares) words += headWords + keys.length
  const wire = new Int32Array(words)
  let at = 0
  for (const { held, keys, layer, parent, piece, stride, tenure, told } of shares) {
    wire[at] = PieceNode.tagOf(tenure, layer)
    wire[at + 1] = stride
    wire[at + 2] = keys.length | (parent === null ? 0 : 1)
    wire[at + 3] = piece
    wire[at + 4] = told
    wire[at + 5] = held
    if (parent !== null) wire.set(parent, at + 6)
    wire.set(keys, at + headWords)
    at += headWords + keys.length
  }
  return wire
}

/** The share at a word, and the word after it; null where there is none. Its keys are a view. */
export const decode = (wire: Int32Array, at: number): { readonly share: Share; readonly next: number } | null => {
  if (at + headWords > wire.length) return null
  const lanes = wire[at + 2]! & ~1
  const next = at + headWords + lanes
  if (lanes < 0 || next > wire.length) return null
  const tag = wire[at]! >>> 0
  const share: Share = {
    tenure: PieceNode.tenureOf(tag),
    layer: PieceNode.layerOf(tag) as Layer,
    stride: wire[at + 1]!,
    piece: wire[at + 3]! >>> 0,
    parent: (wire[at + 2]! & 1) === 0 ? null : wire.subarray(at + 6, at + headWords),
    keys: wire.subarray(at + headWords, next),
    told: wire[at + 4]!,
    held: wire[at + 5]!
  }
  return isShare(share) ? { share, next } : null
}
