/** Lookup: who holds how much of a request: a round trip, and up to two more where chains branch inside a piece. */
import type { KeyLanes } from "../../domain/Block.ts"
import * as PieceWalk from "../../hot/PieceWalk.ts"
import type { Reach } from "../../ports/StateStore.ts"
import * as Names from "./Names.ts"
import { hex, type Keys } from "./Pieces.ts"
import type { Session } from "./Session.ts"

const nodeOf = (session: Session, key: string, field: string): Promise<Buffer | null> =>
  session.connection.send(key, ["HGET", key, field]) as Promise<Buffer | null>

const nodesOf = (session: Session, { piecePrefix }: Keys, wanted: Int32Array): Promise<Array<Buffer | null>> => {
  const asked: Array<Promise<Buffer | null>> = []
  for (let i = 0; i < wanted.length; i += 4) {
    const head = hex(wanted[i]!, wanted[i + 1]!)
    const isAligned = wanted[i] === wanted[i + 2] && wanted[i + 1] === wanted[i + 3]
    asked.push(nodeOf(session, piecePrefix + head, isAligned ? head : hex(wanted[i + 2]!, wanted[i + 3]!)))
  }
  return Promise.all(asked)
}

export const lookup = async (
  session: Session,
  stored: Keys,
  names: Names.Names,
  keys: KeyLanes,
  count: number,
  stride: number
): Promise<ReadonlyArray<Reach>> => {
  const walk = PieceWalk.make(keys, count, stride)
  let version: Promise<string> | null = null
  for (let wanted = PieceWalk.wanted(walk); wanted.length > 0; wanted = PieceWalk.wanted(walk)) {
    // Before the nodes: who holds them now is among the names of then, or counts from the next lookup on.
    version ??= Names.versionOf(session, stored)
    const [, nodes] = await Promise.all([version, nodesOf(session, stored, wanted)])
    PieceWalk.take(walk, nodes)
  }
  if (version === null) return []
  const { nameOf } = await names.table(session, await version)
  return PieceWalk.reach(walk, nameOf)
}
