/** Arrivals from lines that say when: sorted, from time 0, with sessions as told or as the prompts show. */
import * as Lineage from "../Lineage.ts"
import type { Arrivals, Request } from "../Trace.ts"

export type Arriving = Omit<Request, "session"> & { readonly atMs: number }

/** Whatever names a session; null makes one of its own. */
export type SessionName = number | string | null

/**
 * `sessions`: by request; null where the trace tells of none and what prompts share has to show them. Logs of several
 * frontends are rarely in order, so lines need not be.
 */
export const arrivals = (
  blockSize: number,
  told: ReadonlyArray<Arriving>,
  sessions: ReadonlyArray<SessionName> | null
): Arrivals => {
  const order = Array.from(told, (_, i) => i).sort((a, b) => told[a]!.atMs - told[b]!.atMs)
  const sorted = order.map((i) => told[i]!)
  const numbers = sessions === null ? Lineage.sessions(sorted) : numbered(order.map((i) => sessions[i]!))
  const fromMs = sorted[0]?.atMs ?? 0
  return {
    kind: "arrivals",
    blockSize,
    durationMs: (sorted.at(-1)?.atMs ?? fromMs) - fromMs + 1,
    requests: sorted.map((each, i) => ({ ...each, session: numbers[i]!, atMs: each.atMs - fromMs }))
  }
}

const numbered = (names: ReadonlyArray<SessionName>): Uint32Array => {
  const numbers = new Map<SessionName, number>()
  let count = 0
  return Uint32Array.from(names, (name) => {
    const known = name === null ? undefined : numbers.get(name)
    if (known !== undefined) return known
    if (name !== null) numbers.set(name, count)
    return count++
  })
}
