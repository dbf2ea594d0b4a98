/** Rounds: how often a lookup of pieces asks, each time for all it can know to ask for: the same in every store of `PieceNode`s. */
import * as PieceMerge from "../../src/hot/PieceMerge.ts"
import * as PieceNode from "../../src/hot/PieceNode.ts"
import * as PieceWalk from "../../src/hot/PieceWalk.ts"
import type { Query, Told } from "./Workload.ts"

/** Mean over some requests, of a store that was told all this. */
export const of = (told: ReadonlyArray<Told>, stride: number) => {
  const nodes = new Map<string, Map<string, Uint8Array>>()
  const named = (lo: number, hi: number): string => `${lo} ${hi}`
  const bag: PieceMerge.Bag = {
    get: (headLo, headHi, lo, hi) => nodes.get(named(headLo, headHi))?.get(named(lo, hi)) ?? null,
    put: (headLo, headHi, lo, hi, node) => {
      const piece = nodes.get(named(headLo, headHi)) ?? new Map<string, Uint8Array>()
      nodes.set(named(headLo, headHi), piece.set(named(lo, hi), PieceNode.bytesOf(node)))
    },
    delete: (headLo, headHi, lo, hi) => void nodes.get(named(headLo, headHi))?.delete(named(lo, hi)),
    drop: (headLo, headHi) => void nodes.delete(named(headLo, headHi))
  }
  for (const { share, worker } of told) PieceMerge.merge(bag, { ...share, tenure: worker + 1 }, 0, null)
  const rounds = ({ keys }: Query): number => {
    const walk = PieceWalk.make(keys, keys.length >> 1, stride)
    for (let lanes = PieceWalk.wanted(walk); lanes.length > 0; lanes = PieceWalk.wanted(walk)) {
      const found: Array<Uint8Array | null> = []
      for (let i = 0; i < lanes.length; i += 4)
        found.push(bag.get(lanes[i]!, lanes[i + 1]!, lanes[i + 2]!, lanes[i + 3]!))
      PieceWalk.take(walk, found)
    }
    return walk.round
  }
  return (queries: ReadonlyArray<Query>): number =>
    queries.reduce((sum, query) => sum + rounds(query), 0) / queries.length
}
