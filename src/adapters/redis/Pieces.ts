/** Pieces: how pieces and shares are named and written for Redis. */

import * as PieceMerge from "../../hot/PieceMerge.ts"
import * as PieceNode from "../../hot/PieceNode.ts"
import type { Share } from "../../ports/StateStore.ts"
import type { Argument } from "./Connect.ts"

/** The names of everything that one deployment stores. */
export interface Keys {
  /** Before the head of a piece. */
  readonly piecePrefix: string
  /** In one slot of a cluster, by the same tag in braces. */
  readonly meta: string
  readonly names: string
}

export const keysOf = (namespace: string): Keys => ({
  piecePrefix: `${namespace}:s:`,
  meta: `{${namespace}}:meta`,
  names: `{${namespace}}:names`
})

const hex8 = (lane: number): string => (lane >>> 0).toString(16).padStart(8, "0")

/** A key as the number it is. Text, for the client writes texts in one go; its bytes would save 16 a piece and take a third longer. */
export const hex = (lo: number, hi: number): string => hex8(hi) + hex8(lo)

const headBytes = 28

const bytesOf = ({ held, keys, layer, parent, piece, stride, tenure, told }: Share): Buffer => {
  const bytes = Buffer.alloc(headBytes + 4 * keys.length)
  bytes.writeUInt32LE(PieceNode.tagOf(tenure, layer), 0)
  bytes.writeInt32LE(told | 0, 4)
  bytes.writeInt32LE(held | 0, 8)
  bytes.writeUInt32LE(piece, 12)
  bytes[16] = stride
  bytes.writeInt32LE(parent?.[0] ?? 0, 20)
  bytes.writeInt32LE(parent?.[1] ?? 0, 24)
  bytes.set(new Uint8Array(keys.buffer, keys.byteOffset, keys.byteLength), headBytes)
  return bytes
}

/** More at once would keep others waiting: some 20 µs each. */
const sharesMax = 64

export interface Write {
  readonly key: string
  readonly shares: Array<Argument>
}

/** One call for all that is told of a piece, in its order. What lacks the lengths of a share is left out. */
export const writesOf = (keys: Keys, shares: ReadonlyArray<Share>): ReadonlyArray<Write> => {
  const writes: Array<Write> = []
  const byKey = new Map<string, Write>()
  for (const share of shares) {
    if (!PieceMerge.isShare(share) || share.keys.length === 0 || share.told === 0) continue
    const key = keys.piecePrefix + hex(share.keys[0]!, share.keys[1]!)
    let write = byKey.get(key)
    if (write === undefined || write.shares.length === sharesMax) {
      write = { key, shares: [] }
      byKey.set(key, write)
      writes.push(write)
    }
    write.shares.push(bytesOf(share))
  }
  return writes
}
