/** Bulk: everything that is stored, a part at a time, so that neither the server nor the event loop is held up. */
import * as PieceWalk from "../../hot/PieceWalk.ts"
import type { Stretch } from "../../ports/StateStore.ts"
import type { Reply, Send } from "./Connect.ts"
import * as Failure from "./Failure.ts"

/** Pieces asked for at once: some 2 ms of decoding. */
const piecesMax = 256

export interface Part {
  /** Where to go on; null at the end of this server. */
  readonly cursor: string | null
  readonly stretches: ReadonlyArray<Stretch>
}

/** What became of it since it was listed: expired, or on its way to another server, which lists it, too. */
const gone = (error: unknown): ReadonlyArray<Reply> => {
  if (["MOVED", "ASK", "TRYAGAIN", "WRONGTYPE"].includes(Failure.wordOf(error))) return []
  throw error
}

/** Keys that come or go meanwhile may be listed, or not; one may be listed twice. */
export const part = async (
  send: Send,
  prefix: string,
  cursor: string,
  nameOf: (tenure: number) => string | undefined
): Promise<Part> => {
  const [next, keys] = (await send(["SCAN", cursor, "MATCH", `${prefix}*`, "COUNT", String(piecesMax)])) as [
    Buffer,
    ReadonlyArray<Buffer>
  ]
  const pieces = await Promise.all(keys.map((key) => send(["HVALS", key]).catch(gone)))
  const stretches: Array<Stretch> = []
  for (const nodes of pieces as ReadonlyArray<ReadonlyArray<Buffer>>) {
    for (const node of nodes) {
      const stretch = PieceWalk.stretch(node, nameOf)
      if (stretch !== null) stretches.push(stretch)
    }
  }
  return { cursor: String(next) === "0" ? null : String(next), stretches }
}
