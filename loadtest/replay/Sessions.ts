/** Closed loops: sessions that send each request a pause after the answer before it. */
import * as Random from "../Random.ts"
import type { Agenda } from "./Agenda.ts"
import * as Trace from "./Trace.ts"

export interface Options {
  readonly seed: number
  /** Sessions alive at once. */
  readonly live: number
  /** The first ones begin within this time. */
  readonly meetWithinMs: number
}

/**
 * Keeps so many sessions alive. The first ones are met somewhere in their middle; where one ends the next begins. Each
 * has blocks of its own, but for those common to all (negative ids). Other agents of a session run beside its main one,
 * under the same number, as their client's header would have it.
 */
export const start = (
  trace: Trace.Sessions,
  agenda: Pick<Agenda, "add">,
  { live, meetWithinMs, seed }: Options,
  send: (request: Trace.Request, nowMs: number, done: (nowMs: number) => void) => void
): void => {
  const random = Random.make(Random.mix(seed, [1]))
  const order = trace.sessions.map((_, i) => i).sort((a, b) => Random.mix(seed, [a]) - Random.mix(seed, [b]))
  let begun = 0
  const begin = (nowMs: number, share: number): void => {
    const number = begun++
    const session = trace.sessions[order[number % order.length]!]!
    const main = session[0]!
    const own = (request: Trace.Request): Trace.Request => ({
      ...request,
      session: number,
      blocks: request.blocks.map((id) => (id < 0 ? id : id + (number + 1) * Trace.copyIds))
    })
    const follow = (chain: Trace.Chain, turn: number, nowMs: number): void => {
      const request = chain.turns[turn]
      if (request === undefined) {
        if (chain === main) begin(nowMs, 0)
        return
      }
      send(own(request), nowMs, (endedMs) => {
        if (chain === main) {
          for (const child of session) if (child !== main && child.after === turn) follow(child, 0, endedMs)
        }
        agenda.add(endedMs + (chain.turns[turn + 1]?.thinkMs ?? 0), (atMs) => follow(chain, turn + 1, atMs))
      })
    }
    follow(main, Math.floor(share * main.turns.length), nowMs)
  }
  for (let i = 0; i < live; i++) {
    const share = random()
    agenda.add(random() * meetWithinMs, (nowMs) => begin(nowMs, share))
  }
}
