/** Nodes: the table of records, as what `PieceMerge` writes to and `PieceWalk` reads from. */
import type { DatabaseSync } from "node:sqlite"
import type { KeyLanes } from "../../domain/Block.ts"
import * as PieceMerge from "../../hot/PieceMerge.ts"
import * as PieceNode from "../../hot/PieceNode.ts"
import * as PieceWalk from "../../hot/PieceWalk.ts"

/** Place of a record among all. */
export type Place = readonly [head: bigint, key: bigint]

export interface Nodes {
  /** Within a transaction of the caller's. */
  readonly merge: (share: PieceMerge.Share, nowS: number, isAlive: (tenure: number) => boolean) => void
  readonly lookup: (
    keys: KeyLanes,
    count: number,
    stride: number,
    nameOf: (tenure: number) => string | undefined
  ) => ReadonlyArray<PieceWalk.Reach>
  /** Some records after a place, or the first; and where the last of them is, null at the end. */
  readonly read: (after: Place | null) => { readonly nodes: Array<Uint8Array>; readonly last: Place | null }
  /** Drops pieces, those written longest ago first, at most so many, and only those written before `second`. How many went. */
  readonly evict: (pieces: number, before: number) => number
  readonly usedBytes: () => number
  readonly pieces: () => number
}

interface Row {
  readonly touched: number | null
  readonly node: Uint8Array
}

/** A read's chunk: a millisecond for whoever takes it. */
const chunkNodes = 256
const chunkBytes = 131_072

/** An integer of SQLite's from two lanes. */
const lanes = new Int32Array(2)
const wide = new BigInt64Array(lanes.buffer)
const integer = (lo: number, hi: number): bigint => {
  lanes[0] = lo
  lanes[1] = hi
  return wide[0]!
}

/** `slackS`: how far behind a piece's age may be in the table, where it is ordered by. */
export const make = (db: DatabaseSync, slackS: number): Nodes => {
  const get = db.prepare("SELECT touched, node FROM nodes WHERE head = ? AND key = ?")
  const insert = db.prepare("INSERT INTO nodes (head, key, touched, node) VALUES (?, ?, ?, ?)")
  const update = db.prepare("UPDATE nodes SET node = ? WHERE head = ? AND key = ?")
  const renew = db.prepare("UPDATE nodes SET node = ?, touched = ? WHERE head = ? AND key = ?")
  const remove = db.prepare("DELETE FROM nodes WHERE head = ? AND key = ?")
  const drop = db.prepare("DELETE FROM nodes WHERE head = ?")
  const first = db.prepare("SELECT head, key, node FROM nodes ORDER BY head, key LIMIT ?")
  const after = db.prepare("SELECT head, key, node FROM nodes WHERE (head, key) > (?, ?) ORDER BY head, key LIMIT ?")
  const oldest = db.prepare("SELECT head FROM nodes WHERE touched < ? ORDER BY touched LIMIT ?")
  for (const statement of [first, after, oldest]) statement.setReadBigInts(true)
  const pages = db.prepare("SELECT page_count - freelist_count AS pages FROM pragma_page_count, pragma_freelist_count")
  const pageBytes = (db.prepare("PRAGMA page_size").get() as { page_size: number }).page_size
  const pieces = db.prepare("SELECT count(*) AS pieces FROM nodes WHERE touched IS NOT NULL")

  /** Rows that the share at hand has met: when the table says they were touched. */
  const met = new Map<bigint, number | null>()

  const bag: PieceMerge.Bag = {
    get: (headLo, headHi, lo, hi) => {
      const key = integer(lo, hi)
      const row = get.get(integer(headLo, headHi), key) as Row | undefined
      if (row === undefined) return null
      met.set(key, row.touched)
      return row.node
    },
    put: (headLo, headHi, lo, hi, node) => {
      const head = integer(headLo, headHi)
      const key = integer(lo, hi)
      const bytes = PieceNode.bytesOf(node)
      const touched = PieceNode.touched(node)
      const known = met.get(key)
      // Only the age of a whole piece counts: that of its aligned node, which every write passes.
      if (known === undefined) insert.run(head, key, head === key ? touched : null, bytes)
      else if (known !== null && Math.abs(touched - known) > slackS) renew.run(bytes, touched, head, key)
      else update.run(bytes, head, key)
    },
    delete: (headLo, headHi, lo, hi) => void remove.run(integer(headLo, headHi), integer(lo, hi)),
    drop: (headLo, headHi) => {
      drop.run(integer(headLo, headHi))
      met.clear()
    }
  }

  return {
    merge: (share, nowS, isAlive) => {
      met.clear()
      PieceMerge.merge(bag, share, nowS, isAlive)
    },
    lookup: (keys, count, stride, nameOf) => {
      const walk = PieceWalk.make(keys, count, stride)
      for (let asked = PieceWalk.wanted(walk); asked.length > 0; asked = PieceWalk.wanted(walk)) {
        const nodes: Array<Uint8Array | null> = []
        for (let at = 0; at < asked.length; at += 4) {
          const row = get.get(integer(asked[at]!, asked[at + 1]!), integer(asked[at + 2]!, asked[at + 3]!))
          nodes.push(row === undefined ? null : (row as unknown as Row).node)
        }
        PieceWalk.take(walk, nodes)
      }
      return PieceWalk.reach(walk, nameOf)
    },
    read: (place) => {
      const rows = place === null ? first.iterate(chunkNodes) : after.iterate(place[0], place[1], chunkNodes)
      const nodes: Array<Uint8Array> = []
      let last: Place | null = null
      let bytes = 0
      for (const row of rows) {
        const { head, key, node } = row as unknown as { head: bigint; key: bigint; node: Uint8Array }
        nodes.push(node)
        last = [head, key]
        bytes += node.length
        if (bytes >= chunkBytes) break
      }
      return { nodes, last }
    },
    evict: (count, before) => {
      const heads = oldest.all(before, count) as unknown as ReadonlyArray<{ head: bigint }>
      for (const { head } of heads) drop.run(head)
      return heads.length
    },
    usedBytes: () => (pages.get() as { pages: number }).pages * pageBytes,
    pieces: () => (pieces.get() as { pieces: number }).pieces
  }
}
