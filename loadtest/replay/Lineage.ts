/**
 * Which session a request belongs to, where a trace does not say.
 *
 * A request continues the session of the earlier one it shares the longest prefix with, if they share more than what is
 * common to many. Ids name whole prefixes, so all that follow one such request share its first block that is not common:
 * that block is the session.
 */
import { IdTable } from "./IdTable.ts"
import type { Request } from "./Trace.ts"

/** Blocks that more than this share of the requests begin with tell no session from another: system prompts, tools. */
const commonShare = 0.01
/** Of a few requests one long session would be more than that. */
const usesMin = 10

/** How many leading blocks of each request are common to many of them. */
export const commonDepths = (requests: ReadonlyArray<Pick<Request, "blocks">>): Uint32Array => {
  const uses = new IdTable()
  for (const { blocks } of requests) {
    for (let i = 0; i < blocks.length; i++) uses.set(blocks[i]!, uses.get(blocks[i]!) + 1)
  }
  const most = Math.max(usesMin, requests.length * commonShare)
  return Uint32Array.from(requests, ({ blocks }) => {
    let depth = 0
    while (depth < blocks.length && uses.get(blocks[depth]!) > most) depth++
    return depth
  })
}

/** The session of each request: numbers from 0. A request of nothing but common blocks is a session of its own. */
export const sessions = (requests: ReadonlyArray<Pick<Request, "blocks">>): Uint32Array => {
  const depths = commonDepths(requests)
  /** 1 + the session that each block tells of. */
  const byBlock = new IdTable()
  let count = 0
  return Uint32Array.from(requests, ({ blocks }, i) => {
    const own = blocks[depths[i]!]
    if (own === undefined) return count++
    const known = byBlock.get(own)
    if (known > 0) return known - 1
    byBlock.set(own, count + 1)
    return count++
  })
}
