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

/** Taken for an answer's time where a moment within a session is looked for. */
const answerMs = 10_000

/**
 * Keeps so many sessions alive. The first ones are met at a moment of their time, as if they had long been running: a
 * long session is met more often than a short one, and mostly in a pause. Where one ends the next begins. Each has blocks
 * of its own, but for those common to all (negative ids). Other agents of a session run beside its main one, under the
 * same number, as their client's header would have it.
 */
export const start = (
  trace: Trace.Sessions,
  agenda: Pick<Agenda, "add">,
  { live, meetWithinMs, seed }: Options,
  send: (request: Trace.Request, nowMs: number, done: (nowMs: number) => void) => void
): void => {
  const random = Random.make(Random.mix(seed, [1]))
  const { sessions } = trace
  const order = sessions.map((_, i) => i).sort((a, b) => Random.mix(seed, [a]) - Random.mix(seed, [b]))
  let begun = 0
  let next = 0
  const follow = (session: Trace.Sessions["sessions"][number], from: number, nowMs: number): void => {
    const number = ++begun
    const main = session[0]!
    const own = (request: Trace.Request): Trace.Request => ({
      ...request,
      session: number,
      blocks: request.blocks.map((id) => (id < 0 ? id : id + number * Trace.copyIds))
    })
    const turn = (chain: Trace.Chain, at: number, nowMs: number): void => {
      const request = chain.turns[at]
      if (request === undefined) {
        if (chain === main) follow(sessions[order[next++ % order.length]!]!, 0, nowMs)
        return
      }
      send(own(request), nowMs, (endedMs) => {
        if (chain === main) {
          for (const child of session) if (child !== main && child.after === at) turn(child, 0, endedMs)
        }
        agenda.add(endedMs + (chain.turns[at + 1]?.thinkMs ?? 0), (atMs) => turn(chain, at + 1, atMs))
      })
    }
    turn(main, from, nowMs)
  }
  // All sessions' turns one behind the other, each with the pause before it: a point on that line is a moment.
  const turns = sessions.flatMap((session) => session[0]!.turns.map(({ thinkMs }, at) => ({ session, at, thinkMs })))
  const endsMs = new Float64Array(turns.length)
  for (let i = 0, total = 0; i < turns.length; i++) endsMs[i] = total += turns[i]!.thinkMs + answerMs
  for (let i = 0; i < live; i++) {
    const moment = random() * (endsMs.at(-1) ?? 0)
    const met = endsMs.findIndex((endMs) => endMs > moment)
    if (met < 0) return
    const { at, session } = turns[met]!
    const leftMs = Math.max(0, endsMs[met]! - answerMs - moment)
    agenda.add(random() * meetWithinMs + leftMs, (nowMs) => follow(session, at, nowMs))
  }
}
