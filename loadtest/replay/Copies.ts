/** More or less of a trace of arrivals: several of it at once, a share of its sessions, a part of its time. */
import * as Lineage from "./Lineage.ts"
import type { Arrivals, Request } from "./Trace.ts"

/** Blocks of other copies of a trace, and of other sessions, are `copyIds` apart. */
export const copyIds = 2 ** 26

/**
 * So many copies of arrivals, each moved in time and with blocks of its own: more traffic with the same pauses. Blocks
 * that more than 1 % of requests share stay common. Each copy has its own sessions; of the last only a part of them is
 * taken when `copies` is not whole. Arrivals stamped on a grid of seconds are spread over it.
 */
export const copied = (trace: Arrivals, copies: number, random: () => number): Arrivals => {
  const depths = Lineage.commonDepths(trace.requests)
  const gridMs = gridOf(trace)
  const sessions = trace.requests.reduce((most, { session }) => Math.max(most, session ?? -1), -1) + 1
  const requests: Array<Request & { readonly atMs: number }> = []
  for (let copy = 0; copy < copies; copy++) {
    const share = Math.min(1, copies - copy)
    const shiftMs = random() * trace.durationMs
    for (let i = 0; i < trace.requests.length; i++) {
      const { atMs, blocks, session, ...rest } = trace.requests[i]!
      // Knuth's multiplicative hash: a session is taken or left as a whole.
      if ((Math.imul(session ?? i, 0x9e3779b1) >>> 0) / 2 ** 32 >= share) continue
      const own = Float64Array.from(blocks)
      for (let at = depths[i]!; at < own.length; at++) own[at]! += (copy + 1) * copyIds
      requests.push({
        ...rest,
        session: session === null ? null : session + copy * sessions,
        atMs: (atMs + random() * gridMs + shiftMs) % trace.durationMs,
        blocks: own
      })
    }
  }
  return { ...trace, requests: requests.sort((a, b) => a.atMs - b.atMs) }
}

/** The requests from one time until before another, as a trace that begins at 0. */
export const slice = (trace: Arrivals, fromMs: number, toMs: number): Arrivals => {
  const endMs = Math.min(toMs, trace.durationMs)
  return {
    ...trace,
    durationMs: Math.max(0, endMs - fromMs),
    requests: trace.requests
      .filter(({ atMs }) => atMs >= fromMs && atMs < endMs)
      .map((request) => ({ ...request, atMs: request.atMs - fromMs }))
  }
}

/** The usual step between different arrival times, when many arrive at once; else 0. */
const gridOf = ({ requests }: Arrivals): number => {
  const times = [...new Set(requests.map(({ atMs }) => atMs))]
  if (times.length > requests.length / 2) return 0
  const steps = times.slice(1).map((atMs, i) => atMs - times[i]!)
  return steps.sort((a, b) => a - b)[steps.length >> 1] ?? 0
}
