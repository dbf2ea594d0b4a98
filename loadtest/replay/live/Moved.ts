/**
 * A trace with every request a few ms later, each by another amount: what no policy should care about. Near saturation many
 * do: one request placed otherwise, and all after it are. How far a figure moves says how much of it may be chance.
 */
import type { Trace } from "../Trace.ts"

/** Arrivals, or pauses, longer by up to `mostMs`. */
export const moved = (trace: Trace, mostMs: number, random: () => number): Trace =>
  trace.kind === "arrivals"
    ? {
        ...trace,
        requests: trace.requests
          .map((request) => ({ ...request, atMs: request.atMs + random() * mostMs }))
          .sort((a, b) => a.atMs - b.atMs)
      }
    : {
        ...trace,
        sessions: trace.sessions.map((session) =>
          session.map((chain) => ({
            ...chain,
            turns: chain.turns.map((turn) => ({ ...turn, thinkMs: turn.thinkMs + random() * mostMs }))
          }))
        )
      }
